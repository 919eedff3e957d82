//! The root folder of a program that was not told another.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Returns the folder under which an installed program keeps everything: its own, or the one above when its own is `bin`.
///
/// Errors: the program's own path cannot be read.
pub fn installed_root() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let root = root_of(&program).ok_or(io::ErrorKind::NotFound)?;
    Ok(root.to_owned())
}

fn root_of(program: &Path) -> Option<&Path> {
    let folder = program.parent()?;
    match folder.file_name() {
        Some(name) if name == "bin" => folder.parent().or(Some(folder)),
        _ => Some(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_programs_folder_or_the_one_above_bin() {
        for (program, root) in [
            ("/opt/borealis/bin/borealis-agent", "/opt/borealis"),
            ("/opt/borealis/borealis-agent", "/opt/borealis"),
            ("/srv/cabin/borealis-server", "/srv/cabin"),
            ("/bin/borealis-server", "/"),
        ] {
            assert_eq!(root_of(Path::new(program)), Some(Path::new(root)), "{program}");
        }
        assert_eq!(root_of(Path::new("/")), None);
    }
}
