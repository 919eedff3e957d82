//! The session's cookie: only this origin's, only over TLS, never for scripts, never for other sites.

use borealis_bus_schema::ids::DeploymentId;

/// Names and makes the cookie of one deployment.
///
/// Shape: `__Host-borealis-<first 8 hex digits of the deployment's id>`, so that two servers on one host name keep apart.
#[derive(Debug, Clone)]
pub(crate) struct SessionCookie {
    name: String,
}

/// Is the longest cookie value that is taken.
const MAX_VALUE_BYTES: usize = 8 << 10;

impl SessionCookie {
    pub(crate) fn of(deployment: &DeploymentId) -> Self {
        let id: String = deployment.to_string().chars().take(8).collect();
        Self {
            name: format!("__Host-borealis-{id}"),
        }
    }

    /// Finds the biscuit among the cookies of a request.
    pub(crate) fn find<'h>(&self, header: &'h str) -> Option<&'h str> {
        header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.name)
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    }

    /// Makes the header that sets it; `None` for a value that no cookie can carry.
    pub(crate) fn set(&self, biscuit: &str, max_age_s: i64) -> Option<String> {
        let fits = biscuit.len() <= MAX_VALUE_BYTES
            && biscuit
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=' | b'.'));
        fits.then(|| self.header(biscuit, max_age_s.max(0)))
    }

    /// Makes the header that removes it.
    pub(crate) fn clear(&self) -> String {
        self.header("", 0)
    }

    fn header(&self, value: &str, max_age_s: i64) -> String {
        format!(
            "{}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={max_age_s}",
            self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie() -> SessionCookie {
        SessionCookie::of(&DeploymentId::from_bytes([0xab; 16]))
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(cookie().find("a=b; __Host-borealis-abababab=tok=; c=d"), Some("tok="));
        assert_eq!(cookie().find("__Host-borealis-00000000=x"), None);
        assert_eq!(cookie().find("__Host-borealis-abababab="), None);
        assert_eq!(cookie().find(""), None);
    }

    #[test]
    fn the_cookie_is_strict_and_of_this_host_only() {
        let header = cookie().set("abc-_=", 60).unwrap();
        assert_eq!(
            header,
            "__Host-borealis-abababab=abc-_=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60"
        );
        assert!(cookie().clear().contains("Max-Age=0"));
        assert_eq!(cookie().set("a;b", 60), None);
        assert_eq!(cookie().set(&"a".repeat(9_000), 60), None);
    }
}
