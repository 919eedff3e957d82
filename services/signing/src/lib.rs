//! borealis-signing.
