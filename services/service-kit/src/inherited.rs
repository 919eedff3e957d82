//! The line to `up` that access inherits: whoever holds its other end may ask for the set-up secret and a first session.
//!
//! Shape: a Unix stream socket in the place of standard input, announced by `BOREALIS_BOOTSTRAP_FD=0`. It has no name, so
//! nobody but the parent can reach it; a program that is started by hand has none.

use std::{io, os::fd::AsFd, os::unix::net::UnixStream};

/// Is the environment variable that announces the line.
pub const VARIABLE: &str = "BOREALIS_BOOTSTRAP_FD";

/// Returns the line to `up`, non-blocking, ready for `tokio::net::UnixStream::from_std`; `None` without one.
///
/// Errors: the system's, when what is announced is not there.
pub fn line_to_parent() -> io::Result<Option<UnixStream>> {
    if std::env::var_os(VARIABLE).is_none_or(|number| number != "0") {
        return Ok(None);
    }
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    // Proves that it is a socket, before anyone relies on it.
    stream.peer_addr()?;
    Ok(Some(stream))
}
