//! borealis-gateway.
