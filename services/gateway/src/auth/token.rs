//! Where the biscuit stands: `Authorization: Bearer`, else the cookie.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::reply::WireError;
use http::{HeaderMap, header};

use super::cookie::SessionCookie;

/// Is the longest biscuit that is taken.
const MAX_TOKEN_BYTES: usize = 8 << 10;

/// Is a biscuit with the way it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token<'h> {
    /// A program sent it.
    Bearer(&'h str),
    /// A browser added it by itself.
    Cookie(&'h str),
}

impl<'h> Token<'h> {
    pub(crate) const fn biscuit(&self) -> &'h str {
        match self {
            Token::Bearer(text) | Token::Cookie(text) => text,
        }
    }
}

/// Finds the biscuit.
///
/// Errors: `token_missing` when there is none, `token_invalid` for what cannot be one.
pub(crate) fn find<'h>(headers: &'h HeaderMap, cookie: &SessionCookie) -> Result<Token<'h>, WireError> {
    let invalid = || WireError::new(Code::TokenInvalid, "the request's token is no token of this server");
    let mut bearers = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (bearers.next(), bearers.next()) {
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| invalid())?;
            let (scheme, token) = text.split_once(' ').ok_or_else(invalid)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(invalid());
            }
            Token::Bearer(token.trim())
        }
        (Some(_), Some(_)) => return Err(invalid()),
        (None, _) => {
            let cookies = headers.get_all(header::COOKIE).iter();
            let found = cookies
                .filter_map(|value| value.to_str().ok())
                .find_map(|text| cookie.find(text));
            Token::Cookie(found.ok_or_else(|| WireError::new(Code::TokenMissing, "no token came with the request"))?)
        }
    };
    let text = token.biscuit();
    let plausible = !text.is_empty()
        && text.len() <= MAX_TOKEN_BYTES
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'='));
    if plausible { Ok(token) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::DeploymentId;

    fn found(pairs: &[(&'static str, &str)]) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let cookie = SessionCookie::of(&DeploymentId::from_bytes([0xab; 16]));
        find(&headers, &cookie)
            .map(|token| format!("{token:?}"))
            .map_err(|error| error.code)
    }

    #[test]
    fn a_bearer_comes_before_the_cookie() {
        let cookie = ("cookie", "x=y; __Host-borealis-abababab=c");
        assert_eq!(
            found(&[("authorization", "Bearer b"), cookie]),
            Ok("Bearer(\"b\")".into())
        );
        assert_eq!(found(&[("authorization", "bearer b")]), Ok("Bearer(\"b\")".into()));
        assert_eq!(found(&[cookie]), Ok("Cookie(\"c\")".into()));
    }

    #[test]
    fn nothing_and_rubbish_have_different_codes() {
        assert_eq!(found(&[]), Err(Code::TokenMissing));
        assert_eq!(found(&[("cookie", "other=1")]), Err(Code::TokenMissing));
        for bad in [
            "Basic abc",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer brl1.key.biscuit",
            "Bearer ä",
        ] {
            assert_eq!(found(&[("authorization", bad)]), Err(Code::TokenInvalid), "{bad}");
        }
        let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(found(&two), Err(Code::TokenInvalid));
        let long = format!("Bearer {}", "a".repeat(9_000));
        assert_eq!(found(&[("authorization", &long)]), Err(Code::TokenInvalid));
    }
}
