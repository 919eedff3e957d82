//! borealis-service-kit.
