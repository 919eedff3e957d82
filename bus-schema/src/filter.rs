//! A filter over devices: a short text that says which of them are meant.
//!
//! ```text
//! filter = all { "or" all }
//! all    = one { "and" one }
//! one    = "not" one | "(" filter ")" | "online" | "offline" | field test
//! field  = "hostname" | "site" | "tag" | "os" | "os_version" | "arch" | "context"
//! test   = ( "=" | "!=" ) value | "in" "(" value { "," value } ")"
//! value  = a word, or any text in double quotes with \" and \\ inside
//! ```
//!
//! A device has any number of tags: `tag = web` is true where one of them is `web`, `tag != web` where none is. Words are compared without regard to upper and lower case (of ASCII); `*` in a value stands for any characters, also for
//! none. `and` binds closer than `or`. A filter is a text of at most 2 KiB, nested at most 16 deep.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::ids::{SiteName, TagName};
use crate::order::Context;

/// Is how long a filter may be, in bytes.
pub const MAX_FILTER_BYTES: usize = 2_048;

const MAX_DEPTH: usize = 16;

/// Says why a text is no filter.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum FilterError {
    /// It is too long.
    #[error("a filter has at most {MAX_FILTER_BYTES} bytes")]
    TooLong,
    /// It nests too deep.
    #[error("a filter nests at most {MAX_DEPTH} deep")]
    TooDeep,
    /// Something else was expected at a place.
    #[error("at character {place} of the filter {expected} was expected, not {found}")]
    Expected {
        /// Counted from 1.
        place: usize,
        /// What was expected.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A quoted text does not end.
    #[error("the quoted text from character {place} of the filter on does not end")]
    Unended {
        /// Counted from 1.
        place: usize,
    },
}

/// Is what is known of a device when a filter judges it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'d> {
    /// The host's name.
    pub hostname: &'d str,
    /// Where it belongs.
    pub site: &'d SiteName,
    /// By which operators group it.
    pub tags: &'d BTreeSet<TagName>,
    /// The operating system.
    pub os: &'d str,
    /// Its version, for people.
    pub os_version: &'d str,
    /// The processor's architecture.
    pub arch: &'d str,
    /// With which rights the agent acts.
    pub context: Context,
    /// Whether it is on the bus.
    pub online: bool,
}

/// Names what a test looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Hostname,
    Site,
    Tag,
    Os,
    OsVersion,
    Arch,
    Context,
}

impl Field {
    const ALL: [(&'static str, Field); 7] = [
        ("hostname", Field::Hostname),
        ("site", Field::Site),
        ("tag", Field::Tag),
        ("os", Field::Os),
        ("os_version", Field::OsVersion),
        ("arch", Field::Arch),
        ("context", Field::Context),
    ];

    /// Tells whether one of the values fits, which are in lower case.
    fn is_one_of(self, values: &[String], facts: &Facts<'_>) -> bool {
        let one = |known: &str| {
            let known = known.to_ascii_lowercase();
            values.iter().any(|value| fits(value, &known))
        };
        one(match self {
            Field::Tag => return facts.tags.iter().any(|tag| one(tag.as_str())),
            Field::Hostname => facts.hostname,
            Field::Site => facts.site.as_str(),
            Field::Os => facts.os,
            Field::OsVersion => facts.os_version,
            Field::Arch => facts.arch,
            Field::Context => facts.context.as_str(),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Online,
    Test(Field, Vec<String>),
}

/// Is a filter that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Node);

impl Filter {
    /// Reads a filter.
    ///
    /// Errors: [`FilterError`] names the place.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_FILTER_BYTES {
            return Err(FilterError::TooLong);
        }
        let mut reader = Reader {
            tokens: tokens(text)?,
            next: 0,
            end: text.chars().count() + 1,
        };
        let node = reader.any(0)?;
        match reader.peek() {
            None => Ok(Self(node)),
            Some(_) => Err(reader.expected("\"and\", \"or\" or the end")),
        }
    }

    /// Tells whether a device is meant.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.0.matches(facts)
    }
}

impl Node {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        match self {
            Node::Any(nodes) => nodes.iter().any(|node| node.matches(facts)),
            Node::All(nodes) => nodes.iter().all(|node| node.matches(facts)),
            Node::Not(node) => !node.matches(facts),
            Node::Online => facts.online,
            Node::Test(field, values) => field.is_one_of(values, facts),
        }
    }
}

/// Tells whether a lower-case text fits a lower-case value in which `*` stands for any characters.
fn fits(value: &str, text: &str) -> bool {
    let Some((head, rest)) = value.split_once('*') else {
        return value == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let tail = pieces.pop().unwrap_or_default();
    // Each piece where it first occurs leaves the most room for those behind it.
    for piece in pieces {
        match text.split_once(piece) {
            Some((_, behind)) => text = behind,
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Open,
    Close,
    Comma,
    Equal,
    Unequal,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(text) | Token::Quoted(text) => {
                let short: String = text.chars().take(32).collect();
                write!(f, "{short:?}")
            }
            Token::Open => f.write_str("\"(\""),
            Token::Close => f.write_str("\")\""),
            Token::Comma => f.write_str("\",\""),
            Token::Equal => f.write_str("\"=\""),
            Token::Unequal => f.write_str("\"!=\""),
        }
    }
}

/// Splits a text into tokens, each with its place, counted in characters from 1.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut found = Vec::new();
    let mut chars = (1usize..).zip(text.chars()).peekable();
    while let Some((place, c)) = chars.next() {
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '=' => Token::Equal,
            '!' => match chars.next() {
                Some((_, '=')) => Token::Unequal,
                _ => {
                    return Err(FilterError::Expected {
                        place,
                        expected: "\"!=\" or \"not\"",
                        found: "\"!\"".to_owned(),
                    });
                }
            },
            '"' => {
                let mut quoted = String::new();
                loop {
                    match chars.next() {
                        Some((_, '"')) => break,
                        Some((_, '\\')) => quoted.extend(chars.next().map(|(_, c)| c)),
                        Some((_, c)) => quoted.push(c),
                        None => return Err(FilterError::Unended { place }),
                    }
                }
                Token::Quoted(quoted)
            }
            first => {
                let mut word = String::from(first);
                let goes_on = |c: &char| !c.is_whitespace() && !"(),=!\"".contains(*c);
                while let Some((_, c)) = chars.next_if(|(_, c)| goes_on(c)) {
                    word.push(c);
                }
                Token::Word(word)
            }
        };
        found.push((place, token));
    }
    Ok(found)
}

struct Reader {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn expected(&self, expected: &'static str) -> FilterError {
        let (place, found) = match self.tokens.get(self.next) {
            Some((place, token)) => (*place, token.to_string()),
            None => (self.end, "the end".to_owned()),
        };
        FilterError::Expected { place, expected, found }
    }

    fn takes(&mut self, token: &Token) -> bool {
        let is = self.peek() == Some(token);
        self.next += usize::from(is);
        is
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(is);
        is
    }

    fn any(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut nodes = vec![self.all(depth)?];
        while self.takes_word("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut nodes = vec![self.one(depth)?];
        while self.takes_word("and") {
            nodes.push(self.one(depth)?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn one(&mut self, depth: usize) -> Result<Node, FilterError> {
        if depth > MAX_DEPTH {
            return Err(FilterError::TooDeep);
        }
        if self.takes_word("not") {
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes_word("online") {
            return Ok(Node::Online);
        }
        if self.takes_word("offline") {
            return Ok(Node::Not(Box::new(Node::Online)));
        }
        if self.takes(&Token::Open) {
            let node = self.any(depth + 1)?;
            return if self.takes(&Token::Close) {
                Ok(node)
            } else {
                Err(self.expected("\")\""))
            };
        }
        let field = Field::ALL.into_iter().find(|(name, _)| self.takes_word(name));
        let Some((_, field)) = field else {
            return Err(
                self.expected("hostname, site, tag, os, os_version, arch, context, online, offline, \"not\" or \"(\"")
            );
        };
        if self.takes(&Token::Equal) {
            return Ok(Node::Test(field, vec![self.value()?]));
        }
        if self.takes(&Token::Unequal) {
            return Ok(Node::Not(Box::new(Node::Test(field, vec![self.value()?]))));
        }
        if !self.takes_word("in") {
            return Err(self.expected("\"=\", \"!=\" or \"in\""));
        }
        if !self.takes(&Token::Open) {
            return Err(self.expected("\"(\""));
        }
        let mut values = vec![self.value()?];
        while self.takes(&Token::Comma) {
            values.push(self.value()?);
        }
        if self.takes(&Token::Close) {
            Ok(Node::Test(field, values))
        } else {
            Err(self.expected("\",\" or \")\""))
        }
    }

    fn value(&mut self) -> Result<String, FilterError> {
        match self.peek() {
            Some(Token::Word(text) | Token::Quoted(text)) => {
                let value = text.to_ascii_lowercase();
                self.next += 1;
                Ok(value)
            }
            _ => Err(self.expected("a value")),
        }
    }
}

fn one_or(mut nodes: Vec<Node>, several: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        last => {
            nodes.extend(last);
            several(nodes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(filter: &str) -> bool {
        let site = SiteName::new("oslo").unwrap();
        let facts = Facts {
            hostname: "Web-17",
            site: &site,
            tags: &["web".parse().unwrap(), "front".parse().unwrap()].into(),
            os: "linux",
            os_version: "Debian GNU/Linux 12",
            arch: "x86_64",
            context: Context::System,
            online: true,
        };
        Filter::parse(filter).unwrap().matches(&facts)
    }

    #[test]
    fn a_filter_says_which_devices_are_meant() {
        for (filter, expected) in [
            ("online", true),
            ("offline", false),
            ("not offline", true),
            ("hostname = web-17", true),
            ("hostname=WEB-17", true),
            ("hostname = web-1", false),
            ("hostname = web-*", true),
            ("hostname = *-17", true),
            ("hostname = w*b*7", true),
            ("hostname = *eb*eb*", false),
            ("hostname = web-17*17", false),
            ("hostname = *", true),
            ("hostname != web-*", false),
            ("site in (bergen, oslo)", true),
            ("site in (bergen)", false),
            ("os = linux and arch = x86_64", true),
            ("os = windows or os = linux", true),
            ("os = windows or os = linux and arch = arm64", false),
            ("(os = windows or os = linux) and site = oslo", true),
            ("not (os = windows or offline)", true),
            ("os_version = \"debian gnu/linux 1*\"", true),
            ("os_version = \"a\\\"b\"", false),
            ("context = system", true),
            ("tag = web and tag = f*", true),
            ("tag = db", false),
            ("tag != web", false),
            ("tag != db", true),
            ("tag in (db, web)", true),
            ("NOT os = windows AND Online", true),
        ] {
            assert_eq!(meant(filter), expected, "{filter}");
        }
    }

    #[test]
    fn what_is_none_names_the_place() {
        for (filter, place, words) in [
            ("", 1, "the end"),
            ("os", 3, "\"=\", \"!=\" or \"in\""),
            ("os =", 5, "a value"),
            ("os = linux site = oslo", 12, "\"and\", \"or\""),
            ("colour = red", 1, "hostname, site, tag"),
            ("(online", 8, "\")\""),
            ("online)", 7, "\"and\", \"or\""),
            ("site in ()", 10, "a value"),
            ("site in (a b)", 12, "\",\" or \")\""),
            ("online and", 11, "hostname"),
            ("os ! linux", 4, "\"!=\""),
        ] {
            let error = Filter::parse(filter).unwrap_err();
            assert!(
                matches!(&error, FilterError::Expected { place: at, .. } if *at == place),
                "{filter}: {error}"
            );
            assert!(error.to_string().contains(words), "{filter}: {error}");
        }
        assert_eq!(Filter::parse("os = \"x"), Err(FilterError::Unended { place: 6 }));
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert_eq!(Filter::parse(&"x".repeat(2_049)), Err(FilterError::TooLong));
        let nested = |deep: usize| format!("{}online{}", "(".repeat(deep), ")".repeat(deep));
        assert!(Filter::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(Filter::parse(&nested(MAX_DEPTH + 1)), Err(FilterError::TooDeep));
        assert_eq!(
            Filter::parse(&("not ".repeat(200) + "online")),
            Err(FilterError::TooDeep)
        );
    }

    #[test]
    fn no_text_makes_it_panic_and_each_filter_is_for_a_device_or_against_it() {
        let pieces = [
            "online", "offline", "not", "and", "or", "(", ")", "os", "=", "!=", "in", ",", "\"", "\\", "linux", "*",
            "ø", "!", " ",
        ];
        let mut state = 1u64;
        let mut draw = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut read = 0;
        for _ in 0..20_000 {
            let text: Vec<&str> = (0..draw(9)).map(|_| pieces[draw(pieces.len())]).collect();
            let text = text.join(" ");
            if Filter::parse(&text).is_ok() {
                read += 1;
                assert_ne!(meant(&text), meant(&format!("not ({text})")), "{text}");
            }
        }
        assert!(read > 50, "{read}");
    }
}
