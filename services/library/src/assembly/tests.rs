use super::*;

fn by() -> By {
    By {
        operator: OperatorId::from_bytes([1; 16]),
        username: "ada".into(),
        at: Timestamp::from_unix_ms(1),
    }
}

fn save(based_on: Option<u32>, text: &str) -> Command {
    Command::Save {
        based_on,
        digest: Digest::of(text.as_bytes()),
        summary: Summary {
            name: "a".into(),
            description: String::new(),
            category: String::new(),
            language: Language::Sh,
            sites: None,
            tags: BTreeSet::new(),
            files: [Digest::of(b"file")].into(),
        },
        note: "why".into(),
        by: by(),
    }
}

fn publish(version: u32, text: &str) -> Command {
    Command::Publish {
        version,
        digest: Digest::of(text.as_bytes()),
        by: by(),
    }
}

fn archive(archived: bool) -> Command {
    Command::Archive { archived, by: by() }
}

fn after(commands: impl IntoIterator<Item = Command>) -> State {
    let step = |state: State, command| decide(&state, command).unwrap().iter().fold(state, evolve);
    commands.into_iter().fold(State::default(), step)
}

#[test]
fn versions_are_numbered_and_stay_what_they_are() {
    let state = after([save(None, "x"), save(Some(1), "y"), publish(1, "x"), save(Some(2), "z")]);
    let numbers: Vec<u32> = state.versions.iter().map(|version| version.saved.version).collect();
    assert_eq!((numbers, state.published), (vec![1, 2, 3], Some(1)));
    assert_eq!(state.version(1).unwrap().saved.digest, Digest::of(b"x"));
    assert_eq!(state.version(1).unwrap().published, Some(by()));
    assert_eq!(state.version(2).unwrap().published, None);
    // An older version can be published again, and the newer one stays one that was.
    let back = after([save(None, "x"), save(Some(1), "y"), publish(2, "y"), publish(1, "x")]);
    assert_eq!(back.published, Some(1));
    assert!(back.version(2).unwrap().published.is_some());
    assert!(back.has_file(&Digest::of(b"file")) && !back.has_file(&Digest::of(b"other")));
}

#[test]
fn the_same_content_again_changes_nothing() {
    assert_eq!(decide(&after([save(None, "x")]), save(Some(1), "x")), Ok(vec![]));
}

#[test]
fn each_rule_refuses() {
    let one = || after([save(None, "x")]);
    let gone = || after([save(None, "x"), archive(true)]);
    let cases = [
        (State::default(), save(Some(1), "x"), Rejection::Missing("assembly")),
        (State::default(), archive(true), Rejection::Missing("assembly")),
        (State::default(), publish(1, "x"), Rejection::Missing("version")),
        (one(), save(None, "y"), Rejection::Exists),
        (
            after([save(None, "x"), save(Some(1), "y")]),
            save(Some(1), "z"),
            Rejection::Moved { latest: 2 },
        ),
        (one(), publish(2, "x"), Rejection::Missing("version")),
        (one(), publish(1, "y"), Rejection::Digest),
        (
            after([save(None, "x"), publish(1, "x")]),
            publish(1, "x"),
            Rejection::Already("this version is the published one already"),
        ),
        (
            one(),
            archive(false),
            Rejection::Already("the assembly is not in the archive"),
        ),
        (
            gone(),
            archive(true),
            Rejection::Already("the assembly is in the archive already"),
        ),
        (gone(), save(Some(1), "y"), Rejection::Archived),
        (gone(), publish(1, "x"), Rejection::Archived),
    ];
    for (state, command, rejection) in cases {
        assert_eq!(decide(&state, command.clone()), Err(rejection), "{command:?}");
    }
    let Command::Save {
        digest, summary, by, ..
    } = save(None, "x")
    else {
        panic!();
    };
    for note in ["x".repeat(MAX_NOTE_BYTES + 1), "\u{1b}[2J".to_owned()] {
        let (summary, by) = (summary.clone(), by.clone());
        let command = Command::Save {
            based_on: None,
            digest,
            summary,
            note,
            by,
        };
        assert_eq!(decide(&State::default(), command), Err(Rejection::Note));
    }
    assert_eq!(after([save(None, "x"), archive(true), archive(false)]), one());
}
