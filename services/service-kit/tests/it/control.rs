//! The control socket of a running service, and the same without it.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use borealis_bus_schema::subjects::Service;
use borealis_event_store::{EventLog, OpenOptions, SledLog, import};
use borealis_service_kit::control::{self, ControlRequest, RebuildViews};
use serde_json::{Value, json};

use crate::support::{Deployment, record};

const LIBRARY: Service = Service::Library;

async fn lines(all: &Deployment, request: ControlRequest) -> (Vec<Value>, Value) {
    let mut lines = Vec::new();
    let summary = control::ask(all.bus.paths(), LIBRARY, &request, |line| {
        lines.push(line);
        Ok(())
    })
    .await
    .unwrap();
    (lines, summary)
}

#[tokio::test]
async fn a_running_service_answers_for_its_store() {
    let all = Deployment::start().await;
    let service = all.serve(LIBRARY, |builder| builder).await;
    for n in 0..20u8 {
        record(&service, "script-1", "ScriptKept", vec![n; 100]).await;
    }
    let rebuild: RebuildViews = Arc::new(|| Box::pin(async { Ok(20) }));
    let paths = all.bus.paths();
    let socket = control::serve(paths, LIBRARY, service.store.clone(), Some(rebuild)).unwrap();
    let mode = std::fs::metadata(paths.control_sock(LIBRARY))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let (tail, end) = lines(
        &all,
        ControlRequest::Tail {
            after: None,
            follow: false,
        },
    )
    .await;
    assert_eq!(
        (tail.len(), &tail[0]["position"], &end["position"]),
        (10, &json!(11), &json!(20))
    );
    let (none, report) = lines(&all, ControlRequest::Verify { known: Vec::new() }).await;
    assert_eq!(
        (none.len(), &report["whole"], &report["checked"]),
        (0, &json!(true), &json!(20))
    );
    let (events, _) = lines(&all, ControlRequest::Events).await;
    assert_eq!(events.len(), 20);
    assert_eq!(events[0]["body_base64"].as_str().unwrap().len(), 136);
    let (_, rebuilt) = lines(&all, ControlRequest::RebuildViews).await;
    assert_eq!(rebuilt["events"], 20);

    let (pieces, summary) = lines(&all, ControlRequest::Export).await;
    let bytes: Vec<u8> = pieces
        .iter()
        .flat_map(|line| control::export_piece(line).unwrap())
        .collect();
    let other = all.bus.root().join("restored");
    let head = import(&other, &mut bytes.as_slice()).unwrap();
    assert_eq!(summary["hash"], hex::encode(head.hash));
    assert_eq!(
        SledLog::open(&other, OpenOptions::new()).unwrap().head(),
        service.log.head()
    );

    drop(socket);
    let stopped = control::ask(
        paths,
        LIBRARY,
        &ControlRequest::Verify { known: Vec::new() },
        |_| Ok(()),
    )
    .await;
    assert!(control::not_running(&stopped.unwrap_err()));
    service.stop().await.unwrap();
    let (mut count, paths) = (0, all.bus.paths().clone());
    let summary = control::ask_off_line(&paths, LIBRARY, ControlRequest::Events, None, |_| {
        count += 1;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!((count, &summary["events"]), (20, &json!(20)));
}
