//! borealis-enrollment.
