//! Secrets never stand in argv: an option that takes one also takes `@FILE`, and has an environment variable.

use std::io::BufRead;
use std::path::PathBuf;

use borealis_bus_schema::factor::Factor;
use zeroize::Zeroizing;

use crate::args::FactorArgs;
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

/// Reads a password: the next line of stdin without its line end.
///
/// Errors: [`CliError::Usage`] when the line is empty, [`CliError::Stream`].
pub fn password(input: &mut dyn BufRead) -> Result<Zeroizing<String>, CliError> {
    line(input, "password")
}

/// Reads the code of an authenticator app: the next line of stdin.
///
/// Errors: as [`password`].
pub fn code(input: &mut dyn BufRead) -> Result<Zeroizing<String>, CliError> {
    line(input, "code")
}

fn line(input: &mut dyn BufRead, what: &'static str) -> Result<Zeroizing<String>, CliError> {
    let mut line = Zeroizing::new(String::new());
    input.read_line(&mut line).map_err(|source| CliError::Stream {
        what: "reading from stdin",
        source,
    })?;
    let text = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if text.is_empty() {
        return Err(CliError::Usage(format!("the {what} on stdin is empty")));
    }
    Ok(text)
}

/// Reads the code of the second factor from where the command line says, behind a password on stdin.
///
/// Errors: [`CliError::Usage`] for what is no code, those of [`resolve`] and of [`code`].
pub fn factor(args: &FactorArgs, input: &mut dyn BufRead) -> Result<Option<Factor>, CliError> {
    let digits = match (&args.totp, args.totp_stdin) {
        (Some(text), _) => Some(resolve(text)?),
        (None, true) => Some(code(input)?),
        (None, false) => None,
    };
    if let Some(digits) = digits {
        let factor = Factor::totp(&digits);
        return factor
            .map(Some)
            .ok_or_else(|| CliError::Usage("a code of an authenticator app has six digits".to_owned()));
    }
    let Some(text) = &args.recovery_code else {
        return Ok(None);
    };
    let factor = Factor::recovery(&resolve(text)?);
    factor
        .map(Some)
        .ok_or_else(|| CliError::Usage("a recovery code has four groups of four characters".to_owned()))
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

    #[test]
    fn a_code_comes_from_stdin_behind_the_password_or_from_a_file() {
        let mut input = "pw\n123 456\n".as_bytes();
        let on_stdin = FactorArgs {
            totp_stdin: true,
            ..FactorArgs::default()
        };
        password(&mut input).unwrap();
        assert!(factor(&on_stdin, &mut input).unwrap() == Factor::totp("123456"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code");
        std::fs::write(&path, "abcd-efgh-ijkl-mnop\n").unwrap();
        let in_file = FactorArgs {
            recovery_code: Some(format!("@{}", path.display())),
            ..FactorArgs::default()
        };
        let none = &mut "".as_bytes();
        assert!(factor(&in_file, none).unwrap() == Factor::recovery("ABCDEFGHIJKLMNOP"));
        assert!(factor(&FactorArgs::default(), none).unwrap().is_none());
        let wrong = FactorArgs {
            totp: Some("12".into()),
            ..FactorArgs::default()
        };
        assert!(matches!(factor(&wrong, none), Err(CliError::Usage(_))));
    }
}
