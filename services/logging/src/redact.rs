//! The net below the rule that no credential is ever logged.

use std::borrow::Cow;

const MARK: &str = "[redacted]";

/// Replaces what looks like a credential: API tokens (`brl1.…`), installer codes (`BRL1-…`), bearer tokens, seeds of
/// bus keys, and what follows `#` in a link (the set-up secret).
///
/// Code must not log a credential in the first place; this catches a text that came from elsewhere.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let after_word = text
            .get(..at)
            .and_then(|before| before.chars().next_back())
            .is_some_and(is_word);
        if !after_word && let Some((keep, drop)) = credential(rest) {
            let out = out.get_or_insert_with(String::new);
            out.push_str(text.get(copied..at + keep).unwrap_or_default());
            out.push_str(MARK);
            at += keep + drop;
            copied = at;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(text.get(copied..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

/// Returns how many bytes to keep and how many to replace, when `rest` begins with a credential.
fn credential(rest: &str) -> Option<(usize, usize)> {
    const PREFIXES: [&str; 3] = ["brl1.", "BRL1-", "Bearer "];
    for prefix in PREFIXES {
        if let Some(tail) = rest.strip_prefix(prefix) {
            let secret = run(tail, |c| is_word(c) || matches!(c, '.' | '-' | '=' | '+' | '/'));
            return (secret >= 8).then_some((prefix.len(), secret));
        }
    }
    if rest.starts_with("https://") {
        let link = run(rest, |c| {
            !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | '<' | '>')
        });
        let hash = rest.get(..link)?.find('#')?;
        return Some((hash + 1, link - hash - 1));
    }
    let seed = rest.starts_with('S') && run(rest, |c| c.is_ascii_uppercase() || matches!(c, '2'..='7')) == 58;
    seed.then_some((0, 58))
}

fn run(text: &str, accept: impl Fn(char) -> bool) -> usize {
    text.find(|c| !accept(c)).unwrap_or(text.len())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn leaves_plain_text_alone() {
        let text = "device 7f… enrolled at https://host:5000/devices; BRL1- is a prefix, brl1. too";
        assert_eq!(redact(text), text);
    }

    #[test]
    fn replaces_tokens_codes_links_and_seeds() {
        assert_eq!(redact("t=brl1.c2Vzc2lvbg.EoQBCh-_=="), "t=brl1.[redacted]");
        assert_eq!(redact("code BRL1-ABCDEFGH234567 used"), "code BRL1-[redacted] used");
        assert_eq!(
            redact("Authorization: Bearer abc.def-ghi_jkl"),
            "Authorization: Bearer [redacted]"
        );
        assert_eq!(
            redact(r#"{"link":"https://h:5000/setup#s3cret"}"#),
            r##"{"link":"https://h:5000/setup#[redacted]"}"##
        );
        let seed = format!("SU{}", "A".repeat(56));
        assert_eq!(redact(&format!("<{seed}>")), "<[redacted]>");
    }

    #[test]
    fn several_in_one_line() {
        assert_eq!(
            redact("ä brl1.aaaaaaaaaa ö BRL1-BBBBBBBBBB ü"),
            "ä brl1.[redacted] ö BRL1-[redacted] ü"
        );
    }
}
