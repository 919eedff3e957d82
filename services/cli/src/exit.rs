//! The exit codes that scripts rely on.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::{FinalLine, RunState};

/// Says that everything succeeded.
pub const OK: u8 = 0;
/// Says that the command line cannot be understood.
pub const USAGE: u8 = 64;
/// Says that the server, or the service behind it, does not answer.
pub const UNREACHABLE: u8 = 69;
/// Says that something failed that has no code of its own.
pub const FAILED: u8 = 70;
/// Says that the caller may not do this.
pub const NOT_PERMITTED: u8 = 77;
/// Says that a device or the signer would not do it.
pub const REFUSED: u8 = 120;
/// Says that a device did not come in time.
pub const EXPIRED: u8 = 121;
/// Says that an operator ended it.
pub const CANCELLED: u8 = 122;
/// Says that a device died while it ran.
pub const INTERRUPTED: u8 = 123;
/// Says that its time was over.
pub const TIMED_OUT: u8 = 124;

/// Returns the exit code of one run: a failed script's own code, else that of the state.
///
/// A script that was ended by a signal has no code of its own and counts as 70; one beyond 255 counts as 255.
pub fn of_run(line: &FinalLine) -> u8 {
    of_end(line.state, line.exit_code)
}

/// Returns the exit code of runs that ended in a state with a code; see [`of_run`].
pub fn of_end(state: RunState, exit_code: Option<i32>) -> u8 {
    match state {
        RunState::Succeeded => OK,
        RunState::Failed => match exit_code {
            None | Some(0) => FAILED,
            Some(code) => u8::try_from(code).unwrap_or(u8::MAX),
        },
        RunState::Refused => REFUSED,
        RunState::Expired => EXPIRED,
        RunState::Cancelled => CANCELLED,
        RunState::Interrupted => INTERRUPTED,
        RunState::TimedOut => TIMED_OUT,
        RunState::Queued | RunState::Delivered | RunState::Running => FAILED,
    }
}

/// Returns the exit code of an error that the server named.
pub fn of_code(code: Code) -> u8 {
    match code {
        Code::Unavailable | Code::ShuttingDown | Code::DeadlineExceeded | Code::BusUnusable => UNREACHABLE,
        Code::InvalidField | Code::FilterInvalid | Code::CronInvalid | Code::ScheduleNeverFires | Code::ZoneUnknown => {
            USAGE
        }
        Code::CodeInvalid | Code::CodeExpired | Code::CodeUsed | Code::CodeRevoked => FAILED,
        other if matches!(other.http_status(), 401 | 403) => NOT_PERMITTED,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::{Guid, JobId, RunId};

    fn line(state: RunState, exit_code: Option<i32>) -> FinalLine {
        FinalLine {
            is_final: true,
            job: JobId::from_bytes([1; 16]),
            run: RunId::from_bytes([2; 16]),
            guid: Guid::from_random([3; 16]),
            hostname: "h".into(),
            state,
            exit_code,
            stdout: None,
            stdout_base64: None,
            stderr: None,
            stderr_base64: None,
            duration_ms: None,
            truncated: false,
            reason: None,
            code: None,
        }
    }

    #[test]
    fn runs_end_with_the_codes_of_the_contract() {
        use RunState as S;
        let table = [
            (S::Succeeded, Some(0), 0),
            (S::Failed, Some(3), 3),
            (S::Failed, Some(255), 255),
            (S::Failed, Some(70_000), 255),
            (S::Failed, Some(-1), 255),
            (S::Failed, None, 70),
            (S::Refused, None, 120),
            (S::Expired, None, 121),
            (S::Cancelled, None, 122),
            (S::Interrupted, None, 123),
            (S::TimedOut, None, 124),
        ];
        for (state, code, expected) in table {
            assert_eq!(of_run(&line(state, code)), expected, "{state:?} {code:?}");
        }
    }

    #[test]
    fn errors_end_with_the_codes_of_the_contract() {
        let table = [
            (Code::Unavailable, 69),
            (Code::TokenMissing, 77),
            (Code::TokenExpired, 77),
            (Code::RightMissing, 77),
            (Code::OutOfScope, 77),
            (Code::LoginFailed, 77),
            (Code::SetupClosed, 77),
            (Code::SignatureInvalid, 77),
            (Code::InvalidField, 64),
            (Code::FilterInvalid, 64),
            (Code::CronInvalid, 64),
            (Code::ScheduleNeverFires, 64),
            (Code::ZoneUnknown, 64),
            (Code::NotFound, 70),
            (Code::Conflict, 70),
            (Code::Throttled, 70),
            (Code::Internal, 70),
        ];
        for (code, expected) in table {
            assert_eq!(of_code(code), expected, "{code}");
        }
    }
}
