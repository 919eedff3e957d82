//! The subjects of the bus: built here, parsed here, nowhere else.
//!
//! | subject | direction |
//! | --- | --- |
//! | `borealis.v1.device.<guid>.do.<role>.<verb>` | server to device, request/reply; the body is a signed order |
//! | `borealis.v1.device.<guid>.tell.<role>.<verb>` | device to server |
//! | `borealis.v1.service.<service>.<verb>` | request/reply to a service |
//! | `borealis.v1.event.<service>.head` | the service's signed head |
//! | `borealis.v1.event.<service>.<aggregate>.<past>` | a committed event, for live views |
//! | `_INBOX_<owner>.>` | private replies |

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{Guid, RoleName, VerbName};

/// Lists the services that have a name on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Operators, sessions, biscuits.
    Access,
    /// Installer codes, approvals, device identity, the bus's warden.
    Enrollment,
    /// The code-signing keys.
    Signing,
    /// Jobs, runs, delivery.
    Scheduler,
    /// What devices are.
    Inventory,
    /// Scripts and their versions.
    Library,
    /// HTTPS and the web UI.
    Gateway,
}

impl Service {
    /// Lists every service in the order in which `up` starts them.
    pub const ALL: [Service; 7] = [
        Service::Access,
        Service::Enrollment,
        Service::Signing,
        Service::Library,
        Service::Inventory,
        Service::Scheduler,
        Service::Gateway,
    ];

    /// Returns the service's name, which is also its sub-command, folder and log file.
    pub const fn name(self) -> &'static str {
        match self {
            Service::Access => "access",
            Service::Enrollment => "enrollment",
            Service::Signing => "signing",
            Service::Scheduler => "scheduler",
            Service::Inventory => "inventory",
            Service::Library => "library",
            Service::Gateway => "gateway",
        }
    }

    /// Tells whether the service keeps an event store.
    pub const fn has_store(self) -> bool {
        !matches!(self, Service::Gateway)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Service {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        Self::ALL
            .into_iter()
            .find(|s| s.name() == text)
            .ok_or_else(|| SubjectError::new(text))
    }
}

/// Says that a text is none of the product's subjects.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{subject:?} is no subject of this product")]
pub struct SubjectError {
    /// The text, at most 128 characters of it.
    pub subject: String,
}

impl SubjectError {
    fn new(text: &str) -> Self {
        Self {
            subject: text.chars().take(128).collect(),
        }
    }
}

/// Names one subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An order for a device.
    DeviceDo {
        /// The device.
        guid: Guid,
        /// The role that acts.
        role: RoleName,
        /// What it does.
        verb: VerbName,
    },
    /// A word from a device.
    DeviceTell {
        /// The device, as the bus's permissions prove it.
        guid: Guid,
        /// The role that speaks.
        role: RoleName,
        /// What it tells.
        verb: VerbName,
    },
    /// A request to a service.
    Service {
        /// The service.
        service: Service,
        /// What it is asked.
        verb: VerbName,
    },
    /// A service's signed head.
    Head {
        /// The service.
        service: Service,
    },
    /// A committed event, for live views.
    Event {
        /// The service that committed it.
        service: Service,
        /// The kind of thing it happened to.
        aggregate: VerbName,
        /// What happened, in the past tense.
        past: VerbName,
    },
}

const ROOT: &str = "borealis.v1";

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::DeviceDo { guid, role, verb } => write!(f, "{ROOT}.device.{guid}.do.{role}.{verb}"),
            Subject::DeviceTell { guid, role, verb } => write!(f, "{ROOT}.device.{guid}.tell.{role}.{verb}"),
            Subject::Service { service, verb } => write!(f, "{ROOT}.service.{service}.{verb}"),
            Subject::Head { service } => write!(f, "{ROOT}.event.{service}.head"),
            Subject::Event {
                service,
                aggregate,
                past,
            } => write!(f, "{ROOT}.event.{service}.{aggregate}.{past}"),
        }
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let bad = || SubjectError::new(text);
        let rest = text
            .strip_prefix(ROOT)
            .and_then(|rest| rest.strip_prefix('.'))
            .ok_or_else(bad)?;
        let tokens: Vec<&str> = rest.split('.').collect();
        match tokens.as_slice() {
            ["device", guid, direction @ ("do" | "tell"), role, verb] => {
                let guid = guid.parse().map_err(|_| bad())?;
                let role = RoleName::new(role).map_err(|_| bad())?;
                let verb = VerbName::new(verb).map_err(|_| bad())?;
                Ok(if *direction == "do" {
                    Subject::DeviceDo { guid, role, verb }
                } else {
                    Subject::DeviceTell { guid, role, verb }
                })
            }
            ["service", service, verb] => Ok(Subject::Service {
                service: service.parse()?,
                verb: VerbName::new(verb).map_err(|_| bad())?,
            }),
            ["event", service, "head"] => Ok(Subject::Head {
                service: service.parse()?,
            }),
            ["event", service, aggregate, past] => Ok(Subject::Event {
                service: service.parse()?,
                aggregate: VerbName::new(aggregate).map_err(|_| bad())?,
                past: VerbName::new(past).map_err(|_| bad())?,
            }),
            _ => Err(bad()),
        }
    }
}

/// Builds what a subscriber or a permission line names: subjects with wildcards.
pub mod filter {
    use super::{Guid, ROOT, Service};

    /// Names everything a device is ordered.
    pub fn device_do(guid: &Guid) -> String {
        format!("{ROOT}.device.{guid}.do.>")
    }
    /// Names everything a device tells.
    pub fn device_tell(guid: &Guid) -> String {
        format!("{ROOT}.device.{guid}.tell.>")
    }
    /// Names every order to every device.
    pub fn all_devices_do() -> String {
        format!("{ROOT}.device.*.do.>")
    }
    /// Names one verb that all devices tell, of one role or of all (`*`).
    pub fn all_devices_tell(role: &str, verb: &str) -> String {
        format!("{ROOT}.device.*.tell.{role}.{verb}")
    }
    /// Names all requests to a service.
    pub fn service(service: Service) -> String {
        format!("{ROOT}.service.{service}.>")
    }
    /// Names a service's head and all its events.
    pub fn events_of(service: Service) -> String {
        format!("{ROOT}.event.{service}.>")
    }
    /// Names every head and event of every service.
    pub fn all_events() -> String {
        format!("{ROOT}.event.>")
    }
    /// Names the private replies of an owner: a GUID or a service.
    pub fn inbox(owner: &str) -> String {
        format!("{}.>", super::inbox_prefix(owner))
    }
}

/// Returns the prefix of an owner's private replies; the owner is a GUID or a service's name.
pub fn inbox_prefix(owner: &str) -> String {
    format!("_INBOX_{owner}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guid() -> Guid {
        Guid::from_random([7; 16])
    }

    #[test]
    fn every_subject_reads_back() {
        let (role, verb) = (RoleName::new("script").unwrap(), VerbName::new("run").unwrap());
        let all = [
            Subject::DeviceDo {
                guid: guid(),
                role: role.clone(),
                verb: verb.clone(),
            },
            Subject::DeviceTell {
                guid: guid(),
                role,
                verb: verb.clone(),
            },
            Subject::Service {
                service: Service::Scheduler,
                verb: verb.clone(),
            },
            Subject::Head {
                service: Service::Access,
            },
            Subject::Event {
                service: Service::Inventory,
                aggregate: VerbName::new("device").unwrap(),
                past: verb,
            },
        ];
        for subject in all {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for text in [
            "",
            "borealis.v1",
            "borealis.v2.service.access.login",
            "borealis.v1.service.nobody.login",
            "borealis.v1.device.*.do.script.run",
            "borealis.v1.device.07070707-0707-4707-8707-070707070707.do.script",
            "borealis.v1.device.07070707-0707-4707-8707-070707070707.did.script.run",
            "borealis.v1.event.access",
            "borealis.v1.service.access.a.b",
            "$SYS.REQ.SERVER.PING",
        ] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }
}
