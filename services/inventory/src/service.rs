//! From log and bus to a running service: which verb goes to which handler, and what is followed.

use std::sync::Arc;

use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{DigestFiles, SledView};
use borealis_service_kit::follow::Place;
use borealis_service_kit::run::{Built, Deps, RunError};

use crate::app::App;
use crate::handlers;
use crate::reactions::{self, Teller};
use crate::views::facts::FactsView;

/// Builds the service, follows enrollment and starts its tasks.
///
/// Errors: [`RunError::Store`] when the view or the files cannot be opened, [`RunError::Bus`].
pub async fn build(deps: Deps) -> Result<Built, RunError> {
    let base = Arc::clone(&deps.base);
    let view = Arc::new(SledView::open(&deps.store, FactsView)?);
    catch_up(Arc::clone(&view)).await?;
    let files = DigestFiles::open(base.paths.state(Service::Inventory).join("files"))?;
    let app = App::new(Arc::clone(&deps.log), Arc::clone(&view), files);

    let since = base.clock.now();
    let teller = || Teller::new(deps.bus.clone(), since);
    let (taker, told) = (Arc::clone(&app), Arc::new(teller()));
    let follower = deps
        .follow(Service::Enrollment, Place::genesis(), move |stretch| {
            let (app, teller) = (Arc::clone(&taker), Arc::clone(&told));
            async move { reactions::take_enrollment(&app, &teller, stretch).await }
        })
        .await?;
    app.follow_enrollment(follower.freshness());
    let shutdown = base.shutdown.clone();
    let telling = tokio::spawn(reactions::tell_facts(Arc::clone(&app), teller(), shutdown.clone()));
    let clock = Arc::clone(&base.clock);
    let watching = tokio::spawn(reactions::watch_presence(Arc::clone(&app), teller(), clock, shutdown));

    let (list, show, tell) = (Arc::clone(&app), Arc::clone(&app), app);
    let builder = deps
        .builder()
        .at_end(telling)
        .at_end(watching)
        .operator("devices-list", move |ctx| {
            let app = Arc::clone(&list);
            async move { handlers::devices_list::handle(&app, &ctx).map_err(WireError::from) }
        })
        .operator("devices-show", move |ctx| {
            let app = Arc::clone(&show);
            async move { handlers::devices_show::handle(app, ctx).await.map_err(WireError::from) }
        })
        .tell("inventory", "facts", move |told| {
            let app = Arc::clone(&tell);
            async move {
                let kept = handlers::facts::handle(app, told.guid, &told.body, told.now).await;
                kept.map_err(WireError::from)
            }
        });
    Ok(Built {
        builder,
        rebuild_views: Some(Arc::new(move || {
            let view = Arc::clone(&view);
            Box::pin(async move {
                let rebuilt = tokio::task::spawn_blocking(move || view.rebuild()).await;
                let rebuilt = rebuilt.map_err(|error| error.to_string())?;
                rebuilt.map_err(|error| borealis_bus_schema::causes::chain(&error))
            })
        })),
    })
}

async fn catch_up(view: Arc<SledView<FactsView>>) -> Result<(), RunError> {
    let caught_up = tokio::task::spawn_blocking(move || view.catch_up()).await;
    caught_up.map_err(RunError::service)??;
    Ok(())
}
