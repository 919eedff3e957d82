//! borealis-library.
