use super::*;

type Spoil = fn(&mut Assembly);

fn variable(name: &str, kind: VariableType) -> Variable {
    Variable {
        name: name.to_owned(),
        label: String::new(),
        kind,
        default: String::new(),
        required: false,
        choices: Vec::new(),
        description: String::new(),
    }
}

fn assembly() -> Assembly {
    Assembly {
        name: "Clean up".to_owned(),
        description: "Frees\nroom".to_owned(),
        category: "disk".to_owned(),
        language: Language::Sh,
        script: "echo hi".to_owned(),
        variables: vec![
            variable("path", VariableType::String),
            variable("file", VariableType::String),
            Variable {
                default: "7".to_owned(),
                ..variable("keep days", VariableType::Number)
            },
        ],
        files: Vec::new(),
        timeout_ms: 60_000,
        sites: None,
        tags: ["disk".to_owned()].into(),
    }
}

fn given(pairs: &[(&str, &[u8])]) -> BTreeMap<String, EnvValue> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), EnvValue::from_bytes(value.to_vec())))
        .collect()
}

#[test]
fn variables_have_both_names_and_values_are_data() {
    let odd: &[u8] = b"$(rm -rf /)'\"\n\xff\xfe";
    let environment = assembly().environment(&given(&[("path", odd)])).unwrap();
    let names: Vec<&str> = environment.keys().map(String::as_str).collect();
    assert_eq!(names, ["FILE", "KEEP_DAYS", "file", "path"]);
    assert_eq!(environment["path"].as_bytes(), odd);
    assert_eq!(environment["KEEP_DAYS"].as_bytes(), b"7");
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let mut with = assembly();
    with.variables = vec![
        Variable {
            required: true,
            ..variable("must", VariableType::String)
        },
        variable("count", VariableType::Number),
        variable("flag", VariableType::Boolean),
        Variable {
            choices: vec!["a".into(), "b".into()],
            ..variable("pick", VariableType::Choice)
        },
        variable("secret", VariableType::Credential),
    ];
    with.check().unwrap();
    let code = |pairs: &[(&str, &[u8])]| with.environment(&given(pairs)).unwrap_err().code();
    assert_eq!(code(&[]), Code::VariableMissing);
    assert_eq!(code(&[("must", b"")]), Code::VariableMissing);
    assert_eq!(code(&[("must", b"a\0b")]), Code::VariableInvalid);
    assert_eq!(code(&[("must", &[b'x'; MAX_VALUE_BYTES + 1])]), Code::VariableInvalid);
    assert_eq!(code(&[("must", b"x"), ("other", b"x")]), Code::VariableUndeclared);
    assert_eq!(code(&[("must", b"x"), ("MUST", b"x")]), Code::VariableUndeclared);
    for wrong in ["1e3", "0x1", "--1", "1.", ".5", "one", "1 "] {
        assert_eq!(
            code(&[("must", b"x"), ("count", wrong.as_bytes())]),
            Code::VariableInvalid,
            "{wrong}"
        );
    }
    assert_eq!(code(&[("must", b"x"), ("flag", b"maybe")]), Code::VariableInvalid);
    assert_eq!(code(&[("must", b"x"), ("pick", b"c")]), Code::VariableInvalid);
    assert_eq!(code(&[("must", b"x"), ("secret", b"s")]), Code::CredentialsUnsupported);
    let fine = with
        .environment(&given(&[
            ("must", b"x"),
            ("count", b"-1.5"),
            ("flag", b"Yes"),
            ("pick", b"b"),
        ]))
        .unwrap();
    assert_eq!(fine["flag"].as_bytes(), b"true");
    assert_eq!(fine["COUNT"].as_bytes(), b"-1.5");
    assert_eq!(fine["SECRET"].as_bytes(), b"");
}

#[test]
fn each_rule_of_an_assembly_refuses() {
    let file = FileRef {
        name: "a.txt".into(),
        size_bytes: 1,
        mime_type: String::new(),
        digest: Digest::of(b"a"),
    };
    let cases: [(&str, Spoil); 17] = [
        ("variables", |a| {
            a.variables = vec![variable("LD_PRELOAD", VariableType::String)]
        }),
        ("name", |a| a.name = String::new()),
        ("name", |a| a.name = "x@1".into()),
        ("name", |a| a.name = "x\u{1b}[2J".into()),
        ("name", |a| a.name = " x".into()),
        ("description", |a| a.description = "x".repeat(5_000)),
        ("category", |a| a.category = "a\nb".into()),
        ("script", |a| a.script = " \n".into()),
        ("script", |a| a.script = "x".repeat(MAX_SCRIPT_BYTES + 1)),
        ("timeout_ms", |a| a.timeout_ms = 0),
        ("timeout_ms", |a| a.timeout_ms = MAX_TIMEOUT_MS + 1),
        ("sites", |a| a.sites = Some(BTreeSet::new())),
        ("tags", |a| a.tags = [String::new()].into()),
        ("variables", |a| {
            a.variables = vec![
                variable("a-b", VariableType::String),
                variable("A_B", VariableType::String),
            ]
        }),
        ("variables", |a| {
            a.variables = vec![variable("a=b", VariableType::String)]
        }),
        ("variables", |a| {
            a.variables = vec![Variable {
                default: "x".into(),
                ..variable("a", VariableType::Number)
            }];
        }),
        ("variables", |a| {
            a.variables = vec![Variable {
                default: "x".into(),
                ..variable("a", VariableType::Credential)
            }];
        }),
    ];
    assembly().check().unwrap();
    for (name, spoil) in cases {
        let mut spoilt = assembly();
        spoil(&mut spoilt);
        let error = spoilt.check().unwrap_err();
        assert_eq!(error.code(), Code::InvalidField, "{error}");
        assert!(error.to_string().starts_with(name), "{error}");
    }
    for name in ["", "..", "a/b", "a\\b", "C:x"] {
        let mut spoilt = assembly();
        spoilt.files = vec![FileRef {
            name: name.into(),
            ..file.clone()
        }];
        assert_eq!(spoilt.check().unwrap_err().code(), Code::InvalidField, "{name}");
    }
    let mut twice = assembly();
    twice.files = vec![
        file.clone(),
        FileRef {
            name: "A.TXT".into(),
            ..file
        },
    ];
    assert!(twice.check().unwrap_err().to_string().contains("twice"));
}

#[test]
fn a_digest_names_exactly_these_bytes() {
    let bytes = assembly().encode().unwrap();
    let digest = assembly().digest().unwrap();
    assert_eq!(Assembly::read(&bytes, &digest).unwrap(), assembly());
    assert_eq!(Assembly::read(&bytes, &Digest::of(b"x")), Err(AssemblyError::Digest));
    // The same assembly in another form of CBOR is not the one that was signed for.
    let mut loose = bytes.clone();
    assert_eq!(loose[0], 0xaa);
    loose[0] = 0xbf;
    loose.push(0xff);
    assert_eq!(
        Assembly::read(&loose, &Digest::of(&loose)),
        Err(AssemblyError::Unreadable)
    );
}

#[test]
fn a_request_that_names_an_assembly_says_the_same_without_it() {
    let asked = |more: serde_json::Value| -> CreateJob {
        let digest = assembly().digest().unwrap();
        let id = AssemblyId::from_bytes([1; 16]);
        let variables = serde_json::json!({"file": "a b", "path": {"base64": "/w=="}});
        let mut body = serde_json::json!({
            "targets": {"all": true}, "timeout_ms": 5, "args": ["x"],
            "assembly": {"assembly": id, "version": 1, "digest": digest, "variables": variables},
        });
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        serde_json::from_value(body).unwrap()
    };
    let said = plain(asked(serde_json::json!({})), Some(&assembly())).unwrap();
    assert_eq!(
        (said.script.as_deref(), said.language, said.timeout_ms),
        (Some("echo hi"), Some(Language::Sh), 5)
    );
    assert_eq!(
        (said.env["FILE"].as_bytes(), said.env["path"].as_bytes()),
        (&b"a b"[..], &b"\xff"[..])
    );
    assert_eq!((said.assembly, said.args), (None, vec!["x".to_owned()]));
    assert_eq!(plain(asked(serde_json::json!({})), None), Err(AssemblyError::Absent));
    for more in [
        serde_json::json!({"script": "x"}),
        serde_json::json!({"language": "sh"}),
        serde_json::json!({"env": {"A": "b"}}),
    ] {
        assert!(matches!(
            plain(asked(more), Some(&assembly())),
            Err(AssemblyError::Besides(_))
        ));
    }
    let mut with_files = assembly();
    with_files.files = vec![FileRef {
        name: "a".into(),
        size_bytes: 1,
        mime_type: String::new(),
        digest: Digest::of(b"a"),
    }];
    assert_eq!(
        plain(asked(serde_json::json!({})), Some(&with_files)),
        Err(AssemblyError::Files)
    );
}

#[test]
fn a_value_is_text_where_it_is_text() {
    for (bytes, written) in [
        (&b"a"[..], serde_json::json!("a")),
        (b"", serde_json::json!("")),
        (b"\xff", serde_json::json!({"base64": "/w=="})),
    ] {
        let value = EnvValue::from_bytes(bytes.to_vec());
        assert_eq!(serde_json::to_value(&value).unwrap(), written);
        assert_eq!(serde_json::from_value::<EnvValue>(written).unwrap(), value);
        assert_eq!(
            codec::decode::<EnvValue>(&codec::encode(&value).unwrap()).unwrap(),
            value
        );
    }
    // An environment of texts is written as it was before values could be other bytes.
    let texts: BTreeMap<&str, &str> = [("A", "b")].into();
    let values: BTreeMap<&str, EnvValue> = [("A", "b".into())].into();
    assert_eq!(codec::encode(&texts).unwrap(), codec::encode(&values).unwrap());
    for wrong in [
        serde_json::json!({"base64": "?"}),
        serde_json::json!({"base64": "", "x": 1}),
        serde_json::json!(7),
    ] {
        assert!(serde_json::from_value::<EnvValue>(wrong).is_err());
    }
}
