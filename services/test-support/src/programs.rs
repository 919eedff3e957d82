//! Finds the programs that tests start.

use std::path::PathBuf;

use crate::TestError;

/// Returns a program of this workspace that was built beside the test.
///
/// Errors: it was not built; names the command that does it.
pub fn built(name: &str) -> Result<PathBuf, TestError> {
    let own = std::env::current_exe().map_err(|error| TestError::of("this test's program", &error))?;
    // target/<profile>/deps/<test>: the programs stand one folder up.
    let folder = own.ancestors().find(|folder| folder.join(name).is_file());
    folder.map(|folder| folder.join(name)).ok_or_else(|| {
        TestError(format!(
            "{name} is not built: run `cargo build --bin {name}` with the same profile"
        ))
    })
}

/// Returns the folder of fetched programs: `BOREALIS_DEPENDENCIES`, else that of the checkout.
pub fn dependencies() -> PathBuf {
    std::env::var_os("BOREALIS_DEPENDENCIES")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Dependencies")))
}
