//! From keys and log to a running service: which verb goes to which handler.

use std::future::Future;
use std::sync::Arc;

use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::run::{Deps, RunError};
use borealis_service_kit::service::ServiceBuilder;

use crate::aggregate::device::Change;
use crate::app::App;
use crate::config::Config;
use crate::credentials::Issuer;
use crate::error::Refusal;
use crate::ledger::Ledger;
use crate::minters::Minters;
use crate::warden::Warden;
use crate::{expiry, handlers, live};

/// Builds the service and starts its tasks: warden, live views, expiry.
///
/// Errors: [`RunError::Service`] when a key or the log cannot be read.
pub fn build(deps: &Deps) -> Result<(ServiceBuilder, Arc<App>), RunError> {
    let base = &deps.base;
    let config = Config::read(&base.paths, &base.trust).map_err(RunError::service)?;
    let ledger = Ledger::open(Arc::clone(&deps.log)).map_err(RunError::service)?;
    tracing::info!(devices = ledger.state().device_count(), "the log is read");
    let issuer = Issuer::new(
        config.account_signer,
        config.derivation,
        base.paths.clone(),
        (*base.trust).clone(),
    );
    let fresh = deps.access.as_ref().map(|access| access.freshness());
    let minters = Minters::new(Arc::clone(&deps.revoked), fresh, Arc::clone(&base.clock));
    let app = App::new(ledger, issuer, config.ca_sha256, minters);
    let shutdown = base.shutdown.clone();
    let warden = Warden::new(
        Arc::clone(&app),
        Arc::clone(&base.clock),
        config.account,
        config.operator_signer,
        shutdown.clone(),
    );
    let warding = tokio::spawn(warden.run(base.paths.clone()));
    let telling = tokio::spawn(live::publish(Arc::clone(&app), deps.bus.clone(), shutdown.clone()));
    let expiring = tokio::spawn(expiry::run(Arc::clone(&app), Arc::clone(&base.clock), shutdown));
    let builder = verbs(deps.builder(), &app)
        .at_end(warding)
        .at_end(telling)
        .at_end(expiring);
    Ok((builder, app))
}

fn verbs(builder: ServiceBuilder, app: &Arc<App>) -> ServiceBuilder {
    let told = Arc::clone(app);
    builder
        .operator(
            "codes-create",
            answering(app, |app, ctx| async move {
                handlers::codes_create::handle(&app, &ctx).await
            }),
        )
        .operator(
            "codes-list",
            answering(app, |app, ctx| async move { handlers::codes_list::handle(&app, &ctx) }),
        )
        .operator(
            "codes-revoke",
            answering(app, |app, ctx| async move {
                handlers::codes_revoke::handle(&app, &ctx).await
            }),
        )
        .operator(
            "approvals-list",
            answering(
                app,
                |app, ctx| async move { handlers::approvals_list::handle(&app, &ctx) },
            ),
        )
        .operator(
            "approvals-approve",
            answering(app, |app, ctx| async move {
                handlers::approvals_approve::handle(&app, &ctx).await
            }),
        )
        .operator(
            "approvals-deny",
            answering(app, |app, ctx| async move {
                handlers::approvals_deny::handle(&app, &ctx).await
            }),
        )
        .operator(
            "devices-quarantine",
            answering(app, |app, ctx| async move {
                handlers::device_status::handle(&app, &ctx, Change::Quarantine).await
            }),
        )
        .operator(
            "devices-release",
            answering(app, |app, ctx| async move {
                handlers::device_status::handle(&app, &ctx, Change::Release).await
            }),
        )
        .operator(
            "devices-revoke",
            answering(app, |app, ctx| async move {
                handlers::device_status::handle(&app, &ctx, Change::Revoke).await
            }),
        )
        .operator(
            "devices-decommission",
            answering(app, |app, ctx| async move {
                handlers::device_status::handle(&app, &ctx, Change::Decommission).await
            }),
        )
        .operator(
            "devices-rotate-key",
            answering(app, |app, ctx| async move {
                handlers::devices_rotate_key::handle(&app, &ctx).await
            }),
        )
        .operator(
            "devices-tag",
            answering(app, |app, ctx| async move {
                handlers::devices_tag::handle(&app, &ctx).await
            }),
        )
        .public(
            "device-rotate-key",
            answering(app, |app, ctx| async move {
                handlers::device_rotate_key::handle(&app, &ctx).await
            }),
        )
        .public(
            "enroll-request",
            answering(app, |app, ctx| async move {
                handlers::enroll_request::handle(&app, &ctx).await
            }),
        )
        .public(
            "enroll-poll",
            answering(app, |app, ctx| async move {
                handlers::enroll_poll::handle(&app, &ctx).await
            }),
        )
        .public(
            "device-renew",
            answering(app, |app, ctx| async move {
                handlers::device_renew::handle(&app, &ctx).await
            }),
        )
        .tell("agent", "hello", move |tell| {
            let app = Arc::clone(&told);
            async move {
                handlers::hello::handle(&app, tell.guid, &tell.body, tell.now)
                    .await
                    .map_err(WireError::from)
            }
        })
}

type Answer<A> = std::pin::Pin<Box<dyn Future<Output = Reply<A>> + Send>>;

/// Lets a handler answer with this service's own refusals; `C` is what it is asked with.
fn answering<C, A, F, Fut>(app: &Arc<App>, handle: F) -> impl Fn(C) -> Answer<A> + Send + Sync + use<C, A, F, Fut>
where
    F: Fn(Arc<App>, C) -> Fut + Send + Sync,
    Fut: Future<Output = Result<A, Refusal>> + Send + 'static,
{
    let app = Arc::clone(app);
    move |ctx| {
        let answer = handle(Arc::clone(&app), ctx);
        Box::pin(async move { answer.await.map_err(WireError::from) })
    }
}
