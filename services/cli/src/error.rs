//! What can go wrong, in one enum with one mapping to code, sentence and exit code.

use std::{io, path::PathBuf};

use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::operator::TokenError;
use serde::Serialize;
use thiserror::Error;

use crate::exit;

/// Says why a command failed; holds no secret.
#[derive(Debug, Error)]
pub enum CliError {
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// No token is known.
    #[error("no token: log in first, or set BOREALIS_TOKEN")]
    TokenMissing,
    /// The token is no token.
    #[error("the token cannot be used")]
    Token(#[from] TokenError),
    /// The server does not answer, or not with a certificate of the given CA.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The server.
        url: String,
        /// What failed, from the outside in.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{message}")]
    Refused {
        /// The stable code as the server spelled it.
        code: String,
        /// What happened, in a sentence.
        message: String,
        /// Whether the same may be sent again.
        retry: Option<Retry>,
        /// The request's id in the server's log.
        request_id: Option<String>,
    },
    /// The server's answer is not what it should be.
    #[error("the server's answer cannot be read: {0}")]
    Answer(String),
    /// User name and password do not fit; told by this program itself.
    #[error("user name and password do not fit")]
    WrongPassword,
    /// The log-in takes a second factor, and none was given; told by this program itself.
    #[error("a code of the second factor is needed: --totp-stdin, --totp or --recovery-code")]
    FactorMissing,
    /// A file cannot be read or written.
    #[error("{} cannot be {did}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        did: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Stdout or stdin failed.
    #[error("{what} failed: {source}")]
    Stream {
        /// Which.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Is an error as it is printed with `--json`.
///
/// Shape: `{"error":{"code","message","retry","exit_code","request_id"}}`.
#[derive(Debug, Serialize)]
pub struct ErrorLine {
    error: ErrorBody,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    code: String,
    message: String,
    retry: Retry,
    exit_code: u8,
    request_id: Option<String>,
}

impl CliError {
    /// Reads the problem that the server answered (RFC 9457); what is missing is made up from the status.
    pub fn from_problem(status: u16, body: &[u8]) -> Self {
        #[derive(serde::Deserialize, Default)]
        struct Problem {
            code: Option<String>,
            detail: Option<String>,
            title: Option<String>,
            retry: Option<Retry>,
            request_id: Option<String>,
        }
        let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
        let code = problem.code.unwrap_or_else(|| {
            let code = match status {
                401 | 403 => Code::TokenInvalid,
                404 => Code::UnknownRoute,
                413 => Code::TooLarge,
                502..=504 => Code::Unavailable,
                _ => Code::Internal,
            };
            code.to_string()
        });
        let message = problem
            .detail
            .or(problem.title)
            .unwrap_or_else(|| format!("the server answered with status {status}"));
        CliError::Refused {
            code,
            message,
            retry: problem.retry,
            request_id: problem.request_id,
        }
    }

    /// Returns the stable code.
    pub fn code(&self) -> String {
        let code = match self {
            CliError::Refused { code, .. } => return code.clone(),
            CliError::Usage(_) => Code::InvalidField,
            CliError::TokenMissing => Code::TokenMissing,
            CliError::Token(_) => Code::TokenInvalid,
            CliError::Unreachable { .. } => Code::Unavailable,
            CliError::WrongPassword => Code::LoginFailed,
            CliError::FactorMissing => Code::FactorRequired,
            CliError::Answer(_) | CliError::File { .. } | CliError::Stream { .. } => Code::Internal,
        };
        code.to_string()
    }

    fn known_code(&self) -> Option<Code> {
        let code = self.code();
        Code::ALL.iter().copied().find(|c| c.as_str() == code)
    }

    /// Tells whether the same may be sent again.
    pub fn retry(&self) -> Retry {
        match self {
            CliError::Refused { retry: Some(retry), .. } => *retry,
            CliError::Usage(_) | CliError::File { .. } | CliError::Stream { .. } | CliError::Answer(_) => Retry::Never,
            _ => self.known_code().map_or(Retry::Never, Code::retry),
        }
    }

    /// Tells whether the server only fails for now: it, or a service behind it, starts anew.
    pub fn is_passing(&self) -> bool {
        match self {
            CliError::Unreachable { .. } => true,
            CliError::Refused { .. } => {
                self.retry() == Retry::Later && self.known_code().is_none_or(|code| code.http_status() >= 500)
            }
            _ => false,
        }
    }

    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => exit::USAGE,
            CliError::Unreachable { .. } => exit::UNREACHABLE,
            CliError::TokenMissing | CliError::FactorMissing | CliError::Token(_) | CliError::WrongPassword => {
                exit::NOT_PERMITTED
            }
            CliError::Refused { .. } => self.known_code().map_or(exit::FAILED, exit::of_code),
            CliError::Answer(_) | CliError::File { .. } | CliError::Stream { .. } => exit::FAILED,
        }
    }

    /// Returns the error as `--json` prints it.
    pub fn line(&self) -> ErrorLine {
        let request_id = match self {
            CliError::Refused { request_id, .. } => request_id.clone(),
            _ => None,
        };
        ErrorLine {
            error: ErrorBody {
                code: self.code(),
                message: self.to_string(),
                retry: self.retry(),
                exit_code: self.exit_code(),
                request_id,
            },
        }
    }

    /// Tells whether the reader of stdout went away, which is no error to speak of.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, CliError::Stream { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_code_sentence_and_exit_code() {
        let body = br#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"not yours","code":"out_of_scope","retry":"never","request_id":"r"}"#;
        let error = CliError::from_problem(403, body);
        let line = serde_json::to_value(error.line()).unwrap();
        assert_eq!(line["error"]["code"], "out_of_scope");
        assert_eq!(line["error"]["message"], "not yours");
        assert_eq!(line["error"]["exit_code"], 77);
        assert_eq!(line["error"]["request_id"], "r");
        assert!(!error.is_passing());
    }

    #[test]
    fn what_is_no_problem_still_gets_a_code() {
        for (status, code, exit) in [
            (502, "unavailable", 69),
            (404, "unknown_route", 70),
            (418, "internal", 70),
        ] {
            let error = CliError::from_problem(status, b"<html>");
            assert_eq!((error.code().as_str(), error.exit_code()), (code, exit));
        }
        assert!(CliError::from_problem(503, b"").is_passing());
    }

    #[test]
    fn throttling_is_not_waited_out() {
        let error = CliError::from_problem(429, br#"{"code":"throttled","retry":"later"}"#);
        assert!(!error.is_passing());
    }
}
