//! borealis-event-store.
