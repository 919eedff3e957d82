//! The audit over every service: their pages merged by time, and the check of each one's log.
//!
//! Each service answers for its own log and decides for itself whether the token may read it. The cursor names a position in
//! each log, so that nothing is left out or told twice, however often one of them is away.

mod merge;

use axum::Json;
use axum::response::{IntoResponse, Response};
use borealis_bus_schema::audit::AuditFilter;
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::forms::Form;
use borealis_bus_schema::ids::CorrelationId;
use borealis_bus_schema::messages::Request as _;
use borealis_bus_schema::messages::audit::{
    AuditList, AuditListed, AuditPage, AuditPiece, AuditVerified, AuditVerify, AuditVouched, Countersigned, KnownHead,
    LIST_VERB, NewestCountersigned, NewestHead, VERIFY_VERB,
};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{self, Reply, WireError};
use borealis_bus_schema::routes::AUDIT_ASKS;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{HOP_LIFE_MS, attenuate};
use borealis_service_kit::bus::RequestOptions;
use futures_util::future::join_all;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

use crate::forward::Forwarded;
use crate::in_use;
use crate::own::Session;
use crate::router::Gateway;
use merge::{Cursor, Merged, merge};

/// Is how many records a page has unless asked, and at most.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 500;
/// Is how many events one check looks at.
const PIECE: u32 = 20_000;
/// Is how long one service may take; an index that was never read is made first.
const WITHIN: Duration = Duration::from_secs(15);
/// Is the longest text of a filter.
const MAX_FILTER: usize = 200;

/// Answers `GET /api/v1/audit`.
///
/// Shape: `{items: [record], cursor, next_cursor, missing: [service]}`. `cursor` is where to go on, also at the end;
/// `next_cursor` is null when there is nothing more now. `missing` names services that did not answer: their records come
/// later, when they do.
pub(crate) async fn list(
    gateway: &Arc<Gateway>,
    parts: &mut Parts,
    asker: &Session,
    id: CorrelationId,
) -> Reply<Response> {
    let query = query_of(parts);
    let biscuit = asker.biscuit.as_str();
    let newest_first = match query.text("order").as_deref() {
        None | Some("desc") => true,
        Some("asc") => false,
        Some(_) => return Err(invalid("order is asc or desc")),
    };
    let limit = match query.text("limit") {
        None => PAGE,
        Some(text) => text
            .parse::<u32>()
            .map_err(|_| invalid("limit is no number"))?
            .clamp(1, MAX_PAGE),
    };
    let filter = AuditFilter {
        from: query.instant("from")?,
        to: query.instant("to")?,
        object: query.bounded("object")?,
        actor: query.bounded("actor")?,
        outcome: query.bounded("outcome")?,
        action: query.bounded("action")?,
    };
    let cursor = match query.text("cursor") {
        None => Cursor::begin(newest_first),
        Some(text) => Cursor::read(&text)
            .filter(|cursor| cursor.newest_first == newest_first)
            .ok_or_else(|| invalid("cursor is none that this list gave, or is of the other order"))?,
    };
    parts.extensions.insert(Forwarded);
    let asks = owners().map(|service| {
        let ask = AuditList {
            at: cursor.of(service),
            newest_first,
            filter: filter.clone(),
            limit,
        };
        async move {
            (
                service,
                ask_service::<_, AuditPage>(gateway, service, LIST_VERB, &ask, biscuit, id).await,
            )
        }
    });
    let (mut pages, mut missing) = (Vec::new(), Vec::new());
    for (service, page) in join_all(asks).await {
        match page {
            Ok(page) => pages.push((service, page)),
            Err(error) if error.code.retry() == Retry::Later => missing.push(service),
            Err(error) => return Err(error),
        }
    }
    // Whoever follows the audit uses the session.
    in_use::note(gateway, biscuit, &asker.peer, id);
    let Merged { items, cursor, end } = merge(pages, cursor, usize::try_from(limit).unwrap_or(1));
    let cursor = cursor.to_string();
    Ok(Json(AuditListed {
        items,
        next_cursor: (!end).then(|| cursor.clone()),
        cursor,
        missing,
    })
    .into_response())
}

/// Answers `GET /api/v1/audit/verify`: checks a piece of one service's log, from a place that was checked before.
///
/// Shape: `{service, position, hash, checked, dropped, end, finding: {position, what}?, countersigned: {position, hash, at}?,
/// countersigned_error?}`; go on with `position` and `hash` until `end`, or until there is a finding.
pub(crate) async fn verify(
    gateway: &Gateway,
    parts: &mut Parts,
    asker: &Session,
    id: CorrelationId,
) -> Reply<Response> {
    let query = query_of(parts);
    let biscuit = asker.biscuit.as_str();
    let service = query.text("service").unwrap_or_default();
    let service = owners()
        .find(|owner| owner.name() == service)
        .ok_or_else(|| invalid("service is one that keeps a store"))?;
    let position = match query.text("position") {
        None => 0,
        Some(text) => text.parse().map_err(|_| invalid("position is no number"))?,
    };
    let hash = match query.text("hash") {
        None if position == 0 => Digest([0; 32]),
        None => return Err(invalid("hash belongs to position")),
        Some(text) => text.parse().map_err(|_| invalid("hash is no digest"))?,
    };
    parts.extensions.insert(Forwarded);
    let newest = countersigned(gateway, service, biscuit, id).await;
    let (countersigned, countersigned_error) = match newest {
        Ok(newest) => (newest, None),
        Err(error) => (None, Some(error.code.as_str().to_owned())),
    };
    let known = countersigned.as_ref().map(|newest| KnownHead {
        position: newest.head.position,
        hash: newest.head.hash,
    });
    let ask = AuditVerify {
        position,
        hash,
        limit: PIECE,
        known,
    };
    let piece: AuditVerified = ask_service(gateway, service, VERIFY_VERB, &ask, biscuit, id).await?;
    Ok(Json(AuditPiece {
        service,
        position: piece.position,
        hash: piece.hash,
        checked: piece.checked,
        dropped: piece.dropped,
        end: piece.end,
        finding: piece.finding,
        countersigned: countersigned.map(|newest| AuditVouched {
            position: newest.head.position,
            hash: newest.head.hash,
            at: newest.at,
        }),
        countersigned_error,
    })
    .into_response())
}

/// Asks signing for the newest head that it vouches for; one that it did not sign is worth nothing.
async fn countersigned(
    gateway: &Gateway,
    service: Service,
    biscuit: &str,
    id: CorrelationId,
) -> Reply<Option<Countersigned>> {
    let ask = NewestCountersigned { service };
    let verb = NewestCountersigned::VERB;
    let newest: NewestHead = ask_service(gateway, Service::Signing, verb, &ask, biscuit, id).await?;
    let Some(newest) = newest.countersigned else {
        return Ok(None);
    };
    let bytes = codec::encode(&newest.head)?;
    let keys = gateway.trust.keys_of(Service::Signing, newest.head.at);
    let holds = keys
        .iter()
        .any(|key| key.verify(Form::Countersign, &[&bytes], &newest.signature).is_ok());
    if holds && newest.head.service == service {
        Ok(Some(newest))
    } else {
        Err(WireError::new(
            Code::SignatureInvalid,
            "the countersigned head is not signed by signing",
        ))
    }
}

/// Lists the services that keep a store.
fn owners() -> impl Iterator<Item = Service> {
    Service::ALL.into_iter().filter(|service| service.has_store())
}

async fn ask_service<Q: Serialize, A: DeserializeOwned>(
    gateway: &Gateway,
    service: Service,
    verb: &str,
    ask: &Q,
    biscuit: &str,
    id: CorrelationId,
) -> Reply<A> {
    let narrowed = attenuate(biscuit, service, AUDIT_ASKS.need, gateway.clock.now(), HOP_LIFE_MS)
        .map_err(|_| WireError::new(Code::TokenInvalid, "the request's token is no token of this server"))?;
    let options = RequestOptions {
        biscuit: Some(narrowed),
        correlation: Some(id),
        timeout: Some(WITHIN),
    };
    let answer = gateway.backend.ask(service, verb, codec::encode(ask)?, options).await?;
    reply::decode(&answer)
}

fn invalid(what: &str) -> WireError {
    WireError::new(Code::InvalidField, what)
}

/// Reads a request's query.
struct Query(OperatorCall);

fn query_of(parts: &Parts) -> Query {
    Query(OperatorCall {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        body: Vec::new(),
        proof: None,
        peer: String::new(),
    })
}

impl Query {
    fn text(&self, name: &str) -> Option<String> {
        self.0.query(name).filter(|text| !text.is_empty())
    }

    fn bounded(&self, name: &str) -> Reply<Option<String>> {
        match self.text(name) {
            Some(text) if text.len() > MAX_FILTER => Err(invalid("a filter is longer than any text of a record")),
            text => Ok(text),
        }
    }

    fn instant(&self, name: &str) -> Reply<Option<Timestamp>> {
        let text = self.text(name);
        text.map(|text| text.parse().map_err(|_| invalid("from and to are RFC 3339 instants")))
            .transpose()
    }
}
