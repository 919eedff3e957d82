//! borealis-inventory.
