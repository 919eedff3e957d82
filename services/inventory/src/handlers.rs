//! One file per verb: read the body, decide, write, answer.

pub mod devices_list;
pub mod devices_show;
pub mod facts;
