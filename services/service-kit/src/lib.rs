//! What every service of Borealis stands on: its place on the bus, its request loop, who may do what, how it comes up and
//! goes down.
//!
//! A service names its verbs and hands over a handler for each; everything that can be refused without knowing the service's
//! own rules is refused here. A whole service, but for its rules:
//!
//! ```no_run
//! use std::sync::Arc;
//! use borealis_bus_schema::{codes::Code, reply::{Reply, WireError}, subjects::Service};
//! use borealis_service_kit::{args::ServiceArgs, operator::OperatorCtx, run::{Built, Deps, RunError, ServiceMain, run_service}};
//!
//! pub async fn run(args: ServiceArgs) -> Result<(), RunError> {
//!     run_service(ServiceMain::new(Service::Inventory, build), args).await
//! }
//!
//! async fn build(deps: Deps) -> Result<Built, RunError> {
//!     // Here a service rebuilds its views, follows other services (`deps.follow`), starts its own tasks.
//!     let log = Arc::clone(&deps.log);
//!     Ok(deps
//!         .builder()
//!         .secret_kinds(&["PasswordSet"])
//!         .operator("devices-show", move |ctx| show(ctx, Arc::clone(&log)))
//!         .into())
//! }
//!
//! // By now biscuit and right are verified and, for a route that changes something, the session key's signature, its
//! // freshness and its command id; a repeated command was already answered with the first answer.
//! async fn show(ctx: OperatorCtx, log: Arc<dyn borealis_event_store::EventLog>) -> Reply<serde_json::Value> {
//!     let guid: borealis_bus_schema::ids::Guid = ctx.id()?;
//!     if ctx.call.query("cursor").is_some() { return Err(WireError::new(Code::InvalidField, "a device has no cursor")); }
//!     Ok(serde_json::json!({"guid": guid, "events": log.head().position}))
//! }
//! ```
//!
//! - A handler that changes something ends in [`operator::OperatorCtx::append`]: it takes the command's id and digest from
//!   the context, and gives the answer, the first one when the command had been made before.
//! - [`service::ServiceBuilder::internal`] takes what other services ask, [`service::ServiceBuilder::tell`] what devices tell,
//!   [`service::ServiceBuilder::public`] the routes whose body proves itself. Only services that [the permissions][p] name may
//!   ask an internal verb: the answer goes to their private replies, and nobody else's are accepted.
//! - A biscuit goes on to another service only narrowed: [`auth::attenuate`].
//! - Whoever keeps a view of another service's events follows it: [`run::Deps::follow`]; whoever needs heads only uses
//!   [`follow::watch_heads`].
//! - The time comes from [`clock::Clock`], ids and nonces from [`random`], both as facts for the pure core.
//!
//! **How it fails.** No bus: it waits and says so; requests answer `unavailable` or `deadline_exceeded`, and nothing is lost,
//! since nothing was acknowledged. No fresh word from access: `stale`. A storage error: the process ends with code 74. A
//! panic in a handler: that request answers `internal`.
//!
//! [p]: borealis_bus_schema::permissions

pub mod args;
pub mod exit;
pub mod paths;

pub mod clock;
pub mod random;

pub mod keys;
pub mod nats_jwt;
pub mod trust;

pub mod confine;

pub mod auth;
pub mod revocation;

pub mod bus;
pub mod follow;
pub mod heads;

pub mod audit;
pub mod operator;
pub mod service;

pub mod control;
pub mod inherited;
pub mod ready;
pub mod shutdown;

pub mod run;
