//! `borealis token`: what programs may do in an operator's name.
//!
//! The key is made here and never leaves; access signs the biscuit and forgets it. A token is narrowed off-line by appending
//! a block to its biscuit, which can only take away.

use biscuit_auth::UnverifiedBiscuit;
use biscuit_auth::builder::{BlockBuilder, Term};
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{Guid, SessionId, SiteName};
use borealis_bus_schema::messages::access::{CreateToken, RightOnSites, SessionInfo, TokenView};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::narrowing::{DEVICE, RIGHT, SITE};
use borealis_bus_schema::operator::OperatorToken;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use clap::{Args, Subcommand};
use ed25519_dalek::SigningKey;
use rand::rngs::OsRng;
use serde::Serialize;

use super::people::rights as rights_text;
use crate::api::Api;
use crate::args::{ServerArgs, values};
use crate::clock;
use crate::error::CliError;
use crate::print::{self, Printer};
use crate::secret;

/// Lists what can be done with API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes an API token and prints it: it is shown once
    Create {
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// A right that it holds; may be repeated
        #[arg(long = "right", value_name = "RIGHT", required = true, value_parser = values::right)]
        rights: Vec<Right>,
        /// Site that its rights reach; may be repeated [default: those that yours reach]
        #[arg(long = "site", value_name = "SITE", value_parser = values::site)]
        sites: Vec<SiteName>,
        /// GUID of a device that it is for; may be repeated [default: all of its sites]
        #[arg(long = "device", value_name = "GUID")]
        devices: Vec<Guid>,
        /// How long it lives, at most a year: 12h, 90d
        #[arg(long, value_name = "TIME", value_parser = values::duration_ms)]
        expires: u64,
    },
    /// Lists your API tokens; everybody's with the right users.read
    List,
    /// Revokes an API token: your own, or another's with the right users.manage
    Revoke {
        /// Id of the token
        #[arg(value_name = "ID")]
        id: SessionId,
    },
    /// Prints a narrower copy of the token in BOREALIS_TOKEN, or of --token @FILE, without asking the server
    Attenuate(NarrowArgs),
    /// Shows what the token in BOREALIS_TOKEN, or in --token @FILE, says, without asking the server
    Inspect,
}

/// Says what stays of a token; at least one thing has to be named.
#[derive(Debug, Clone, Default, Args)]
#[group(required = true, multiple = true)]
pub struct NarrowArgs {
    /// A right that stays; may be repeated
    #[arg(long = "right", value_name = "RIGHT", value_parser = values::right)]
    pub rights: Vec<Right>,
    /// A site that stays; may be repeated
    #[arg(long = "site", value_name = "SITE", value_parser = values::site)]
    pub sites: Vec<SiteName>,
    /// GUID of a device that stays; may be repeated
    #[arg(long = "device", value_name = "GUID")]
    pub devices: Vec<Guid>,
    /// When it ends, counted from now: 1h, 7d
    #[arg(long, value_name = "TIME", value_parser = values::duration_ms)]
    pub expires: Option<u64>,
}

const PATH: &str = "/api/v1/tokens";

/// Makes, lists or revokes.
pub async fn run(api: &Api, printer: &Printer, command: TokenCommand) -> Result<(), CliError> {
    match command {
        TokenCommand::Create {
            name,
            rights,
            sites,
            devices,
            expires,
        } => {
            let info: SessionInfo = api.get("/api/v1/session").await?;
            let named: Vec<String> = sites.iter().map(ToString::to_string).collect();
            let line = |right: &borealis_bus_schema::routes::Right| RightOnSites {
                right: right.as_str().to_owned(),
                sites: if named.is_empty() {
                    own_sites(&info, right.as_str())
                } else {
                    named.clone()
                },
                max_devices: None,
            };
            let key = SigningKey::generate(&mut OsRng);
            let body = CreateToken {
                name,
                public_key: PublicKey::of(&key),
                rights: rights.iter().map(line).collect(),
                devices: (!devices.is_empty()).then_some(devices),
                lifetime_ms: expires,
            };
            let mut made: TokenView = api.change(PATH, &body).await?;
            let biscuit = made
                .biscuit
                .take()
                .ok_or_else(|| CliError::Answer("it holds no biscuit".to_owned()))?;
            let made = Made {
                token: OperatorToken { key, biscuit }.reveal(),
                view: made,
            };
            printer.value(&made, || made.token.clone())
        }
        TokenCommand::List => {
            let page: Page<TokenView> = api.get(PATH).await?;
            let head = ["ID", "NAME", "OF", "STATE", "ENDS", "RIGHTS", "DEVICES"];
            printer.list(&page.items, "No API tokens.", &head, |token| {
                vec![
                    token.id.to_string(),
                    token.name.clone(),
                    token.username.clone(),
                    token.state.clone(),
                    token.expires_at.to_string(),
                    rights_text(&token.rights),
                    token
                        .devices
                        .as_ref()
                        .map_or_else(|| "all".to_owned(), |some| some.len().to_string()),
                ]
            })
        }
        TokenCommand::Revoke { id } => {
            let path = format!("{PATH}/{id}/revoke");
            let token: TokenView = api.change(&path, &serde_json::json!({})).await?;
            printer.value(&token, || format!("The API token {id} is revoked."))
        }
        TokenCommand::Attenuate(_) | TokenCommand::Inspect => Ok(()),
    }
}

/// Is a token as it is shown once.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    view: TokenView,
    token: String,
}

fn own_sites(info: &SessionInfo, right: &str) -> Vec<String> {
    let lines: Vec<_> = info.reach.iter().filter(|line| line.right == right).collect();
    let sites = lines.iter().flat_map(|line| line.sites.clone()).collect();
    if lines.is_empty() { vec!["*".to_owned()] } else { sites }
}

/// Reads the token that the command line or the environment holds.
fn given(args: &ServerArgs) -> Result<OperatorToken, CliError> {
    let text = args.token.as_deref().ok_or(CliError::TokenMissing)?;
    Ok(secret::resolve(text)?.parse()?)
}

fn unreadable<E>(_: E) -> CliError {
    CliError::Usage("the token's biscuit cannot be read".to_owned())
}

/// Prints a narrower copy of a token.
pub fn attenuate(args: &ServerArgs, printer: &Printer, to: &NarrowArgs) -> Result<(), CliError> {
    let token = given(args)?;
    let narrowed = OperatorToken {
        biscuit: narrow(&token.biscuit, to, clock::now())?,
        ..token
    };
    #[derive(Serialize)]
    struct Narrowed {
        token: String,
    }
    let narrowed = Narrowed {
        token: narrowed.reveal(),
    };
    printer.value(&narrowed, || narrowed.token.clone())
}

/// Appends what takes everything away that is not named.
fn narrow(biscuit: &str, to: &NarrowArgs, now: Timestamp) -> Result<String, CliError> {
    let rights = to
        .rights
        .iter()
        .map(|right| format!("{RIGHT}(\"{}\");", right.as_str()));
    let sites = to.sites.iter().map(|site| format!("{SITE}(\"{site}\");"));
    let devices = to.devices.iter().map(|guid| format!("{DEVICE}(\"{guid}\");"));
    let end = to.expires.map(|life_ms| {
        let end = now.plus_ms(i64::try_from(life_ms).unwrap_or(i64::MAX));
        // Biscuits count whole seconds; rounded down, the copy never lives longer than asked.
        let seconds = end.unix_ms().div_euclid(1_000).saturating_mul(1_000);
        let date = Timestamp::from_unix_ms(seconds).to_string().replace(".000Z", "Z");
        format!("check if time($t), $t < {date};")
    });
    let source: String = rights.chain(sites).chain(devices).chain(end).collect();
    let block = BlockBuilder::new().code(&source).map_err(unreadable)?;
    let biscuit = UnverifiedBiscuit::from_base64(biscuit).map_err(unreadable)?;
    let narrowed = biscuit.append(block).map_err(unreadable)?;
    narrowed.to_base64().map_err(unreadable)
}

/// Is what a token says of itself; nothing here was verified.
#[derive(Debug, Serialize)]
struct Inspected {
    id: String,
    kind: &'static str,
    username: String,
    rights: Vec<RightOnSites>,
    key_fingerprint: String,
    narrowed_by: Vec<String>,
    revocation_ids: Vec<String>,
}

/// Shows what a token says.
pub fn inspect(args: &ServerArgs, printer: &Printer) -> Result<(), CliError> {
    let token = given(args)?;
    let said = read(&token)?;
    printer.value(&said, || {
        print::sheet(&[
            ("id", said.id.clone()),
            ("kind", said.kind.to_owned()),
            ("operator", said.username.clone()),
            ("key", said.key_fingerprint.clone()),
            ("rights", rights_text(&said.rights)),
            ("narrowed by", said.narrowed_by.join(" | ")),
            ("revocation", said.revocation_ids.join(", ")),
        ])
    })
}

fn read(token: &OperatorToken) -> Result<Inspected, CliError> {
    let biscuit = UnverifiedBiscuit::from_base64(&token.biscuit).map_err(unreadable)?;
    let mut sources = (0..biscuit.block_count())
        .map(|index| biscuit.print_block_source(index))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?
        .into_iter();
    let authority = BlockBuilder::new()
        .code(sources.next().unwrap_or_default())
        .map_err(unreadable)?;
    let texts = |name: &str| -> Vec<Vec<String>> {
        let facts = authority.facts.iter().filter(|fact| fact.predicate.name == name);
        let terms = facts.map(|fact| fact.predicate.terms.iter());
        terms
            .map(|terms| {
                terms
                    .filter_map(|term| match term {
                        Term::Str(text) => Some(text.clone()),
                        _ => None,
                    })
                    .collect()
            })
            .collect()
    };
    let one = |name: &str| texts(name).into_iter().flatten().next().unwrap_or_default();
    let mut rights: Vec<RightOnSites> = Vec::new();
    for pair in texts("right") {
        let [site, right] = <[String; 2]>::try_from(pair).map_err(unreadable)?;
        match rights.iter_mut().find(|line| line.right == right) {
            Some(line) => line.sites.push(site),
            None => rights.push(RightOnSites {
                right,
                sites: vec![site],
                max_devices: None,
            }),
        }
    }
    rights.sort_by(|one, other| one.right.cmp(&other.right));
    let devices = texts(DEVICE).into_iter().flatten();
    let own = devices.map(|guid| format!("{DEVICE}(\"{guid}\")"));
    let later = sources.map(|source| source.split_whitespace().collect::<Vec<_>>().join(" "));
    Ok(Inspected {
        id: one("session"),
        kind: if texts("token").is_empty() { "session" } else { "token" },
        username: one("username"),
        rights,
        key_fingerprint: hex::encode(borealis_bus_schema::forms::sha256(token.key.verifying_key().as_bytes())),
        narrowed_by: own.chain(later).collect(),
        revocation_ids: biscuit.revocation_identifiers().iter().map(hex::encode).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use biscuit_auth::{Biscuit, KeyPair};
    use borealis_bus_schema::routes::Right;

    fn token() -> OperatorToken {
        let source = "session(\"0a\"); token(\"0a\"); username(\"ada\"); right(\"oslo\", \"jobs.run\"); \
                      right(\"berlin\", \"jobs.run\"); right(\"*\", \"jobs.read\");";
        let biscuit = Biscuit::builder().code(source).unwrap().build(&KeyPair::new()).unwrap();
        OperatorToken {
            key: SigningKey::from_bytes(&[3; 32]),
            biscuit: biscuit.to_base64().unwrap(),
        }
    }

    #[test]
    fn what_a_token_says_is_shown_without_its_key() {
        let token = token();
        let said = read(&token).unwrap();
        assert_eq!(
            (said.kind, said.username.as_str(), said.id.as_str()),
            ("token", "ada", "0a")
        );
        assert_eq!(rights_text(&said.rights), "jobs.read, jobs.run@oslo+berlin");
        let text = serde_json::to_string(&said).unwrap();
        let (_, secret) = token
            .reveal()
            .split_once('.')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        let secret = secret.split('.').next().unwrap().to_owned();
        assert!(!text.contains(&secret) && !text.contains(&token.biscuit));
    }

    #[test]
    fn a_narrower_copy_says_so_and_keeps_the_key() {
        let token = token();
        let to = NarrowArgs {
            rights: vec![Right::JobsRead],
            sites: vec!["oslo".parse().unwrap()],
            devices: vec!["abababab-abab-4bab-abab-abababababab".parse().unwrap()],
            expires: Some(90_000),
        };
        let biscuit = narrow(&token.biscuit, &to, Timestamp::from_unix_ms(1_800_000_000_500)).unwrap();
        let copy = OperatorToken { biscuit, ..token };
        let said = read(&copy).unwrap();
        assert_eq!(said.narrowed_by.len(), 1);
        for part in [
            "only_right(\"jobs.read\")",
            "only_site(\"oslo\")",
            "only_device(\"abababab-abab-4bab-abab-abababababab\")",
            "2027-01-15T08:01:30Z",
        ] {
            assert!(said.narrowed_by[0].contains(part), "{part}: {:?}", said.narrowed_by);
        }
        assert_eq!(said.revocation_ids.len(), 2);
    }

    #[test]
    fn what_is_no_biscuit_is_named_and_not_repeated() {
        let token = OperatorToken {
            biscuit: "planted".into(),
            ..token()
        };
        let error = read(&token).unwrap_err().to_string();
        assert!(!error.contains("planted"));
        assert!(narrow("planted", &NarrowArgs::default(), Timestamp::from_unix_ms(0)).is_err());
    }
}
