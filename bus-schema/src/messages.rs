//! The bodies that travel: what services ask each other, what devices tell, what operators send and see.

use serde::{Serialize, de::DeserializeOwned};

use crate::subjects::Service;

pub mod access;
pub mod audit;
pub mod device;
pub mod enrollment;
pub mod events;
pub mod inventory;
pub mod library;
pub mod scheduler;
pub mod schedules;
pub mod shared_events;
pub mod signing;
pub mod waves;

/// Ties a request's body to its verb and its reply.
pub trait Request: Serialize + DeserializeOwned + Send {
    /// What is answered.
    type Reply: Serialize + DeserializeOwned + Send;
    /// The service that answers.
    const SERVICE: Service;
    /// The verb it is asked.
    const VERB: &'static str;
}
