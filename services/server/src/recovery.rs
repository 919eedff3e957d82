//! `borealis-server recovery`: what the sealed roots are for, while the server is stopped.

use borealis_provision::{Rotation, reseal, rotate};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use zeroize::Zeroizing;

use crate::args::{RecoveryAct, RecoveryArgs};
use crate::error::ServerError;
use crate::{process, screen, up};

/// Does what is asked with the roots of the recovery file.
///
/// Errors: a server runs on the root; the passphrase is wrong; the file is another deployment's.
pub fn run(args: &RecoveryArgs) -> Result<(), ServerError> {
    process::hide_memory();
    let paths = args.place.paths().map_err(ServerError::io("the root"))?;
    let _lock = up::lock(&paths)?;
    let passphrase = passphrase()?;
    let Some(what) = rotation(args) else {
        return Ok(reseal(&paths, &passphrase, &mut |fresh| {
            up::show_passphrase(
                "The recovery file is sealed anew; only this opens it from now on:",
                fresh,
            );
        })?);
    };
    let rotated = rotate(&paths, &passphrase, what, SystemClock.now())?;
    let set = &rotated.key_set;
    let done = match what {
        Rotation::KeySet => "The code-signing key is signed anew",
        Rotation::CodeSigning => "There is a new code-signing key",
        Rotation::IssuingCa => "There is a new issuing CA with new certificates",
        Rotation::Bus => "The keys of the bus are new",
        Rotation::Services => "The keys of the services and of the bus are new",
        Rotation::BiscuitRoot { stolen: false } => {
            "There is a new biscuit root; what the old one signed ends by itself"
        }
        Rotation::BiscuitRoot { stolen: true } => "There is a new biscuit root; operators have to log in again",
    };
    let lines = [
        done.to_owned(),
        format!("Code-signing key set {} is good until {}", set.version, set.expires_at),
        "Start the server again: devices hear of it by themselves".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    screen::tell(
        &serde_json::json!({"key_set_version": set.version, "key_set_expires_at": set.expires_at}),
        &lines,
    );
    Ok(())
}

fn rotation(args: &RecoveryArgs) -> Option<Rotation> {
    Some(match args.act {
        RecoveryAct::RenewKeySet => Rotation::KeySet,
        RecoveryAct::RotateCodeSigning => Rotation::CodeSigning,
        RecoveryAct::RotateIssuingCa => Rotation::IssuingCa,
        RecoveryAct::RotateBus => Rotation::Bus,
        RecoveryAct::RotateServices => Rotation::Services,
        RecoveryAct::RotateBiscuitRoot => Rotation::BiscuitRoot { stolen: args.stolen },
        RecoveryAct::Reseal => return None,
    })
}

/// Reads the passphrase; it never stands in the arguments, which others can read.
fn passphrase() -> Result<Zeroizing<String>, ServerError> {
    let mut passphrase = Zeroizing::new(String::with_capacity(128));
    std::io::stdin()
        .read_line(&mut passphrase)
        .map_err(ServerError::io("reading the passphrase"))?;
    Ok(passphrase)
}
