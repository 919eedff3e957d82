//! The room that is left free on the disk of a store.
//!
//! A database that meets the end of its disk half-way through a write can only be opened anew. So what would add to the
//! disk is refused while it still has room for what is already under way: the log, its indexes and views, sled's own
//! clean-up. The check does not hold the room: something else may still fill the disk between it and the write, and then
//! the log fails as it does of any error.

use std::io;
use std::os::fd::AsFd;

/// Bytes that stay free on a disk: a group of 1 MiB, and a segment of 8 MiB, of each of the services that share it.
pub const RESERVE_BYTES: u64 = 64 << 20;

/// Says whether the file system that holds a file or folder has more free than the reserve.
///
/// **Errors**: [`io::ErrorKind::StorageFull`] when it has not, else what the system said.
pub fn check_room(on: impl AsFd, reserve_bytes: u64) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(on)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= reserve_bytes {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::StorageFull,
        format!("the disk has {free} bytes free, of which {reserve_bytes} are kept in reserve"),
    ))
}
