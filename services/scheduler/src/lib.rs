//! borealis-scheduler.
