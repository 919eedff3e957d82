//! The core's rules, one by one: given, when, then.

mod desk;
mod orders;
mod restart;
mod running;
mod session;
mod simulation;
