//! The control socket of a running service.
