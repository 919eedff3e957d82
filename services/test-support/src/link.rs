//! A link to the bus that can be held up: what whoever is on the network between can do to one connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::TestError;

/// Says what becomes of the bytes that the client says; what it is told always passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    Open,
    /// They pass that much later.
    Late(Duration),
    /// They wait until the link is open again.
    Shut,
}

/// Is a TCP link; it breaks when it is dropped.
pub struct Link {
    address: SocketAddr,
    flow: watch::Sender<Flow>,
    task: JoinHandle<()>,
}

impl Link {
    /// Opens a link to a port of loopback.
    ///
    /// Errors: no port is free.
    pub async fn to(port: u16) -> Result<Self, TestError> {
        let of = |error: std::io::Error| TestError::of("link", &error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(of)?;
        let address = listener.local_addr().map_err(of)?;
        let (flow, flows) = watch::channel(Flow::Open);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(bus) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                    tokio::spawn(carry(client, bus, flows.clone()));
                }
            }
        });
        Ok(Self { address, flow, task })
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sets what becomes of what is said from now on, and of what still waits.
    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one connection until either side, or the link, ends.
async fn carry(client: TcpStream, bus: TcpStream, flows: watch::Receiver<Flow>) {
    let (mut said, mut told) = client.into_split();
    let (mut heard, mut answered) = bus.into_split();
    let (sender, mut waiting) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let take = async move {
        let mut piece = vec![0; 64 << 10];
        loop {
            match said.read(&mut piece).await {
                Ok(read) if read > 0 => {
                    let bytes = piece.get(..read).unwrap_or_default().to_vec();
                    if sender.send((Instant::now(), bytes)).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    };
    let give = async move {
        let mut flows = flows;
        while let Some((at, bytes)) = waiting.recv().await {
            if !passed(&mut flows, at).await || answered.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = async { tokio::join!(take, give); } => {}
        _ = tokio::io::copy(&mut heard, &mut told) => {}
    }
}

/// Waits until something that was said at an instant may pass; tells whether the link still stands.
async fn passed(flows: &mut watch::Receiver<Flow>, at: Instant) -> bool {
    loop {
        let flow = *flows.borrow_and_update();
        let until = match flow {
            Flow::Open => return true,
            Flow::Late(by) => Some(at + by),
            Flow::Shut => None,
        };
        let due = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => return true,
            changed = flows.changed() => if changed.is_err() { return false },
        }
    }
}
