use borealis_test_support::{Answer, Authenticator, Seen};
use serde_json::json;

use super::*;

const ORIGIN: &str = "https://fleet.example:5000";
const NAME: &str = "fleet.example";
const CHALLENGE: [u8; 32] = [7; 32];

fn places() -> Places {
    Places::new(
        &["Fleet.example".to_owned(), "192.0.2.1".to_owned(), "::1".to_owned()],
        5000,
    )
}

fn seen() -> Seen {
    Seen::well(ORIGIN, NAME, CHALLENGE)
}

fn check_made(answer: &Answer) -> Result<Made, Refused> {
    let places = places();
    let expected = Expected {
        places: &places,
        rp_id: NAME,
        challenge: CHALLENGE,
    };
    made(&expected, &answer.client_data, &answer.authenticator_data)
}

fn check(key: &[u8], answer: &Answer) -> Result<u32, Refused> {
    let places = places();
    let expected = Expected {
        places: &places,
        rp_id: NAME,
        challenge: CHALLENGE,
    };
    let Answer {
        client_data,
        authenticator_data,
        signature,
    } = answer;
    asserted(&expected, key, client_data, authenticator_data, signature)
}

/// Shows a browser and an authenticator what they should not be shown, and names what has to come of it.
fn wrongs() -> Vec<(&'static str, Refused, Seen)> {
    let with = |change: &dyn Fn(&mut Seen)| {
        let mut seen = seen();
        change(&mut seen);
        seen
    };
    let origin = |origin: &str| with(&|seen| seen.origin = origin.to_owned());
    vec![
        (
            "another challenge",
            Refused::Challenge,
            with(&|seen| seen.challenge = [8; 32]),
        ),
        ("another page", Refused::Origin, origin("https://evil.example:5000")),
        ("another port", Refused::Origin, origin("https://fleet.example:5001")),
        ("no port", Refused::Origin, origin("https://fleet.example")),
        ("no TLS", Refused::Origin, origin("http://fleet.example:5000")),
        (
            "a page below it",
            Refused::Origin,
            origin("https://x.fleet.example:5000"),
        ),
        (
            "a page that begins like it",
            Refused::Origin,
            origin("https://fleet.example.evil:5000"),
        ),
        (
            "a user before it",
            Refused::Origin,
            origin("https://fleet.example:5000@evil.example"),
        ),
        (
            "another name of this server",
            Refused::Origin,
            origin("https://localhost:5000"),
        ),
        (
            "another server",
            Refused::Server,
            with(&|seen| seen.rp_id = "localhost".to_owned()),
        ),
        ("nobody there", Refused::NotPresent, with(&|seen| seen.flags = 4)),
        ("nobody recognised", Refused::NotVerified, with(&|seen| seen.flags = 1)),
        (
            "a frame",
            Refused::Frame,
            with(&|seen| seen.besides = json!({"crossOrigin": true})),
        ),
        (
            "another kind",
            Refused::Kind,
            with(&|seen| seen.kind = Some("payment.get".to_owned())),
        ),
    ]
}

#[test]
fn an_answer_to_what_was_asked_is_taken() {
    let mut authenticator = Authenticator::new().unwrap();
    let made = check_made(&authenticator.make(&seen())).unwrap();
    assert_eq!((made.credential, made.counter), (authenticator.credential.clone(), 0));
    assert_eq!(made.key, authenticator.cose());
    let answer = authenticator.answer(&seen()).unwrap();
    assert_eq!(check(&made.key, &answer), Ok(1));
    let besides = json!({"other_keys_can_be_added_here": "do not compare clientDataJSON against a template"});
    let chatty = Seen { besides, ..seen() };
    assert_eq!(check(&made.key, &authenticator.answer(&chatty).unwrap()), Ok(2));
}

#[test]
fn whatever_was_shown_wrongly_is_refused_for_what_it_is() {
    let mut authenticator = Authenticator::new().unwrap();
    for (what, refused, wrong) in wrongs() {
        assert_eq!(check_made(&authenticator.make(&wrong)).err(), Some(refused), "{what}");
        let answer = authenticator.answer(&wrong).unwrap();
        assert_eq!(check(&authenticator.cose(), &answer), Err(refused), "{what}");
    }
    // What was made is no answer, and the other way round.
    let answer = authenticator.answer(&seen()).unwrap();
    assert_eq!(check_made(&answer).err(), Some(Refused::Kind));
    assert_eq!(
        check(&authenticator.cose(), &authenticator.make(&seen())),
        Err(Refused::Kind)
    );
}

#[test]
fn a_signature_of_another_key_or_over_other_bytes_does_not_fit() {
    let (mut authenticator, mut other) = (Authenticator::new().unwrap(), Authenticator::new().unwrap());
    let key = authenticator.cose();
    assert_eq!(check(&key, &other.answer(&seen()).unwrap()), Err(Refused::Signature));
    let good = authenticator.answer(&seen()).unwrap();
    let changed = |change: &dyn Fn(&mut Answer)| {
        let mut answer = good.clone();
        change(&mut answer);
        check(&key, &answer)
    };
    assert_eq!(
        changed(&|answer| answer.client_data.push(b' ')),
        Err(Refused::Signature)
    );
    assert_eq!(
        changed(&|answer| answer.authenticator_data[36] ^= 1),
        Err(Refused::Signature)
    );
    assert_eq!(changed(&|answer| answer.signature.clear()), Err(Refused::Signature));
    let longer = changed(&|answer| answer.authenticator_data.push(0));
    assert!(matches!(longer, Err(Refused::Malformed(_))), "{longer:?}");
}

#[test]
fn what_is_cut_off_or_goes_on_is_refused() {
    let mut authenticator = Authenticator::new().unwrap();
    let made = authenticator.make(&seen());
    for length in 0..made.authenticator_data.len() {
        let cut = Answer {
            authenticator_data: made.authenticator_data[..length].to_vec(),
            ..made.clone()
        };
        assert!(check_made(&cut).is_err(), "{length}");
    }
    let mut longer = made.clone();
    longer.authenticator_data.push(0);
    assert!(matches!(check_made(&longer), Err(Refused::Malformed(_))));
    // An extension that was announced may follow, one value and no more.
    longer.authenticator_data[32] |= HAS_EXTENSIONS;
    longer.authenticator_data.pop();
    assert!(check_made(&longer).is_err());
    longer.authenticator_data.extend(b"\xa1\x6bcredProtect\x02");
    assert_eq!(check_made(&longer).unwrap().key, authenticator.cose());
    longer.authenticator_data.push(0);
    assert!(check_made(&longer).is_err());
    let keyless = Answer {
        client_data: made.client_data,
        ..authenticator.answer(&seen()).unwrap()
    };
    assert!(matches!(check_made(&keyless), Err(Refused::Malformed(_))));
    for length in [0, MAX_CREDENTIAL_BYTES + 1] {
        authenticator.credential = vec![1; length];
        let answer = check_made(&authenticator.make(&seen()));
        assert!(matches!(answer, Err(Refused::Malformed(_))), "{length}");
    }
}

#[test]
fn a_key_of_another_kind_is_none() {
    let authenticator = Authenticator::new().unwrap();
    let cose = authenticator.cose();
    for (what, at, byte) in [("kind", 2, 1), ("algorithm", 4, 0x27), ("curve", 6, 2)] {
        let mut other = cose.clone();
        other[at] = byte;
        assert!(matches!(Key::first(&other), Err(Refused::Algorithm)), "{what}");
    }
    assert!(matches!(Key::first(b"\x80"), Err(Refused::Malformed(_))));
    // A point that is on no curve verifies nothing.
    let mut beside = cose;
    beside[20] ^= 1;
    let mut authenticator = authenticator;
    let answer = authenticator.answer(&seen()).unwrap();
    assert_eq!(check(&beside, &answer), Err(Refused::Signature));
}

/// Puts another key into what an authenticator says that it made.
fn made_with(key: &[u8]) -> Result<Made, Refused> {
    let authenticator = Authenticator::new().unwrap();
    let mut answer = authenticator.make(&seen());
    let before = answer.authenticator_data.len() - authenticator.cose().len();
    answer.authenticator_data.truncate(before);
    answer.authenticator_data.extend(key);
    check_made(&answer)
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let length = u16::try_from(modulus.len()).unwrap().to_be_bytes();
    let head = [b"\xa4\x01\x03\x03\x39\x01\x00\x20\x59".as_slice(), &length].concat();
    let short = [0x40 | u8::try_from(exponent.len()).unwrap()];
    [head.as_slice(), modulus, &[0x21], &short, exponent].concat()
}

#[test]
fn a_key_that_verifies_nothing_makes_no_passkey() {
    let cose = Authenticator::new().unwrap().cose();
    assert_eq!(made_with(&cose).unwrap().key, cose);
    for at in [20, 50] {
        let mut beside = cose.clone();
        beside[at] ^= 1;
        assert!(matches!(made_with(&beside), Err(Refused::Malformed(_))), "{at}");
    }
    let modulus = hex::decode(MODULUS).unwrap();
    let good = rsa(&modulus, &[1, 0, 1]);
    assert_eq!(made_with(&good).unwrap().key, good);
    let even = [&modulus[..255], &[2]].concat();
    let padded = [&[0], modulus.as_slice()].concat();
    for (what, key) in [
        ("1,024 bits", rsa(&modulus[128..], &[1, 0, 1])),
        ("none", rsa(&[], &[1, 0, 1])),
        ("an even modulus", rsa(&even, &[1, 0, 1])),
        ("a zero before it", rsa(&padded, &[1, 0, 1])),
        ("no exponent", rsa(&modulus, &[])),
        ("exponent 1", rsa(&modulus, &[1])),
        ("an even exponent", rsa(&modulus, &[1, 0, 0])),
        ("a long exponent", rsa(&modulus, &[1, 0, 0, 0, 0, 1])),
    ] {
        assert!(matches!(made_with(&key), Err(Refused::Malformed(_))), "{what}");
    }
}

/// Is the modulus of a key that OpenSSL made, and its signature over the answer below.
const MODULUS: &str = "dff9cacf3d700fa3b05de80daef3ad5aaf9a9ab9e9a13ec8662343f6a030a4aed9e8e9142a1673241c72d6c394f265ca96db9545ad1e\
     33dd5d5c9481e617134caa6e7e5a179ad39b6715524d918a465efa264809bcc79ef0ff2b65be8e3ce80348bdc9b334b20092457d37df\
     71bf98114216ffe5f612ba0f6bbf65ad5246e86e45612143e2e7d75f5191cc1cdbc61046ad3e60f9b00e165d55f0a1a22c451982251a\
     0048083c26a2e27ba22a3bcf0a2655523f8b6bc9cac9f4844585a5712024696092f01814cadeefe978656edd3599fe6b736d93112acf\
     11162860108e79496790995079977d302238a99fdb1365a008264cf03fd01f1c8baaa7ca29734473";
const RS256: &str = "bd61ec10f11257ebda47bf9349034cca617ff9ea5317d50d67969e536df064d329f74c574c727ebca2395b0b55d8def4540da6cb489d\
     5d4c7d015c0def1471a501ee7067365fad82d4d37b089c7ab3ea3874613332214c18e8cc9a0ae2ef7715f1983381c7ce86dee359f0b5\
     eecb1da4b90b97a7199f15917f9149f5c4c585f950eb214175731bd83df0b7a3314dd81a73ba0933d2740148ab5000ad8d261a7e8814\
     fc8db79c27351f1fd5197e1ac60a9e7fc1be0e13be14318715f3b7a4f5ffd3fdc90bcb3aada49ef17da9ba0fc0761133fa3e08b46010\
     df2fe37dc8bfdcb64aa186d85d3b848c865c8ac0eaed5c57054e2f7eadb0d679a45c3b534f533a0d";

#[test]
fn an_rsa_key_is_taken_as_windows_makes_it() {
    let modulus = hex::decode(MODULUS).unwrap();
    let head = b"\xa4\x01\x03\x03\x39\x01\x00\x20\x59\x01\x00";
    let key = [head.as_slice(), &modulus, b"\x21\x43\x01\x00\x01"].concat();
    let challenge = URL_SAFE_NO_PAD.encode(CHALLENGE);
    let origin = "https://localhost:5000";
    let client_data = format!(
        "{{\"type\":\"webauthn.get\",\"challenge\":\"{challenge}\",\"origin\":\"{origin}\",\"crossOrigin\":false}}"
    );
    let data = [sha256(b"localhost").as_slice(), &[5, 0, 0, 0, 9]].concat();
    let places = places();
    let expected = Expected {
        places: &places,
        rp_id: "localhost",
        challenge: CHALLENGE,
    };
    let mut signature = hex::decode(RS256).unwrap();
    let verdict = asserted(&expected, &key, client_data.as_bytes(), &data, &signature);
    assert_eq!(verdict, Ok(9));
    signature[9] ^= 1;
    let verdict = asserted(&expected, &key, client_data.as_bytes(), &data, &signature);
    assert_eq!(verdict, Err(Refused::Signature));
}

#[test]
fn a_passkey_is_for_a_name_and_never_for_an_address() {
    let places = places();
    assert_eq!(places.rp_id("FLEET.example"), Some(NAME));
    assert_eq!(places.rp_id("localhost"), Some("localhost"));
    for host in ["192.0.2.1", "::1", "[::1]", "example", "x.fleet.example", ""] {
        assert_eq!(places.rp_id(host), None, "{host}");
    }
    // A port that the system chose is not known.
    let anywhere = Places::new(&[NAME.to_owned()], 0);
    for (origin, own) in [
        (ORIGIN, true),
        ("https://fleet.example", true),
        ("https://fleet.example:x", false),
        ("https://fleet.example:", false),
        ("https://fleet.example/", false),
        ("https://fleet.example.evil:5000", false),
    ] {
        assert_eq!(anywhere.is_origin(NAME, origin), own, "{origin}");
    }
    assert!(Places::new(&[NAME.to_owned()], 443).is_origin(NAME, "https://fleet.example"));
}
