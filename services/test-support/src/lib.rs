//! borealis-test-support.
