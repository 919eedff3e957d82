//! borealis-bus-schema.
