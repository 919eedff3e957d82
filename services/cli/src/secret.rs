//! Secrets never stand in argv: an option that takes one also takes `@FILE`, and has an environment variable.

use std::io::BufRead;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::CliError;

/// Returns the text, or what stands in the file when it begins with `@`; white space around it is dropped.
///
/// Errors: [`CliError::File`].
pub fn resolve(text: &str) -> Result<Zeroizing<String>, CliError> {
    let Some(path) = text.strip_prefix('@') else {
        return Ok(Zeroizing::new(text.trim().to_owned()));
    };
    let path = PathBuf::from(path);
    let content = std::fs::read_to_string(&path)
        .map(Zeroizing::new)
        .map_err(|source| CliError::File {
            path,
            did: "read",
            source,
        })?;
    Ok(Zeroizing::new(content.trim().to_owned()))
}

/// Reads a password: the first line of stdin without its line end.
///
/// Errors: [`CliError::Usage`] when the line is empty, [`CliError::Stream`].
pub fn password(input: &mut dyn BufRead) -> Result<Zeroizing<String>, CliError> {
    let mut line = Zeroizing::new(String::new());
    input.read_line(&mut line).map_err(|source| CliError::Stream {
        what: "reading the password from stdin",
        source,
    })?;
    let password = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if password.is_empty() {
        return Err(CliError::Usage("the password on stdin is empty".to_owned()));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_at_sign_names_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "secret\n").unwrap();
        assert_eq!(*resolve(&format!("@{}", path.display())).unwrap(), "secret");
        assert_eq!(*resolve(" plain ").unwrap(), "plain");
        assert!(resolve("@/does/not/exist").is_err());
    }

    #[test]
    fn a_password_keeps_its_spaces_and_loses_its_line_end() {
        assert_eq!(*password(&mut " p w \r\nmore".as_bytes()).unwrap(), " p w ");
        assert!(password(&mut "\n".as_bytes()).is_err());
    }
}
