//! Which pages may talk to this server: its own, and no others.

use std::net::SocketAddr;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::reply::WireError;
use http::{HeaderMap, Method, header};

/// Is what every certificate of a server holds besides its public names.
const OWN: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Holds the exact origins of this server's page.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    /// Makes them from the public names and the address that is listened on.
    pub(crate) fn new(names: &[String], address: SocketAddr) -> Self {
        let mut hosts: Vec<String> = names.iter().map(String::as_str).chain(OWN).map(str::to_owned).collect();
        if !address.ip().is_unspecified() {
            hosts.push(address.ip().to_string());
        }
        let origins = hosts.iter().map(|host| {
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_lowercase()
            };
            match address.port() {
                443 => format!("https://{host}"),
                port => format!("https://{host}:{port}"),
            }
        });
        Self(origins.collect())
    }

    fn contains(&self, origin: &str) -> bool {
        self.0.iter().any(|own| own == origin)
    }

    /// Tells whether the request names one of them; `None` when it names none at all.
    fn named(&self, headers: &HeaderMap) -> Option<bool> {
        let mut values = headers.get_all(header::ORIGIN).iter();
        let first = values.next()?;
        let exact = first.to_str().is_ok_and(|origin| self.contains(origin));
        Some(exact && values.next().is_none())
    }

    /// Checks a request: a browser on another site's page may not change anything here.
    ///
    /// Errors: `wrong_origin`.
    pub(crate) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), WireError> {
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        if is_foreign(headers) || self.named(headers) == Some(false) {
            return Err(refused());
        }
        Ok(())
    }

    /// Checks an upgrade to a WebSocket, which browsers let every page ask for: the origin must be this server's own, or
    /// absent when a program proves itself by a token that no browser adds by itself.
    ///
    /// Errors: `wrong_origin`.
    pub(crate) fn check_upgrade(&self, headers: &HeaderMap) -> Result<(), WireError> {
        if is_foreign(headers) {
            return Err(refused());
        }
        match self.named(headers) {
            Some(true) => Ok(()),
            None if headers.contains_key(header::AUTHORIZATION) => Ok(()),
            _ => Err(refused()),
        }
    }
}

/// Tells whether the browser says that another site's page asks.
fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    site.is_some_and(|site| !matches!(site, b"same-origin" | b"none"))
}

fn refused() -> WireError {
    WireError::new(
        Code::WrongOrigin,
        "the request comes from another origin than this server's own page",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Origins {
        let names = ["localhost".to_owned(), "rmm.example.org".to_owned(), "::1".to_owned()];
        Origins::new(&names, "0.0.0.0:5000".parse().unwrap())
    }
    fn with(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const FOREIGN: [&str; 9] = [
        "null",
        "https://evil.example",
        "https://rmm.example.org",
        "https://rmm.example.org:5001",
        "http://rmm.example.org:5000",
        "https://sub.rmm.example.org:5000",
        "https://rmm.example.org:5000.evil.example",
        "https://evilrmm.example.org:5000",
        "https://0.0.0.0:5000",
    ];

    #[test]
    fn only_the_own_page_may_change_anything() {
        assert!(origins().check(&Method::POST, &with(&[])).is_ok());
        assert!(
            origins()
                .check(&Method::POST, &with(&[("origin", "https://localhost:5000")]))
                .is_ok()
        );
        assert!(
            origins()
                .check(&Method::POST, &with(&[("origin", "https://[::1]:5000")]))
                .is_ok()
        );
        for origin in FOREIGN {
            let error = origins()
                .check(&Method::POST, &with(&[("origin", origin)]))
                .unwrap_err();
            assert_eq!(error.code, Code::WrongOrigin, "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert!(
                origins()
                    .check(&Method::POST, &with(&[("sec-fetch-site", site)]))
                    .is_err()
            );
        }
        assert!(
            origins()
                .check(&Method::POST, &with(&[("sec-fetch-site", "same-origin")]))
                .is_ok()
        );
    }

    #[test]
    fn an_upgrade_needs_the_own_origin_or_a_bearer_without_one() {
        assert!(
            origins()
                .check_upgrade(&with(&[("origin", "https://localhost:5000")]))
                .is_ok()
        );
        assert!(origins().check_upgrade(&with(&[])).is_err());
        assert!(origins().check_upgrade(&with(&[("authorization", "Bearer x")])).is_ok());
        for origin in FOREIGN {
            let headers = with(&[("origin", origin), ("authorization", "Bearer x")]);
            assert!(origins().check_upgrade(&headers).is_err(), "{origin}");
        }
        let two = with(&[("origin", "https://localhost:5000"), ("origin", "https://evil.example")]);
        assert!(origins().check_upgrade(&two).is_err());
    }

    #[test]
    fn the_default_port_is_left_out() {
        let origins = Origins::new(&["H".to_owned()], "127.0.0.1:443".parse().unwrap());
        assert!(origins.contains("https://h") && origins.contains("https://127.0.0.1"));
    }
}
