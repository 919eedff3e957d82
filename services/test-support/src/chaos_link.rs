//! A bad network between devices and bus: a TCP proxy that delays, cuts, half-closes, drops, doubles and swaps what passes,
//! by dice from a seed, that can be away altogether, and that can leave connections standing which carry nothing any more.
//!
//! What passes is TLS: a piece that is missing, doubled or swapped ends the connection at whoever reads it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::TestError;

/// Is the largest piece that is treated as one.
const PIECE_BYTES: u64 = 4096;
/// Is how long a piece is held up at most, in milliseconds.
const DELAY_MS: u64 = 300;

/// Says what the link does to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes.
    Calm,
    /// Things happen, by dice from this seed.
    Rough(u64),
    /// No connection lives, and none is made.
    Away,
}

/// Is what may happen to a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Pass,
    Delay,
    Cut,
    HalfClose,
    Drop,
    Double,
    Swap,
}

/// Counts what happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deeds {
    /// Pieces that came late.
    pub delayed: u64,
    /// Connections that were cut.
    pub cut: u64,
    /// Connections of which one direction was closed.
    pub half_closed: u64,
    /// Pieces that were dropped.
    pub dropped: u64,
    /// Pieces that came twice.
    pub doubled: u64,
    /// Pieces that changed places with the next.
    pub swapped: u64,
}

impl Deeds {
    /// Tells whether each kind of them happened.
    pub const fn all_happened(&self) -> bool {
        self.delayed > 0
            && self.cut > 0
            && self.half_closed > 0
            && self.dropped > 0
            && self.doubled > 0
            && self.swapped > 0
    }
}

#[derive(Debug, Clone, Copy)]
struct State {
    weather: Weather,
    /// Connections with a smaller number carry nothing any more.
    frozen_below: u64,
}

struct Shared {
    states: watch::Sender<State>,
    connections: AtomicU64,
    deeds: Mutex<Deeds>,
}

/// Is the link; its connections break when it is dropped.
pub struct ChaosLink {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl ChaosLink {
    /// Opens a link to a port of loopback, in calm weather.
    ///
    /// Errors: no port is free.
    pub async fn to(port: u16) -> Result<Self, TestError> {
        let of = |error: std::io::Error| TestError::of("link", &error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(of)?;
        let address = listener.local_addr().map_err(of)?;
        let (states, _) = watch::channel(State {
            weather: Weather::Calm,
            frozen_below: 0,
        });
        let shared = Arc::new(Shared {
            states,
            connections: AtomicU64::new(0),
            deeds: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, port, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes the weather, also for connections that stand.
    pub fn set(&self, weather: Weather) {
        self.shared.states.send_modify(|state| state.weather = weather);
    }

    /// Lets every connection that stands carry nothing from now on, in either direction, without being closed.
    pub fn freeze(&self) {
        let made = self.shared.connections.load(Ordering::SeqCst);
        self.shared.states.send_modify(|state| state.frozen_below = made);
    }

    /// Returns how many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns what happened so far.
    pub fn deeds(&self) -> Deeds {
        *self.shared.deeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ChaosLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, port: u16, shared: Arc<Shared>) {
    let mut carried = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while carried.try_join_next().is_some() {}
        if shared.states.borrow().weather == Weather::Away {
            continue;
        }
        if let Ok(bus) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            let number = shared.connections.fetch_add(1, Ordering::SeqCst);
            carried.spawn(carry(client, bus, number, Arc::clone(&shared)));
        }
    }
}

/// Carries one connection until a direction of it ends.
async fn carry(client: TcpStream, bus: TcpStream, number: u64, shared: Arc<Shared>) {
    let ((said, told), (heard, answered)) = (client.into_split(), bus.into_split());
    let up = Pump::new(number, 0, &shared);
    let down = Pump::new(number, 1, &shared);
    tokio::select! {
        () = up.run(said, answered) => {}
        () = down.run(heard, told) => {}
    }
}

/// Is one direction of a connection.
struct Pump {
    number: u64,
    dice: Dice,
    states: watch::Receiver<State>,
    shared: Arc<Shared>,
}

impl Pump {
    fn new(number: u64, direction: u64, shared: &Arc<Shared>) -> Self {
        Self {
            number,
            dice: Dice(number * 2 + direction),
            states: shared.states.subscribe(),
            shared: Arc::clone(shared),
        }
    }

    /// Carries pieces until the connection is to end.
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        while let Some(piece) = self.piece(&mut from).await {
            let state = *self.states.borrow();
            if self.number < state.frozen_below {
                continue;
            }
            let deed = match state.weather {
                Weather::Calm => Deed::Pass,
                Weather::Away => return,
                Weather::Rough(seed) => self.dice.deed(seed),
            };
            self.note(deed);
            let written = match deed {
                Deed::Pass => to.write_all(&piece).await,
                Deed::Delay => {
                    tokio::time::sleep(Duration::from_millis(self.dice.below(DELAY_MS))).await;
                    to.write_all(&piece).await
                }
                Deed::Cut => return,
                Deed::HalfClose => {
                    // The other direction goes on until somebody ends it.
                    let _ = to.shutdown().await;
                    return std::future::pending().await;
                }
                Deed::Drop => Ok(()),
                Deed::Double => to.write_all(&[&piece[..], &piece].concat()).await,
                Deed::Swap => match self.piece(&mut from).await {
                    Some(next) => to.write_all(&[next, piece].concat()).await,
                    None => return,
                },
            };
            if written.is_err() {
                return;
            }
        }
        if self.number < self.states.borrow().frozen_below {
            // Whoever is at the other end is not told.
            std::future::pending::<()>().await;
        }
    }

    /// Reads the next piece; none when the connection ends.
    async fn piece(&mut self, from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
        let size = usize::try_from(1 + self.dice.below(PIECE_BYTES)).ok()?;
        let mut bytes = vec![0; size];
        loop {
            tokio::select! {
                read = from.read(&mut bytes) => match read {
                    Ok(read) if read > 0 => {
                        bytes.truncate(read);
                        return Some(bytes);
                    }
                    _ => return None,
                },
                changed = self.states.changed() => {
                    if changed.is_err() || self.states.borrow_and_update().weather == Weather::Away {
                        return None;
                    }
                }
            }
        }
    }

    fn note(&self, deed: Deed) {
        let mut deeds = self.shared.deeds.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match deed {
            Deed::Pass => return,
            Deed::Delay => &mut deeds.delayed,
            Deed::Cut => &mut deeds.cut,
            Deed::HalfClose => &mut deeds.half_closed,
            Deed::Drop => &mut deeds.dropped,
            Deed::Double => &mut deeds.doubled,
            Deed::Swap => &mut deeds.swapped,
        };
        *count += 1;
    }
}

/// Throws the same numbers for the same seed, connection and direction.
struct Dice(u64);

impl Dice {
    /// Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (2014).
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.throw() % most
    }

    fn deed(&mut self, seed: u64) -> Deed {
        let thrown = Self(self.throw() ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d)).below(1000);
        match thrown {
            0..=11 => Deed::Cut,
            12..=19 => Deed::HalfClose,
            20..=29 => Deed::Drop,
            30..=39 => Deed::Double,
            40..=51 => Deed::Swap,
            52..=300 => Deed::Delay,
            _ => Deed::Pass,
        }
    }
}
