//! The line to `up` that access inherits: whoever holds its other end may ask for the set-up secret and a first session.
//!
//! Shape: a Unix stream socket in the place of standard input, announced by `BOREALIS_BOOTSTRAP_FD=0`. It has no name, so
//! nobody but the parent can reach it; a program that is started by hand has none.
//!
//! One JSON object per line, both ways, one answer per question, in turn. `{"ask":"setup"}` asks for a [`SetupSecret`],
//! `{"ask":"bootstrap","session_public_key","lifetime_ms"}` for a [`BootstrapToken`]; [`Answer`] carries either, or the refusal.

use std::{io, os::fd::AsFd, os::unix::net::UnixStream};

use borealis_bus_schema::ids::SessionId;
use borealis_bus_schema::messages::access::BootstrapSession;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Is the environment variable that announces the line.
pub const VARIABLE: &str = "BOREALIS_BOOTSTRAP_FD";

/// Lists what `up` asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// The secret of the set-up link.
    Setup,
    /// A session of minutes for the first script.
    Bootstrap(BootstrapSession),
}

/// Is the secret of the set-up link; none once there is an operator.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct SetupSecret {
    /// The secret.
    pub secret: Option<String>,
}

/// Is a session for the first script.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct BootstrapToken {
    /// The biscuit.
    pub token: String,
    /// The session.
    #[zeroize(skip)]
    pub session_id: SessionId,
    /// When it ends.
    #[zeroize(skip)]
    pub expires_at: Timestamp,
}

/// Carries what was asked for, or why it is refused; neither can be read as the other.
///
/// Shape: `{"answer": …}` or `{"refusal": {code, message, retry}}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer<T> {
    Answer(T),
    Refusal(WireError),
}

/// Writes an answer as one line, with its end.
///
/// Errors: it cannot be written as JSON.
pub fn write_answer<T: Serialize>(reply: Reply<T>) -> serde_json::Result<Zeroizing<String>> {
    let answer = reply.map_or_else(Answer::Refusal, Answer::Answer);
    let mut line = Zeroizing::new(serde_json::to_string(&answer)?);
    line.push('\n');
    Ok(line)
}

/// Reads one line.
///
/// Errors: it is no answer to such a question.
pub fn read_answer<T: DeserializeOwned>(line: &str) -> serde_json::Result<Reply<T>> {
    Ok(match serde_json::from_str(line)? {
        Answer::Answer(answer) => Ok(answer),
        Answer::Refusal(refusal) => Err(refusal),
    })
}

/// Returns the line to `up`, non-blocking, ready for `tokio::net::UnixStream::from_std`; `None` without one.
///
/// Errors: the system's, when what is announced is not there.
pub fn line_to_parent() -> io::Result<Option<UnixStream>> {
    if std::env::var_os(VARIABLE).is_none_or(|number| number != "0") {
        return Ok(None);
    }
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    // Proves that it is a socket, before anyone relies on it.
    stream.peer_addr()?;
    Ok(Some(stream))
}

#[cfg(test)]
mod tests {
    use borealis_bus_schema::codes::Code;

    use super::*;

    #[test]
    fn a_refusal_is_never_read_as_an_answer_without_a_secret() {
        let refused = write_answer::<SetupSecret>(Err(WireError::new(Code::Internal, "no"))).unwrap();
        let read = read_answer::<SetupSecret>(&refused).unwrap();
        assert_eq!(read.err().map(|error| error.code), Some(Code::Internal));
        let none = write_answer(Ok(SetupSecret { secret: None })).unwrap();
        assert_eq!(none.as_str(), "{\"answer\":{\"secret\":null}}\n");
        assert!(
            read_answer::<SetupSecret>(&none)
                .unwrap()
                .is_ok_and(|answer| answer.secret.is_none())
        );
        for line in [
            "{}",
            "null",
            r#"{"secret":null}"#,
            r#"{"error":"internal","message":"no"}"#,
        ] {
            assert!(read_answer::<SetupSecret>(line).is_err(), "{line}");
        }
    }
}
