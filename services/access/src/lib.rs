//! access: who the operators are, who is logged in, and who may act later.
//!
//! **What it owns.** Operators with their roles, roles, sites, the one-time links by which passwords are set, sessions,
//! API tokens, grants, and the key under which every biscuit of the deployment is minted. Other services verify biscuits themselves and
//! learn from access's log what ended, who is disabled and which rights were taken away.
//!
//! **Subjects.** In: the operators' verbs `setup`, `login`, `logout`, `session`, `sessions-…`, `password`, `step-up`, `step-up-passkey`, `totp-…`, `recovery-codes`, `passkeys-…`, `tokens-…`, `users-…`, `roles-…`, `sites-…`;
//! `grant-mint` and `grant-revoke`, asked by the scheduler; `events-read`. Out: its signed head. Besides, questions of its supervisor over an inherited pipe ([`bootstrap`]).
//!
//! **On disk.** `Server/State/access/`: the event store, and `setup_secret` while there is no operator (0600).
//! `Certificates/Server/access/`: `biscuit_root.ed25519`, and `opaque_setup`, which it makes at its first start; without
//! the latter no password can be proved any more, and no authenticator app's secret opened. A password's record is an event
//! whose body never leaves this service.
//!
//! **How it fails.** A damaged log or key file ends the process, before anything is answered. Log-ins between their two
//! steps, when a session was last in use and the count of attempts are in memory; a restart costs one more try. Nobody learns which names exist.

pub mod aggregate;
pub mod stored;

pub mod opaque;
pub mod throttle;
pub mod totp;
pub mod webauthn;

mod error;
mod logins;
mod presence;
mod service;
mod setup_link;

mod bootstrap;
mod handlers;

use std::sync::Arc;

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::args::ServiceArgs;
use borealis_service_kit::auth::BiscuitRoot;
use borealis_service_kit::keys;
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::paths::Paths;
use borealis_service_kit::run::{Built, Deps, RunError, ServiceMain, run_service};

pub use error::AccessError;

use opaque::Opaque;
use service::{Access, Parts};
use setup_link::SetupLink;
use webauthn::Places;

/// Runs access until it is told to stop.
///
/// Errors: [`RunError`]; its exit code is the process's.
pub async fn run(args: ServiceArgs) -> Result<(), RunError> {
    run_service(ServiceMain::new(Service::Access, build), args).await
}

/// Builds access on a bus and a store that are there already; [`run`] is this in a process of its own.
///
/// Errors: [`RunError`].
pub async fn build(deps: Deps) -> Result<Built, RunError> {
    let access = Arc::new(open(&deps).await.map_err(RunError::service)?);
    if let Some(stream) = bootstrap::inherited().map_err(RunError::service)? {
        tokio::spawn(bootstrap::serve(Arc::clone(&access), stream));
    }
    let of = |access: &Arc<Access>| Arc::clone(access);
    let (grant, over, authoriser) = (of(&access), of(&access), Arc::clone(&deps.authoriser));
    let watching = tokio::spawn(presence::watch(of(&access), deps.base.shutdown.clone()));
    // Whoever is served by a session uses it.
    macro_rules! in_use {
        ($handler:path) => {{
            let access = of(&access);
            move |ctx: OperatorCtx| {
                access.presence.note(ctx.caller.session, ctx.now);
                $handler(Arc::clone(&access), ctx)
            }
        }};
    }
    macro_rules! with_access {
        ($handler:path) => {{
            let access = of(&access);
            move |ctx| $handler(Arc::clone(&access), ctx)
        }};
    }
    let builder = deps
        .builder()
        .at_end(watching)
        .secret_kinds(stored::SECRET_KINDS)
        .public("setup", with_access!(handlers::setup::handle))
        .public("login", with_access!(handlers::login::handle))
        .operator("logout", in_use!(handlers::logout::handle))
        .operator("session", {
            let access = of(&access);
            move |ctx: OperatorCtx| {
                access.presence.note_asked(ctx.caller.session, &ctx.call, ctx.now);
                handlers::session::handle(Arc::clone(&access), ctx)
            }
        })
        .operator("sessions-list", in_use!(handlers::sessions::list))
        .operator("sessions-end", in_use!(handlers::sessions::end))
        .operator("password", in_use!(handlers::password::handle))
        .operator("step-up", in_use!(handlers::factors::step_up))
        .operator("step-up-passkey", in_use!(handlers::passkeys::step_up))
        .operator("passkeys-list", in_use!(handlers::passkeys::list))
        .operator("passkeys-register", in_use!(handlers::passkeys::register))
        .operator("passkeys-rename", in_use!(handlers::passkeys::rename))
        .operator("passkeys-remove", in_use!(handlers::passkeys::remove))
        .operator("totp-enrol", in_use!(handlers::factors::enrol))
        .operator("totp-confirm", in_use!(handlers::factors::confirm))
        .operator("totp-remove", in_use!(handlers::factors::remove))
        .operator("recovery-codes", in_use!(handlers::factors::recovery_codes))
        .operator("tokens-list", in_use!(handlers::tokens::list))
        .operator("tokens-create", in_use!(handlers::tokens::create))
        .operator("tokens-revoke", in_use!(handlers::tokens::revoke))
        .operator("grants-list", in_use!(handlers::grants::list))
        .operator("grants-revoke", in_use!(handlers::grants::revoke))
        .operator("users-list", in_use!(handlers::users::list))
        .operator("users-invite", in_use!(handlers::users::invite))
        .operator("users-roles", in_use!(handlers::users::roles))
        .operator("users-disable", in_use!(handlers::users::disable))
        .operator("users-enable", in_use!(handlers::users::enable))
        .operator("users-reset", in_use!(handlers::users::reset))
        .operator("users-reset-factor", in_use!(handlers::factors::reset))
        .operator("roles-list", in_use!(handlers::roles::list))
        .operator("roles-create", in_use!(handlers::roles::create))
        .operator("roles-update", in_use!(handlers::roles::update))
        .operator("sites-list", in_use!(handlers::sites::list))
        .operator("sites-create", in_use!(handlers::sites::create))
        .operator("sites-update", in_use!(handlers::sites::update))
        .internal(move |ctx, ask| handlers::grant_mint::handle(Arc::clone(&grant), Arc::clone(&authoriser), ctx, ask))
        .internal(move |ctx, ask| handlers::grants::retire(Arc::clone(&over), ctx, ask));
    Ok(builder.into())
}

async fn open(deps: &Deps) -> Result<Access, AccessError> {
    let paths = &deps.base.paths;
    let root = keys::read_signing_key(&paths.biscuit_root_key())?;
    Access::open(Parts {
        log: Arc::clone(&deps.log),
        clock: Arc::clone(&deps.base.clock),
        opaque: opaque_setup(paths)?,
        places: Places::new(&deps.base.trust.public_names, deps.base.args.listen.port()),
        link: SetupLink::new(paths),
        root: BiscuitRoot::new(&root)?,
        revoked: Arc::clone(&deps.revoked),
    })
    .await
}

/// Reads the OPAQUE set-up, and makes it at the first start.
fn opaque_setup(paths: &Paths) -> Result<Opaque, AccessError> {
    let path = paths.opaque_setup();
    if path.exists() {
        let text = keys::read_private_text(&path, "OPAQUE set-up")?;
        return Opaque::from_text(&text).map_err(AccessError::OpaqueSetup);
    }
    let made = Opaque::generate(&mut rand::rngs::OsRng);
    keys::write_private(&path, made.to_text().as_bytes())?;
    Ok(made)
}
