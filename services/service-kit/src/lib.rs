//! borealis-service-kit.

pub mod args;
pub mod exit;
pub mod paths;

pub mod keys;
pub mod nats_jwt;
pub mod trust;

pub mod confine;
