//! What signing is asked: orders that a grant and a signed request cover.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Request;
use crate::ids::Guid;
use crate::operator::OperatorCall;
use crate::order::{Order, SignedOrder};
use crate::subjects::Service;
use crate::time::Timestamp;

/// Asks for signatures over a batch of orders of one job.
///
/// signing verifies the grant's biscuit, the call's signature by the key that the grant binds, and that each order does
/// exactly what the call asks: targets, role, verb, language, script digest, arguments, environment, timeout, validity. The
/// key id in the orders is the one signing fills in; what the caller put there is ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignOrders {
    /// The grant's biscuit, base64url.
    pub grant: String,
    /// The operator's request, as it was signed.
    pub call: OperatorCall,
    /// At most 1,024 orders, without their body where the call already holds it.
    pub orders: Vec<Order>,
    /// Another operator's approval, where the job has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// How a schedule made the job; none for a job of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firing: Option<Firing>,
    /// The bytes of the assembly that the request names by their digest, where it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assembly: Option<serde_bytes::ByteBuf>,
}

/// Says how a schedule made a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firing {
    /// It was due; the call is its author's request for the schedule.
    Due(Timestamp),
    /// An operator let it run now; the call is that operator's and names schedule and digest of this.
    Now(Box<Author>),
}

/// Is the request for a schedule, with what shows that its author made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The request, as it was signed.
    pub call: OperatorCall,
    /// The author's grant, base64url.
    pub grant: String,
}

/// Is another operator's approval of a job, as signing verifies it for itself.
///
/// It counts for exactly the request and the devices whose digests its signed body names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The approver's grant, base64url.
    pub grant: String,
    /// The approver's request, as it was signed.
    pub call: OperatorCall,
    /// All devices of the job.
    ///
    /// Shape: 16 bytes each, in ascending order.
    #[serde(with = "serde_bytes")]
    pub devices: Vec<u8>,
}

impl Approval {
    /// Packs a job's devices.
    pub fn pack(devices: &BTreeSet<Guid>) -> Vec<u8> {
        devices.iter().flat_map(|guid| *guid.as_bytes()).collect()
    }

    /// Returns the job's devices; none for bytes that [`Approval::pack`] would not make.
    pub fn devices(&self) -> Option<BTreeSet<Guid>> {
        let (packed, []) = self.devices.as_chunks::<16>() else {
            return None;
        };
        // Every device's GUID is a version 4 one, which these bytes give back unchanged.
        let devices: BTreeSet<Guid> = packed.iter().map(|bytes| Guid::from_random(*bytes)).collect();
        (Self::pack(&devices) == self.devices).then_some(devices)
    }
}

/// Answers [`SignOrders`]; in the order of the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrdersSigned {
    /// The signed orders.
    pub orders: Vec<SignedOrder>,
}

impl Request for SignOrders {
    type Reply = OrdersSigned;
    const SERVICE: Service = Service::Signing;
    const VERB: &'static str = "orders-sign";
}
