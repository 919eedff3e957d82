//! The heads that signing countersigned, as its own store holds them: what another store is compared with.
//!
//! Each counts only with signing's signature over it. signing is asked while it runs; its store is opened while it does not.

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::Form;
use borealis_bus_schema::messages::audit::KnownHead;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::control::{self, ControlError, ControlRequest};
use borealis_service_kit::paths::Paths;
use borealis_service_kit::trust::TrustFile;
use borealis_signing::aggregate::Event;
use borealis_signing::stored;
use data_encoding::BASE64;
use serde_json::Value;

/// Is how many of the newest heads are taken: two weeks of a store that moves each minute.
const NEWEST: usize = 20_000;

/// Reads the newest countersigned heads of a service's store, oldest first, and how many were not signed by signing.
///
/// Errors: signing's store cannot be read.
pub async fn heads(paths: &Paths, service: Service) -> Result<(Vec<KnownHead>, usize), ControlError> {
    let trust = TrustFile::read(paths).map_err(|error| ControlError::Refused(error.to_string()))?;
    let stream = stored::of_heads(service).map_err(|error| ControlError::Refused(error.to_string()))?;
    let request = ControlRequest::Stream {
        name: stream.as_str().to_owned(),
    };
    let mut lines = std::collections::VecDeque::new();
    let mut take = |line: Value| {
        if lines.len() >= NEWEST {
            lines.pop_front();
        }
        lines.push_back(line);
        Ok(())
    };
    match control::ask(paths, Service::Signing, &request, &mut take).await {
        Err(error) if control::not_running(&error) => {
            control::ask_off_line(paths, Service::Signing, request, None, &mut take).await?
        }
        asked => asked?,
    };
    let all = lines.len();
    let known: Vec<KnownHead> = lines.iter().filter_map(|line| head_of(line, service, &trust)).collect();
    let forged = all - known.len();
    Ok((known, forged))
}

fn head_of(line: &Value, service: Service, trust: &TrustFile) -> Option<KnownHead> {
    let body = BASE64.decode(line.get("body_base64")?.as_str()?.as_bytes()).ok()?;
    let event = stored::decode(line.get("kind")?.as_str()?, &body).ok()?;
    let Event::HeadCountersigned { head, signature, .. } = event else {
        return None;
    };
    let bytes = codec::encode(&head).ok()?;
    let keys = trust.keys_of(Service::Signing, head.at);
    let holds = keys
        .iter()
        .any(|key| key.verify(Form::Countersign, &[&bytes], &signature).is_ok());
    (holds && head.service == service).then_some(KnownHead {
        position: head.position,
        hash: head.hash,
    })
}
