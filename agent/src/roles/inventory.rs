//! The role `inventory`: what this device is.

mod linux;

use super::{Action, Hands, Role, RoleEvent};
use crate::clock;
use borealis_bus_schema::codec;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::inventory::Facts;

/// Is the largest size of facts, in bytes: below what a device may send in one message.
const MAX_FACTS_BYTES: usize = 200 << 10;

/// Gathers facts.
#[derive(Debug, Clone, Copy)]
pub struct InventoryRole {
    guid: Guid,
}

impl InventoryRole {
    /// Makes the role of a device.
    pub const fn new(guid: Guid) -> Self {
        Self { guid }
    }
}

impl Role for InventoryRole {
    fn name(&self) -> &'static str {
        "inventory"
    }
    fn verbs(&self) -> &'static [&'static str] {
        &[]
    }
    fn handle(&self, action: Action, hands: &Hands) {
        if !matches!(action, Action::Gather) {
            return;
        }
        let (guid, hands) = (self.guid, hands.clone());
        tokio::task::spawn_blocking(move || hands.tell(RoleEvent::Facts(Box::new(gather(guid)))));
    }
}

/// Gathers everything; what cannot be read stays empty.
pub fn gather(guid: Guid) -> Facts {
    let mut facts = Facts {
        guid,
        at: clock::wall(),
        summary: linux::summary(),
        cpu: linux::cpu(),
        memory: linux::memory(),
        storage: linux::storage(),
        network: linux::network(),
        os: linux::os(),
        software: linux::software(),
    };
    // Few machines have so many packages; the rest of the facts matters more.
    while codec::encode(&facts).map_or(usize::MAX, |bytes| bytes.len()) > MAX_FACTS_BYTES && !facts.software.is_empty()
    {
        let half = facts.software.len() / 2;
        facts.software.truncate(half);
    }
    facts
}

/// Makes the small facts of a simulated device.
pub fn small(guid: Guid, hostname: &str) -> Facts {
    let mut facts = Facts {
        guid,
        at: clock::wall(),
        summary: linux::summary(),
        cpu: linux::cpu(),
        memory: linux::memory(),
        storage: Vec::new(),
        network: Vec::new(),
        os: linux::os(),
        software: Vec::new(),
    };
    hostname.clone_into(&mut facts.summary.hostname);
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_this_machine_then_the_main_facts_are_there_and_fit_a_message() {
        let facts = gather(Guid::from_random([1; 16]));
        assert!(!facts.summary.hostname.is_empty() && facts.summary.uptime_ms > 0);
        assert!(facts.cpu.logical > 0 && facts.memory.total_bytes > 1 << 20);
        assert_eq!(facts.os.family, "linux");
        assert!(!facts.os.kernel.is_empty() && !facts.storage.is_empty() && !facts.network.is_empty());
        assert!(codec::encode(&facts).unwrap().len() <= MAX_FACTS_BYTES);
    }
}
