//! How the gateway's process comes up and goes down.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::causes::chain;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::args::ServiceArgs;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::keys;
use borealis_service_kit::paths::Paths;
use borealis_service_kit::ready::ReadyMark;
use borealis_service_kit::run::Base;
use borealis_service_kit::shutdown::Shutdown;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::backend::BusBackend;
use crate::error::RunError;
use crate::live::Live;
use crate::router::{Config, PATIENCE, router};
use crate::server;
use crate::tls::Leaf;

/// Is how often the log is asked whether the day has changed, and the certificate whether it was renewed.
const ROLL: Duration = Duration::from_secs(10);

/// Is how long access may take for what was refused at last.
const LAST: Duration = Duration::from_secs(2);

/// Says where the gateway listens.
///
/// Shape: JSON in `Server/State/gateway/listen.json`; there while it listens, and after it was killed.
#[derive(Debug, Serialize, Deserialize)]
struct Listening {
    address: SocketAddr,
    port: u16,
    pid: u32,
}

fn listening_path(paths: &Paths) -> PathBuf {
    paths.state(Service::Gateway).join("listen.json")
}

/// Runs the gateway until it is told to stop.
///
/// Errors: [`RunError`]; its [`RunError::exit_code`] is the process's.
pub async fn run(args: ServiceArgs) -> Result<(), RunError> {
    let base = Arc::new(Base::start(Service::Gateway, args)?);
    let outcome = serve(Arc::clone(&base)).await;
    if let Err(error) = &outcome {
        tracing::error!(error = %chain(error), "the gateway ends");
    }
    outcome
}

async fn serve(base: Arc<Base>) -> Result<(), RunError> {
    let leaf = Leaf::read(&base.paths)?;
    let current = leaf.current();
    let room = server::room();
    let listener = listen(&base).await?;
    let address = listener.local_addr().map_err(|source| RunError::Listen {
        address: base.args.listen,
        source,
    })?;
    let path = listening_path(&base.paths);
    write(&path, address)?;
    tracing::info!(%address, room, "listening");

    let (sender, bus) = watch::channel(None);
    let live = Live::new();
    let (router, hand_over) = router(Config {
        deployment: base.trust.deployment,
        names: base.trust.public_names.clone(),
        address,
        biscuit_root: base.trust.biscuit_root,
        former_biscuit_roots: base.trust.former_biscuit_roots.clone(),
        trust: Arc::clone(&base.trust),
        clock: Arc::clone(&base.clock),
        shutdown: base.shutdown.clone(),
        backend: Arc::new(BusBackend::new(bus)),
        live: live.clone(),
        patience: PATIENCE,
    })?;
    let answered = Shutdown::manual();
    let handing = tokio::spawn(hand_over.run(answered.clone()));
    let background = tokio::spawn(background(Arc::clone(&base), sender, live, leaf));
    let serving = server::serve(listener, current, router, room, base.shutdown.clone());
    let outcome = tokio::select! {
        () = serving => Ok(()),
        outcome = background => outcome.unwrap_or(Ok(())),
    };
    // What was refused while the last requests were answered is handed over too.
    answered.begin();
    match timeout(LAST, handing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "refusals were not recorded in the audit: handing them over failed"),
        Err(_) => {
            tracing::warn!("the last refusals may not be recorded in the audit: access did not take them in time")
        }
    }
    // A missing file says that nobody listens; one that stays names a process that is gone.
    let _ = std::fs::remove_file(&path);
    tracing::info!("stopped");
    outcome
}

/// Connects to the bus, feeds open pages, keeps log and certificate up to date; returns only with an error.
async fn background(
    base: Arc<Base>,
    sender: watch::Sender<Option<Bus>>,
    live: Live,
    mut leaf: Leaf,
) -> Result<(), RunError> {
    let connecting = async {
        let Some(bus) = base.connect().await? else {
            return Ok(());
        };
        sender.send_replace(Some(bus.clone()));
        // Without the mark the supervisor only waits longer for what already answers.
        let mark = ReadyMark::write(&base.paths, Service::Gateway);
        if let Err(error) = &mark {
            tracing::error!(%error, "the file that says that the gateway answers cannot be written");
        }
        live.feed(&bus).await?;
        base.shutdown.wait().await;
        drop(mark);
        Ok(())
    };
    let rolling = async {
        loop {
            tokio::time::sleep(ROLL).await;
            base.log_guard.roll_if_due();
            leaf.renew_if_changed();
        }
    };
    tokio::select! {
        outcome = connecting => match outcome {
            Ok(()) => std::future::pending().await,
            Err(error) => Err(error),
        },
        () = rolling => Ok(()),
    }
}

/// Listens where it is told; for port 0 where the process before this one listened, so that a restart keeps the address.
async fn listen(base: &Base) -> Result<TcpListener, RunError> {
    let address = base.args.listen;
    if address.port() == 0
        && let Some(before) = before(&base.paths)
        && let Ok(listener) = TcpListener::bind(SocketAddr::new(address.ip(), before.port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind(address).await.map_err(|source| {
        if source.kind() == ErrorKind::AddrInUse {
            RunError::PortInUse { address }
        } else {
            RunError::Listen { address, source }
        }
    })
}

fn before(paths: &Paths) -> Option<Listening> {
    let bytes = std::fs::read(listening_path(paths)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write(path: &std::path::Path, address: SocketAddr) -> Result<(), RunError> {
    let failed = |source| RunError::Address {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        keys::private_folder(folder).map_err(failed)?;
    }
    let listening = Listening {
        address,
        port: address.port(),
        pid: std::process::id(),
    };
    let bytes = serde_json::to_vec(&listening).unwrap_or_default();
    keys::write_private(path, &bytes).map_err(failed)
}
