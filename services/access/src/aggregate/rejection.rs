//! The rules that a command can break.

use borealis_bus_schema::routes::Right;

use super::{MAX_PAIRS, MAX_PASSKEY_NAME_CHARS, MAX_TEXT_CHARS};

/// States the rule that a command breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is an operator already.
    #[error("there is an operator already; the set-up link is closed")]
    SetupDone,
    /// The secret is not the current link's.
    #[error("the set-up link is not the current one")]
    SecretWrong,
    /// Whoever asks is no operator any more.
    #[error("the operator is disabled, or was deleted")]
    OperatorUnknown,
    /// There is no operator of this id.
    #[error("there is no such operator")]
    UserUnknown,
    /// The name is another operator's.
    #[error("an operator of this name exists")]
    UsernameTaken,
    /// An operator without a role could do nothing.
    #[error("an operator has at least one role")]
    NoRole,
    /// The operator is disabled, or is not.
    #[error("{0}")]
    WrongStatus(&'static str),
    /// Nobody gives, changes or takes away more than they hold.
    #[error("this takes rights that you do not hold yourself")]
    ExceedsOwnRights,
    /// Nobody would be left who may do everything.
    #[error("this is the last administrator who can log in")]
    LastAdministrator,
    /// The public key is that of another link.
    #[error("another link has this public key")]
    LinkKeyTaken,
    /// The link was used.
    #[error("the link was used; ask for another")]
    LinkUsed,
    /// The link's time is over.
    #[error("the link's time is over, or a newer one took its place")]
    LinkExpired,
    /// The link is another operator's.
    #[error("the link is for another user name")]
    LinkOfAnother,
    /// The password alone is not enough.
    #[error("a code of the second factor is needed besides the password")]
    FactorRequired,
    /// The code does not fit, or was used before.
    #[error("the code does not fit, or was used before")]
    FactorWrong,
    /// There is no app to confirm.
    #[error("there is no authenticator app to confirm; enrol it again, in the same session")]
    NothingOffered,
    /// The caller has no passkey of this id.
    #[error("there is no such passkey")]
    PasskeyMissing,
    /// There is no such passkey any more.
    #[error("there is no such passkey, or it is another operator's")]
    PasskeyUnknown,
    /// The counter of a passkey went back.
    #[error("the passkey's counter went back: there may be a copy of it; remove it and make another")]
    PasskeyCopied,
    /// A passkey has a name.
    #[error("a passkey's name has 1 to {MAX_PASSKEY_NAME_CHARS} characters")]
    PasskeyName,
    /// There is no such role.
    #[error("there is no such role")]
    RoleUnknown,
    /// There is no role of this id.
    #[error("there is no such role")]
    RoleMissing,
    /// The role exists.
    #[error("a role of this name exists")]
    RoleExists,
    /// The role is always what it is.
    #[error("the role administrator always holds every right")]
    RoleFixed,
    /// There is no such site.
    #[error("there is no such site")]
    SiteUnknown,
    /// There is no site of this id.
    #[error("there is no such site")]
    SiteMissing,
    /// The site exists.
    #[error("a site of this name exists")]
    SiteExists,
    /// There is no API token of this id, or it was over long ago.
    #[error("there is no such API token")]
    TokenMissing,
    /// A token that may do nothing is of no use.
    #[error("an API token holds at least one right, and names at least one device where it names any")]
    TokenEmpty,
    /// A token lives for a minute to a year.
    #[error("an API token lives for a minute at least and a year at most")]
    TokenLifetime,
    /// The rights would make a token that browsers do not keep.
    #[error("rights name at most {MAX_PAIRS} pairs of a right and a site; give a right on every site instead")]
    TooWide,
    /// A limit to the devices of jobs needs jobs.
    #[error("the role does not run jobs (jobs.run), so there is nothing to limit")]
    NothingToLimit,
    /// A text is longer than any that is kept.
    #[error("the text is longer than {MAX_TEXT_CHARS} characters")]
    TextTooLong,
    /// There is no session of this id, or it was over long ago.
    #[error("there is no such session")]
    SessionMissing,
    /// There is no such session, or it was over long ago.
    #[error("there is no such session")]
    SessionUnknown,
    /// The session was ended.
    #[error("the session was ended")]
    SessionEnded,
    /// The session's time is over.
    #[error("the session's time is over")]
    SessionExpired,
    /// A right is missing.
    #[error("the right {} is missing", .0.as_str())]
    RightMissing(Right),
    /// A grant must end in the future.
    #[error("the grant would end before it begins")]
    GrantEnded,
    /// A session of the first start lives for at least a second.
    #[error("the session would end before it begins")]
    LifetimeTooShort,
}
