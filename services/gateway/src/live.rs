//! What changes, for open pages: one WebSocket per tab that relays the bus's live events.
//!
//! An event only says what to read again; the reads stay the truth. A page that cannot keep up is disconnected and reads
//! anew after it came back. Nobody gets an event of a kind that the session may not read, and a session whose rights reach
//! only some sites gets events without their content. A session that ended, or a right that was lost, closes the socket
//! within seconds: access is asked again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::OperatorId;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{Caller, Sites};
use borealis_service_kit::bus::{Bus, BusError, LiveEvent};
use http::request::Parts;
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::own::Admitted;
use crate::router::Gateway;

/// Is how many events may wait for one page.
const QUEUE: usize = 1_024;
/// Is how many pages may be open in all, and of one operator.
const MAX_OPEN: usize = 2_048;
const MAX_OPEN_EACH: usize = 64;
/// Is how often the page is told that the line stands.
const PING: Duration = Duration::from_secs(15);
/// Is how often access is asked whether the session still stands.
const CHECK: Duration = Duration::from_secs(4);
/// Is how long access may be away before open pages are closed.
const UNCHECKED: Duration = Duration::from_secs(60);
/// Is how long one message may take to leave.
const SEND: Duration = Duration::from_secs(10);
/// Is how long a page may be silent: its pongs count.
const SILENCE: Duration = Duration::from_secs(60);
/// Is how large a page's message may be, and how many it may send between two pings.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
const MAX_MESSAGES: u32 = 200;

/// Is one event in the two forms in which it is told.
#[derive(Debug)]
struct Told {
    need: Right,
    whole: Utf8Bytes,
    bare: Utf8Bytes,
}

/// Hands the bus's live events to every open page. Handles are cheap to clone.
#[derive(Clone)]
pub struct Live {
    events: broadcast::Sender<Arc<Told>>,
    open: Arc<Mutex<HashMap<OperatorId, usize>>>,
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Live {
    /// Makes one without pages.
    pub fn new() -> Self {
        Self {
            events: broadcast::channel(QUEUE).0,
            open: Arc::default(),
        }
    }

    /// Listens to the bus and hands on what it hears, until the connection is closed.
    ///
    /// Errors: [`BusError`] when the subscription is refused by the client.
    pub async fn feed(&self, bus: &Bus) -> Result<(), BusError> {
        let mut events = bus.live_events().await?;
        while let Some(event) = events.next().await {
            self.tell(&event);
        }
        Ok(())
    }

    /// Hands one event to the pages that may see its kind.
    pub fn tell(&self, event: &LiveEvent) {
        let Some(need) = needed(event.service, event.aggregate.as_str()) else {
            return;
        };
        if self.events.receiver_count() == 0 {
            return;
        }
        let text = |data: &serde_json::Value| {
            let told = json!({
                "type": "event", "service": event.service, "aggregate": event.aggregate, "past": event.past,
                "data": data, "at": event.body.at,
            });
            Utf8Bytes::from(told.to_string())
        };
        let told = Told {
            need,
            whole: text(&event.body.data),
            bare: text(&json!({})),
        };
        // Nobody may be listening.
        let _ = self.events.send(Arc::new(told));
    }

    /// Returns how many pages are open.
    pub(crate) fn open_count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Counts a page in; it is counted out when the guard is dropped.
    fn enter(&self, operator: OperatorId) -> Reply<Entered> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (open.values().sum::<usize>(), open.get(&operator).copied().unwrap_or(0));
        if all >= MAX_OPEN || own >= MAX_OPEN_EACH {
            return Err(WireError::new(Code::Overloaded, "too many live connections are open"));
        }
        open.insert(operator, own + 1);
        drop(open);
        Ok(Entered(self.clone(), operator))
    }
}

struct Entered(Live, OperatorId);

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}

/// Returns the right that a kind of event needs; other kinds are nobody's business outside.
fn needed(service: Service, aggregate: &str) -> Option<Right> {
    match (service, aggregate) {
        (Service::Inventory, "device") | (Service::Enrollment, "device") => Some(Right::DevicesRead),
        (Service::Enrollment, "approval") => Some(Right::ApprovalsRead),
        (Service::Enrollment, "code") => Some(Right::CodesRead),
        (Service::Scheduler, "job" | "run" | "schedule") => Some(Right::JobsRead),
        _ => None,
    }
}

/// Answers `GET /api/v1/live`: everything is checked before the connection changes its protocol.
pub(crate) async fn upgrade(gateway: Arc<Gateway>, parts: &mut Parts, admitted: Admitted) -> Reply<Response> {
    let entered = gateway.live.enter(admitted.caller.operator)?;
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &())
        .await
        .map_err(|rejection| WireError::new(Code::Malformed, rejection.body_text()))?;
    let events = gateway.live.events.subscribe();
    Ok(upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .max_write_buffer_size(1 << 20)
        .on_upgrade(move |socket| async move {
            let _entered = entered;
            page(&gateway, socket, &admitted, events).await;
        }))
}

/// Says why a page is disconnected.
struct Bye(u16, &'static str);

async fn page(
    gateway: &Gateway,
    mut socket: WebSocket,
    admitted: &Admitted,
    mut events: broadcast::Receiver<Arc<Told>>,
) {
    let (caller, session) = (&admitted.caller, &admitted.session);
    let (mut ping, mut check) = (interval(PING), interval(CHECK));
    for timer in [&mut ping, &mut check] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer.reset();
    }
    let (mut heard, mut checked, mut messages) = (Instant::now(), Instant::now(), 0u32);
    let bye = loop {
        let sent = tokio::select! {
            event = events.recv() => match event {
                Ok(told) => tell(&mut socket, caller, &told).await,
                Err(RecvError::Lagged(_)) => Err(Bye(close_code::AGAIN, "events came faster than they were taken")),
                Err(RecvError::Closed) => Err(Bye(close_code::AWAY, "the server is stopping")),
            },
            message = socket.recv() => match message {
                None | Some(Err(_)) | Some(Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    messages = messages.saturating_add(1);
                    if messages > MAX_MESSAGES { Err(Bye(close_code::POLICY, "too many messages")) } else { Ok(()) }
                }
            },
            _ = ping.tick() => {
                messages = 0;
                if heard.elapsed() > SILENCE {
                    Err(Bye(close_code::AWAY, "nothing was heard for too long"))
                } else {
                    let alive = send(&mut socket, Message::Text(Utf8Bytes::from_static("{\"type\":\"ping\"}"))).await;
                    match alive {
                        Ok(()) => send(&mut socket, Message::Ping(bytes::Bytes::new())).await,
                        gone => gone,
                    }
                }
            }
            _ = check.tick() => match session.look(gateway).await {
                Ok(now) if Some(&now) == admitted.standing.as_ref() => {
                    checked = Instant::now();
                    Ok(())
                }
                Ok(_) => Err(Bye(close_code::POLICY, "the rights of the session are others now")),
                Err(error) if matches!(error.code.http_status(), 401 | 403) => {
                    Err(Bye(close_code::POLICY, "the session is over"))
                }
                Err(_) if checked.elapsed() > UNCHECKED => Err(Bye(close_code::AGAIN, "the session cannot be checked")),
                Err(_) => Ok(()),
            },
            () = gateway.shutdown.wait() => Err(Bye(close_code::AWAY, "the server is stopping")),
        };
        if let Err(bye) = sent {
            break bye;
        }
    };
    let frame = CloseFrame {
        code: bye.0,
        reason: Utf8Bytes::from_static(bye.1),
    };
    tracing::debug!(session = %caller.session, reason = bye.1, "a live connection is closed");
    // Whoever does not listen any more needs no reason.
    let _ = timeout(Duration::from_secs(1), socket.send(Message::Close(Some(frame)))).await;
}

async fn tell(socket: &mut WebSocket, caller: &Caller, told: &Told) -> Result<(), Bye> {
    let text = match caller.reach.get(&told.need) {
        None => return Ok(()),
        Some(Sites::All) => &told.whole,
        Some(Sites::Some(_)) => &told.bare,
    };
    send(socket, Message::Text(text.clone())).await
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Bye> {
    match timeout(SEND, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Bye(close_code::AGAIN, "events were not taken in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::VerbName;
    use borealis_bus_schema::time::Timestamp;
    use borealis_service_kit::bus::LiveBody;

    fn event(service: Service, aggregate: &str) -> LiveEvent {
        LiveEvent {
            service,
            aggregate: VerbName::new(aggregate).unwrap(),
            past: VerbName::new("added").unwrap(),
            body: LiveBody {
                at: Timestamp::from_unix_ms(0),
                data: json!({"guid": "g"}),
            },
        }
    }

    #[test]
    fn an_event_is_told_in_the_form_that_pages_read() {
        let live = Live::new();
        let mut page = live.events.subscribe();
        live.tell(&event(Service::Inventory, "device"));
        let told = page.try_recv().unwrap();
        let whole: serde_json::Value = serde_json::from_str(&told.whole).unwrap();
        assert_eq!(
            whole,
            json!({"type": "event", "service": "inventory", "aggregate": "device", "past": "added",
                "data": {"guid": "g"}, "at": "1970-01-01T00:00:00.000Z"})
        );
        let bare: serde_json::Value = serde_json::from_str(&told.bare).unwrap();
        assert_eq!(bare["data"], json!({}));
        assert_eq!(told.need, Right::DevicesRead);
    }

    #[test]
    fn what_concerns_nobody_outside_is_not_told() {
        let live = Live::new();
        let mut page = live.events.subscribe();
        live.tell(&event(Service::Access, "session"));
        live.tell(&event(Service::Signing, "order"));
        assert!(page.try_recv().is_err());
    }

    #[test]
    fn one_operator_has_a_bounded_number_of_pages() {
        let (live, operator) = (Live::new(), OperatorId::from_bytes([1; 16]));
        let mut pages: Vec<_> = (0..MAX_OPEN_EACH).map(|_| live.enter(operator).ok().unwrap()).collect();
        assert_eq!(live.enter(operator).err().unwrap().code, Code::Overloaded);
        assert!(live.enter(OperatorId::from_bytes([2; 16])).is_ok());
        pages.pop();
        assert!(live.enter(operator).is_ok());
    }
}
