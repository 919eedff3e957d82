//! Another operator's approval: what a second person signed for, read as narrowly as the author's request.
//!
//! The approver's own signed request names the job, the digest of the author's request and the digest of the devices. Nothing
//! of it is taken from whoever shows it: it is signed by the key that the approver's grant binds, and the grant was given for
//! exactly this request.

use std::collections::BTreeSet;

use borealis_bus_schema::codec;
use borealis_bus_schema::ids::{GrantId, Guid, JobId, OperatorId};
use borealis_bus_schema::messages::scheduler::{ApproveJob, devices_digest};
use borealis_bus_schema::messages::signing::Approval;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::routes;
use borealis_bus_schema::subjects::Service;

use crate::coverage::{Coverage, Granted, Refusal};

/// Is an approval that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// Who approved.
    pub approver: OperatorId,
    /// The approver's grant.
    pub grant: GrantId,
    /// The devices.
    pub devices: BTreeSet<Guid>,
    /// Their digest.
    pub digest: Digest,
}

impl Approved {
    /// Reads an approval of what a request covers; `granted` is what the approver's verified grant says.
    ///
    /// Errors: [`Refusal::OwnApproval`]; [`Refusal::Approval`] names what does not fit.
    pub fn read(
        approval: &Approval,
        granted: &Granted,
        coverage: &Coverage,
        author: &OperatorId,
    ) -> Result<Self, Refusal> {
        let not = |why| Refusal::Approval { why };
        let call = &approval.call;
        let proof = call.proof.as_ref().ok_or(not("carries no signature"))?;
        call.verify(proof, &granted.session_key)
            .map_err(|_| not("is not signed by the key that its grant binds"))?;
        if call.granted_digest(&proof.command) != granted.granted_digest {
            return Err(not("has a grant that was given for another request"));
        }
        let route = routes::of_verb(Service::Scheduler, "jobs-approve");
        let job = route
            .and_then(|route| route.matches(&call.method, &call.path))
            .flatten();
        let job: JobId = job.and_then(|job| job.parse().ok()).ok_or(not("approves nothing"))?;
        if job != coverage.job {
            return Err(not("is of another job"));
        }
        let approves: ApproveJob =
            codec::decode_json(&call.body, codec::MAX_JSON_BYTES).map_err(|_| not("cannot be read"))?;
        if approves.request != coverage.call {
            return Err(not("is of another request"));
        }
        let devices = approval
            .devices()
            .ok_or(not("comes with devices that cannot be read"))?;
        if approves.devices != devices_digest(&devices) {
            return Err(not("is of other devices"));
        }
        if granted.author == *author {
            return Err(Refusal::OwnApproval);
        }
        Ok(Self {
            approver: granted.author,
            grant: granted.grant,
            devices,
            digest: approves.devices,
        })
    }
}

#[cfg(test)]
mod tests;
