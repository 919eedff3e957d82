//! borealis.
