//! Who may publish and subscribe what: allow lists only, derived from [`crate::subjects`].

use crate::ids::Guid;
use crate::subjects::{Service, Subject, filter};

/// Holds the allow lists that go into one bus user's JWT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects the user may publish to.
    pub publish: Vec<String>,
    /// Subjects the user may subscribe to.
    pub subscribe: Vec<String>,
    /// How often, and for how long in milliseconds, the user may answer on a reply subject it was given.
    pub responses: (i64, i64),
}

/// Is how long a device may take to answer on the reply subject of an order, in milliseconds.
pub const DEVICE_RESPONSE_MS: i64 = 30_000;

/// Is how long a service may take to answer a request, in milliseconds.
pub const SERVICE_RESPONSE_MS: i64 = 60_000;

/// Returns what a device may do: hear its own orders and replies, tell its own words, answer what it was asked.
pub fn device(guid: &Guid) -> Permissions {
    Permissions {
        publish: vec![filter::device_tell(guid)],
        subscribe: vec![filter::device_do(guid), filter::inbox(&guid.to_string())],
        responses: (1, DEVICE_RESPONSE_MS),
    }
}

/// Lists the words of devices that each service hears, as (role, verb); `*` stands for every role.
pub const fn tells_heard_by(service: Service) -> &'static [(&'static str, &'static str)] {
    match service {
        Service::Enrollment => &[("agent", "hello")],
        Service::Scheduler => &[("*", "result"), ("*", "output"), ("*", "state")],
        Service::Inventory => &[("inventory", "facts")],
        _ => &[],
    }
}

/// Lists the verbs of other services that each service asks, besides `events-read`.
pub const fn verbs_asked_by(service: Service) -> &'static [(Service, &'static str)] {
    match service {
        Service::Scheduler => &[
            (Service::Access, "grant-mint"),
            (Service::Access, "grant-revoke"),
            (Service::Signing, "orders-sign"),
            (Service::Library, "scripts-put"),
            (Service::Library, "scripts-get"),
            (Service::Library, "assemblies-get"),
        ],
        Service::Signing => &[(Service::Library, "scripts-get")],
        Service::Gateway => &[(Service::Access, "audit-note"), (Service::Signing, "countersigned")],
        _ => &[],
    }
}

/// Lists the services whose events each service follows.
pub const fn followed_by(service: Service) -> &'static [Service] {
    match service {
        Service::Access => &[],
        Service::Enrollment => &[Service::Access],
        Service::Signing => &[
            Service::Access,
            Service::Enrollment,
            Service::Library,
            Service::Inventory,
            Service::Scheduler,
        ],
        Service::Library => &[Service::Access],
        Service::Inventory => &[Service::Access, Service::Enrollment],
        Service::Scheduler => &[Service::Access, Service::Enrollment],
        Service::Gateway => &[],
    }
}

/// Returns what a service may do on the bus.
pub fn service(service: Service) -> Permissions {
    let mut publish = vec![filter::events_of(service)];
    let mut subscribe = vec![
        filter::service(service),
        filter::inbox(service.name()),
        "$SRV.>".to_owned(),
    ];
    for (other, verb) in verbs_asked_by(service) {
        publish.push(request(*other, verb));
    }
    for other in followed_by(service) {
        publish.push(request(*other, "events-read"));
        subscribe.push(Subject::Head { service: *other }.to_string());
    }
    for (role, verb) in tells_heard_by(service) {
        subscribe.push(filter::all_devices_tell(role, verb));
    }
    match service {
        Service::Scheduler => publish.push(filter::all_devices_do()),
        Service::Gateway => {
            publish.extend(Service::ALL.into_iter().filter(|s| s.has_store()).map(filter::service));
            publish.push("$SRV.>".to_owned());
            subscribe.push(filter::all_events());
        }
        _ => {}
    }
    publish.sort();
    subscribe.sort();
    Permissions {
        publish,
        subscribe,
        responses: (1, SERVICE_RESPONSE_MS),
    }
}

fn request(service: Service, verb: &str) -> String {
    let all = filter::service(service);
    format!("{}{verb}", all.trim_end_matches('>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_reaches_only_itself() {
        let guid = Guid::from_random([1; 16]);
        let may = device(&guid);
        let own = guid.to_string();
        assert!(
            may.publish
                .iter()
                .chain(&may.subscribe)
                .all(|subject| subject.contains(&own))
        );
    }

    #[test]
    fn nobody_is_allowed_everything() {
        for which in Service::ALL {
            let may = service(which);
            for subject in may.publish.iter().chain(&may.subscribe) {
                assert!(
                    !subject.starts_with('>') && !subject.starts_with('*') && !subject.starts_with("$SYS"),
                    "{which}: {subject}"
                );
            }
        }
    }

    #[test]
    fn only_the_scheduler_orders_devices() {
        for which in Service::ALL {
            let orders = service(which).publish.iter().any(|s| s.contains(".do."));
            assert_eq!(orders, which == Service::Scheduler, "{which}");
        }
    }
}
