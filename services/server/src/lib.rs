//! borealis-server.
