//! Connections: accepted, bounded in number and time, and ended in order.
//!
//! Whoever connects and sends nothing, or sends slowly, holds one of a bounded number of places for a bounded time. When all
//! places are taken, the connection that has been idle for longest is put out for the newcomer; one that is being answered
//! never is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use borealis_service_kit::shutdown::{DRAIN, Shutdown};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Is the address of whoever connected, as this machine sees it; never taken from a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Is how long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Is how long the head of a request may take, and how long a connection may wait for its next request.
const HEAD: Duration = Duration::from_secs(30);
/// Is how large the head of a request may be.
const HEAD_BYTES: usize = 32 << 10;
/// Is how many headers a request may have.
const MAX_HEADERS: usize = 64;
/// Is how many connections there may be at most.
const MAX_CONNECTIONS: usize = 8_192;
/// Is how many files the process needs besides its connections.
const OTHER_FILES: u64 = 128;

/// Returns how many connections the limits of this process allow, after raising them as far as it may.
pub(crate) fn room() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without the right to raise it, the old limit stays and is what counts.
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
    room.clamp(16, MAX_CONNECTIONS)
}

/// Is one connection as the others see it.
#[derive(Default)]
struct Seat {
    busy: AtomicUsize,
    since_ms: AtomicU64,
    leave: Notify,
}

/// Holds every connection.
struct Seats {
    began: Instant,
    room: usize,
    taken: Mutex<HashMap<u64, Arc<Seat>>>,
    next: AtomicU64,
}

/// Frees a seat when its connection ends.
struct Seated {
    seats: Arc<Seats>,
    number: u64,
    seat: Arc<Seat>,
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.seats.lock().remove(&self.number);
    }
}

/// Marks a seat as busy while a request is answered.
struct Busy<'s>(&'s Seats, &'s Seat);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.1.since_ms.store(self.0.elapsed_ms(), Ordering::Relaxed);
        self.1.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Seats {
    fn new(room: usize) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            room,
            taken: Mutex::default(),
            next: AtomicU64::default(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes a seat; the one idle for longest leaves when there is none. `None` when everyone is busy.
    fn take(self: &Arc<Self>) -> Option<Seated> {
        let seat = Arc::new(Seat::default());
        seat.since_ms.store(self.elapsed_ms(), Ordering::Relaxed);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut taken = self.lock();
        if taken.len() >= self.room {
            let idle = taken.iter().filter(|(_, seat)| seat.busy.load(Ordering::Relaxed) == 0);
            let oldest = idle.min_by_key(|(_, seat)| seat.since_ms.load(Ordering::Relaxed));
            let oldest = oldest.map(|(number, _)| *number)?;
            if let Some(seat) = taken.remove(&oldest) {
                seat.leave.notify_one();
            }
        }
        taken.insert(number, Arc::clone(&seat));
        drop(taken);
        Some(Seated {
            seats: Arc::clone(self),
            number,
            seat,
        })
    }
}

/// Serves until it is told to stop, then lets what has begun come to its end.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<TlsAcceptor>,
    router: Router,
    room: usize,
    shutdown: Shutdown,
) {
    let (seats, mut tasks) = (Seats::new(room), JoinSet::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
        };
        while tasks.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match seats.take() {
            Some(seated) => {
                let (tls, router, shutdown) = (tls.borrow().clone(), router.clone(), shutdown.clone());
                tasks.spawn(connection(stream, peer, tls, router, seated, shutdown));
            }
            None => tracing::warn!(%peer, room, "a connection is refused: all are busy"),
        }
    }
    drop(listener);
    let drained = timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(left = tasks.len(), "connections are cut: they did not end in time");
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    router: Router,
    seated: Seated,
    shutdown: Shutdown,
) {
    // Answers are small and wanted at once; a socket that refuses this still works.
    let _ = stream.set_nodelay(true);
    let handshake = tokio::select! {
        done = timeout(HANDSHAKE, tls.accept(stream)) => done,
        () = seated.seat.leave.notified() => return,
        () = shutdown.wait() => return,
    };
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "a TLS handshake took too long"),
    };
    let (seats, seat) = (Arc::clone(&seated.seats), Arc::clone(&seated.seat));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (router, seats, seat) = (router.clone(), Arc::clone(&seats), Arc::clone(&seat));
        async move {
            seat.busy.fetch_add(1, Ordering::Relaxed);
            let _busy = Busy(&seats, &seat);
            request.extensions_mut().insert(Peer(peer.ip().to_canonical()));
            router.oneshot(request.map(Body::new)).await
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(true);
    let serving = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = seated.seat.leave.notified() => return,
        () = shutdown.wait() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_leaves_for_a_newcomer_and_the_busy_stay() {
        let seats = Seats::new(2);
        let old = seats.take().unwrap();
        let young = seats.take().unwrap();
        young.seat.since_ms.store(1_000_000, Ordering::Relaxed);
        old.seat.busy.fetch_add(1, Ordering::Relaxed);
        let third = seats.take().unwrap();
        young.seat.leave.notified().await;
        third.seat.busy.fetch_add(1, Ordering::Relaxed);
        assert!(seats.take().is_none());
        drop(old);
        assert!(seats.take().is_some());
    }

    #[test]
    fn there_is_room() {
        assert!(room() >= 16);
    }
}
