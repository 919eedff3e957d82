//! gateway: HTTPS and the live WebSocket for operators, HTTPS for enrolling devices, and the web page.
//!
//! A translator without domain rules and without a store. Each route of [`borealis_bus_schema::routes`] becomes one request
//! on the bus: method, path, body and the session key's signature go on exactly as they came, the biscuit narrowed to the one
//! service and the one act for thirty seconds. The service that owns the verb decides; its answer or its error comes back as
//! JSON or as a problem (RFC 9457). A gateway that was taken over holds nothing that it could use.
//!
//! **In:** HTTPS on `--listen` ([`server`]: TLS, limits, who is put out when there are too many). **Out:** requests to
//! services, `$SRV.PING`; hears the events for live views ([`live`]). **On disk:** its TLS leaf under
//! `Certificates/Server/gateway/`, its address in `Server/State/gateway/listen.json`.
//!
//! **How it fails.** It listens before there is a bus. While the bus or a service is away, a request is tried again for
//! some seconds where that is safe (reads; changes, because their command id makes them happen once), then answered
//! `unavailable`. A port that is taken ends the process with code 76.

mod error;

mod problem;

mod headers;

mod auth;

mod backend;

mod in_use;

mod forward;

mod own;

mod live;

mod audit;

mod refusals;

mod metrics;

mod openapi;

mod ready;

mod ui;

mod router;

mod tls;

mod server;

mod run;

pub use backend::{Backend, BusBackend};
pub use error::RunError;
pub use live::Live;
pub use openapi::document as openapi;
pub use refusals::HandOver;
pub use router::{Config, PATIENCE, router};
pub use run::run;
pub use server::Peer;
