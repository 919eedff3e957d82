//! Numbers that whoever starts a test gives it.

use std::ffi::OsString;

use crate::TestError;

/// Reads a number from the environment; none where the variable is not set.
///
/// Errors: what is set is no number. A test that ran with another one than was asked for would prove nothing.
pub fn number_of(name: &str) -> Result<Option<u64>, TestError> {
    read(name, std::env::var_os(name))
}

fn read(name: &str, value: Option<OsString>) -> Result<Option<u64>, TestError> {
    let Some(value) = value else { return Ok(None) };
    let number = value.to_str().and_then(|text| text.parse().ok());
    let wrong = || {
        TestError(format!(
            "{name} is {value:?}, which is no number from 0 to {}",
            u64::MAX
        ))
    };
    number.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_an_error_that_names_it() {
        assert_eq!(read("N", None).unwrap(), None);
        assert_eq!(read("N", Some("41".into())).unwrap(), Some(41));
        for wrong in ["abc", "", "-1", " 1"] {
            let text = read("N", Some(wrong.into())).unwrap_err().to_string();
            assert!(text.starts_with(&format!("N is {wrong:?}")), "{text}");
        }
    }
}
