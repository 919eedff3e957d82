//! borealis-access.
