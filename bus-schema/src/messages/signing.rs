//! What signing is asked: orders that a grant and a signed request cover.

use serde::{Deserialize, Serialize};

use super::Request;
use crate::operator::OperatorCall;
use crate::order::{Order, SignedOrder};
use crate::subjects::Service;

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
