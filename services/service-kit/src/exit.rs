//! The exit codes of `borealis-server`, which its supervisor and other programs rely on.

/// Says that everything went well.
pub const OK: u8 = 0;

/// Says that the command line could not be understood.
pub const USAGE: u8 = 64;

/// Says that something failed that has no code of its own.
pub const FAILED: u8 = 70;

/// Says that the event store could not be read or written; a restart tries again.
pub const STORAGE: u8 = 74;

/// Says that another server runs on the same root.
pub const ROOT_IN_USE: u8 = 75;

/// Says that a port to listen on is taken.
pub const PORT_IN_USE: u8 = 76;

/// Says that nats-server is missing or not the pinned version.
pub const NATS_SERVER: u8 = 78;
