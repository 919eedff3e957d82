//! What operators see: computed from the state when asked, kept nowhere.

pub mod approvals;
pub mod codes;
pub mod devices;
