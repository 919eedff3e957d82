//! What the holder of a token may append to it: nothing that costs more to judge than to send.
//!
//! The library looks at the clock between the rules and checks of a run, not within one, so a single check that joins some
//! facts with themselves holds a thread for hours. Appended blocks may therefore hold facts, and checks that ask for one fact
//! at a time and compare plain values. There are no rules in them, no blocks signed by others, no sets, patterns or closures.
//! What access minted, the first block, is trusted.

use biscuit_auth::Biscuit;
use biscuit_auth::format::schema::op::Content as OpContent;
use biscuit_auth::format::schema::term::Content as TermContent;
use biscuit_auth::format::schema::{Block, Op, Predicate, Rule, Term, op_binary, op_unary};
use prost::Message as _;

/// Is how many queries the checks of all appended blocks may have together.
const MAX_QUERIES: usize = 256;
/// Is how many operations one query may have.
const MAX_OPERATIONS: usize = 64;
/// Is how long a word of a block may be, in bytes: each place that names it holds a copy when the token is judged.
const MAX_WORD_BYTES: usize = 256;
/// Is how many terms a fact may have.
const MAX_TERMS: usize = 4;

/// Refuses what is costly to judge.
///
/// Errors: what the token holds that is not taken.
pub(super) fn admit(biscuit: &Biscuit) -> Result<(), &'static str> {
    let mut queries = 0;
    for signed in biscuit.container().to_proto().blocks {
        if signed.external_signature.is_some() {
            return Err("a block that another party signed");
        }
        let block = Block::decode(signed.block.as_slice()).map_err(|_| "a block that cannot be read")?;
        if block.symbols.iter().any(|word| word.len() > MAX_WORD_BYTES) {
            return Err("a word that is too long");
        }
        if !block.rules.is_empty() {
            return Err("a rule");
        }
        let scoped = block.checks.iter().flat_map(|check| &check.queries);
        if !block.scope.is_empty() || scoped.clone().any(|query| !query.scope.is_empty()) {
            return Err("a scope");
        }
        if !block.facts.iter().all(|fact| is_plain(&fact.predicate)) {
            return Err("a fact with many terms, a set, an array or a map");
        }
        queries += scoped.clone().count();
        if queries > MAX_QUERIES {
            return Err("too many checks");
        }
        if !scoped.clone().all(is_cheap) {
            return Err("a check over more than one fact, or of more than plain values");
        }
    }
    Ok(())
}

fn is_cheap(query: &Rule) -> bool {
    let mut left = MAX_OPERATIONS;
    let mut expressions = query.expressions.iter();
    query.body.len() <= 1 && query.body.iter().all(is_plain) && expressions.all(|e| compare(&e.ops, &mut left))
}

fn is_plain(predicate: &Predicate) -> bool {
    predicate.terms.len() <= MAX_TERMS && predicate.terms.iter().all(is_value)
}

const fn is_value(term: &Term) -> bool {
    match &term.content {
        Some(
            TermContent::Variable(_)
            | TermContent::Integer(_)
            | TermContent::String(_)
            | TermContent::Date(_)
            | TermContent::Bytes(_)
            | TermContent::Bool(_)
            | TermContent::Null(_),
        ) => true,
        Some(TermContent::Set(_) | TermContent::Array(_) | TermContent::Map(_)) | None => false,
    }
}

/// Tells whether operations compare plain values, and are no more than are left; the second side of `&&` and `||` is a closure
/// without parameters.
fn compare(operations: &[Op], left: &mut usize) -> bool {
    operations.iter().all(|operation| {
        let Some(rest) = left.checked_sub(1) else { return false };
        *left = rest;
        match &operation.content {
            Some(OpContent::Closure(closure)) => closure.params.is_empty() && compare(&closure.ops, left),
            _ => compares(operation),
        }
    })
}

fn compares(operation: &Op) -> bool {
    use op_binary::Kind as Binary;
    use op_unary::Kind as Unary;
    match &operation.content {
        Some(OpContent::Value(term)) => is_value(term),
        Some(OpContent::Unary(unary)) => matches!(
            Unary::from_i32(unary.kind),
            Some(Unary::Negate | Unary::Parens | Unary::Length)
        ),
        Some(OpContent::Binary(binary)) => matches!(
            Binary::from_i32(binary.kind),
            Some(
                Binary::LessThan
                    | Binary::GreaterThan
                    | Binary::LessOrEqual
                    | Binary::GreaterOrEqual
                    | Binary::Equal
                    | Binary::NotEqual
                    | Binary::HeterogeneousEqual
                    | Binary::HeterogeneousNotEqual
                    | Binary::Prefix
                    | Binary::Suffix
                    | Binary::And
                    | Binary::Or
                    | Binary::LazyAnd
                    | Binary::LazyOr
            )
        ),
        Some(OpContent::Closure(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{RUN, World};
    use biscuit_auth::builder::BlockBuilder;
    use biscuit_auth::{KeyPair, UnverifiedBiscuit};
    use borealis_bus_schema::codes::Code;

    fn code(blocks: &[&str]) -> Option<Code> {
        let world = World::new();
        let mut token = world.session();
        for block in blocks {
            let block = BlockBuilder::new().code(block).unwrap();
            let open = UnverifiedBiscuit::from_base64(&token).unwrap();
            token = open.append(block).unwrap().to_base64().unwrap();
        }
        world.code(&token, RUN, None)
    }

    #[test]
    fn a_holder_may_compare_one_fact_at_a_time() {
        for block in [
            "check if action(\"jobs.run\");",
            "check if time($t), $t < 2100-01-01T00:00:00Z, $t > 2000-01-01T00:00:00Z;",
            "check if service($s), $s.starts_with(\"sched\") || $s == \"x\";",
            "check if service($s), !($s == \"x\" && $s != \"y\");",
            "check if action(\"jobs.read\") or action(\"jobs.run\");",
            "check all right($s, $r), $s.length() > 0;",
            "only_right(\"jobs.run\");",
        ] {
            assert_eq!(code(&[block]), None, "{block}");
        }
    }

    #[test]
    fn what_costs_more_to_judge_than_to_send_is_refused() {
        let many = "check if true;".repeat(100);
        let sum = format!("check if 1 > 0{};", ", 1 > 0".repeat(30));
        let long = format!("n(\"{}\");", "x".repeat(300));
        let wide = format!("n(1{});", ", 1".repeat(9));
        let nested = format!("check if true{};", " || 1 > 0 && true".repeat(12));
        for blocks in [
            // This one is not over within hours: the library does not look at the clock within a check.
            &["check if right($a, $b), right($c, $d), right($e, $f), right($g, $h), $a == 1;"][..],
            &["check if time($t), service($s);"],
            &["n(1); m($x) <- n($x);"],
            &["n([1, 2, 3]);"],
            &["check if [1, 2, 3].contains(1);"],
            &["check if [1, 2, 3].any($x -> $x > 1);"],
            &["check if service($s), $s.matches(\"(a*)*b\");"],
            &["check if true trusting previous;"],
            &[&sum],
            &[&long],
            &[&wide],
            &["check if service($s), $s + $s == \"x\";"],
            &[&nested],
            &[&many, &many, &many],
        ] {
            assert_eq!(code(blocks), Some(Code::TokenInvalid), "{blocks:?}");
        }
    }

    #[test]
    fn a_block_that_another_party_signed_is_refused() {
        let world = World::new();
        let token = UnverifiedBiscuit::from_base64(world.session()).unwrap();
        let request = token.third_party_request().unwrap();
        let block = BlockBuilder::new().code("check if true;").unwrap();
        let block = request.create_block(&KeyPair::new().private(), block).unwrap();
        let token = token.append_third_party(&block.serialize().unwrap()).unwrap();
        assert_eq!(
            world.code(&token.to_base64().unwrap(), RUN, None),
            Some(Code::TokenInvalid)
        );
    }
}
