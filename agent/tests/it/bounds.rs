//! What even the true code-signing key does not make a device do: orders out of their bounds, in other forms, or seen before.

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, PublicKey, SignatureBytes, sign};
use borealis_bus_schema::ids::{Guid, OrderId, VerbName};
use borealis_bus_schema::merkle;
use borealis_bus_schema::messages::device::{Accepted, RunResult};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::order::{Context, MAX_VALIDITY_MS, Order, SignedOrder, key_id, sign_batch};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::subjects::Subject;
use ed25519_dalek::SigningKey;

use crate::bus::{World, now, order_key};

const HOUR_MS: i64 = 3_600_000;

/// Signs any bytes as the only order of a batch, in any form.
fn sealed(key: &SigningKey, form: Form, order: Vec<u8>) -> SignedOrder {
    let root = merkle::leaf(&order);
    SignedOrder {
        signature: sign(key, form, &[&root, &1u32.to_be_bytes()]),
        order,
        index: 0,
        size: 1,
        path: Vec::new(),
        key_id: key_id(&PublicKey::of(key)),
    }
}

/// Sends an envelope on the subject of a role and verb of the world's device.
async fn sent(world: &World, envelope: &SignedOrder, verb: &str) -> Reply<Accepted> {
    let subject = Subject::DeviceDo {
        guid: world.device.guid,
        role: borealis_bus_schema::ids::RoleName::script(),
        verb: VerbName::new(verb).unwrap(),
    };
    world.raw(&subject.to_string(), &codec::encode(envelope).unwrap()).await
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|found| found == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// Says the same order in bytes that do not re-encode to themselves.
fn other_encodings(honest: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let fields = honest[0] - 0xa0;
    let more = [&[honest[0] + 1], &honest[1..], b"\x61z\x00"].concat();
    let endless = [&[0xbf], &honest[1..], &[0xff]].concat();
    let long_head = [&[0xb8, fields], &honest[1..]].concat();
    vec![
        (
            "a long integer",
            replaced(honest, b"\x67attempt\x01", b"\x67attempt\x18\x01"),
        ),
        (
            "a longer integer",
            replaced(honest, b"\x67attempt\x01", b"\x67attempt\x1b\0\0\0\0\0\0\0\x01"),
        ),
        ("a long name", replaced(honest, b"\x67attempt", b"\x78\x07attempt")),
        ("a field more", more),
        ("an endless map", endless),
        ("a long map", long_head),
        ("a tag", replaced(honest, b"\x67attempt\x01", b"\x67attempt\xc1\x01")),
    ]
}

/// Adds the group's order to a signature's scalar: what a lax verifier takes for the same signature.
fn with_order_added(signature: &SignatureBytes) -> SignatureBytes {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = *signature.as_bytes();
    let mut carry = 0u16;
    for (byte, add) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    SignatureBytes::from_bytes(bytes)
}

#[tokio::test]
async fn given_orders_that_the_true_key_signed_out_of_their_bounds_then_none_has_an_effect() {
    let world = World::new().await;
    let agent = world.start().await;
    let effect = world.file("effect");
    let text = format!("echo ran >> {}", effect.display());
    let honest = world.order(1, &text);
    let numbered = |number: u8| Order {
        order: OrderId::from_bytes([number; 16]),
        ..world.order(number, &text)
    };
    let untouched = || assert!(!effect.exists(), "a refused order had an effect");
    let verdict = async |order: &Order| {
        let answer = world.send(order).await;
        untouched();
        answer.unwrap_err().code
    };

    // Time.
    let early = Order {
        issued_at: now().plus_ms(90_000),
        expires_at: now().plus_ms(HOUR_MS),
        ..numbered(10)
    };
    assert_eq!(verdict(&early).await, Code::OrderNotYetValid);
    let long = Order {
        expires_at: honest.issued_at.plus_ms(MAX_VALIDITY_MS + 1),
        issued_at: honest.issued_at,
        ..numbered(11)
    };
    assert_eq!(verdict(&long).await, Code::OrderTooLongValid);
    let ten_years = Order {
        expires_at: now().plus_ms(10 * 365 * 24 * HOUR_MS),
        ..numbered(12)
    };
    assert_eq!(verdict(&ten_years).await, Code::OrderTooLongValid);
    let over = Order {
        issued_at: now().plus_ms(-HOUR_MS),
        expires_at: now().plus_ms(-5_000),
        ..numbered(13)
    };
    assert_eq!(verdict(&over).await, Code::OrderExpired);

    // Place: another device, another subject, another context, another batch.
    let elsewhere = Order {
        guid: Guid::from_random([9; 16]),
        ..numbered(14)
    };
    let envelope = sign_batch(&order_key(), &[elsewhere]).unwrap().remove(0);
    let refused = sent(&world, &envelope, "run").await.unwrap_err();
    assert_eq!(refused.code, Code::OrderWrongDevice);
    let envelope = sign_batch(&order_key(), &[numbered(15)]).unwrap().remove(0);
    let refused = sent(&world, &envelope, "cancel").await.unwrap_err();
    assert_eq!(refused.code, Code::OrderWrongSubject);
    let other_context = Order {
        context: Context::CurrentUser,
        ..numbered(16)
    };
    let declined = world.send(&other_context).await.unwrap();
    let result: RunResult = declined
        .result
        .unwrap()
        .open(&world.device.public_key(), Form::Result)
        .unwrap();
    assert_eq!(
        (result.state, result.code),
        (RunState::Refused, Some(Code::OrderWrongContext))
    );
    untouched();
    let batch = sign_batch(&order_key(), &[numbered(17), numbered(18)]).unwrap();
    let moved = SignedOrder {
        order: batch[1].order.clone(),
        ..batch[0].clone()
    };
    let refused = sent(&world, &moved, "run").await.unwrap_err();
    assert_eq!(refused.code, Code::OrderSignatureInvalid);

    // Form: whatever else the key signs, or is made to sign, is no order.
    let bytes = codec::encode(&numbered(20)).unwrap();
    for form in Form::ALL.into_iter().filter(|form| *form != Form::OrderBatch) {
        let refused = sent(&world, &sealed(&order_key(), form, bytes.clone()), "run").await;
        assert_eq!(refused.unwrap_err().code, Code::OrderSignatureInvalid, "{form:?}");
        untouched();
    }
    // Bytes that say the same order in another way.
    for (what, bytes) in other_encodings(&bytes) {
        assert_ne!(bytes, codec::encode(&numbered(20)).unwrap(), "{what}");
        let refused = sent(&world, &sealed(&order_key(), Form::OrderBatch, bytes), "run").await;
        let code = refused.unwrap_err().code;
        assert_eq!(code, Code::OrderNotCanonical, "{what}");
        untouched();
    }
    let trailing = [bytes.as_slice(), b"\0"].concat();
    let refused = sent(&world, &sealed(&order_key(), Form::OrderBatch, trailing), "run").await;
    assert_eq!(refused.unwrap_err().code, Code::OrderMalformed);
    // The signature: another one of the same key that a lax verifier takes, none, and too much.
    let signed = sign_batch(&order_key(), &[numbered(20)]).unwrap().remove(0);
    for signature in [
        with_order_added(&signed.signature),
        SignatureBytes::from_bytes([0; 64]),
        SignatureBytes::from_bytes([0xff; 64]),
    ] {
        let bent = SignedOrder {
            signature,
            ..signed.clone()
        };
        let refused = sent(&world, &bent, "run").await.unwrap_err();
        assert_eq!(refused.code, Code::OrderSignatureInvalid);
        untouched();
    }

    // All of this spoiled nothing.
    assert_eq!(world.send(&honest).await.unwrap().state, RunState::Delivered);
    world.result_of(&honest).await;
    assert_eq!(std::fs::read_to_string(&effect).unwrap(), "ran\n");
    agent.stopped().await;
}

#[tokio::test]
async fn given_a_replay_after_a_restart_and_after_the_journal_was_written_anew_then_it_has_no_second_effect() {
    let world = World::new().await;
    let agent = world.start().await;
    let effect = world.file("effect");
    let honest = world.order(1, &format!("echo ran >> {}", effect.display()));
    let once = || assert_eq!(std::fs::read_to_string(&effect).unwrap(), "ran\n");
    let fresh = |number: u8| Order {
        order: OrderId::from_bytes([number; 16]),
        issued_at: now(),
        ..honest.clone()
    };
    world.send(&honest).await.unwrap();
    world.result_of(&honest).await;
    agent.stopped().await;

    let agent = world.start().await;
    for order in [honest.clone(), fresh(101)] {
        assert_eq!(world.send(&order).await.unwrap().state, RunState::Succeeded);
        once();
    }
    // Other runs, long enough that the journal is written anew.
    let journal = world.journal_bytes();
    let padding = "#".repeat(200_000);
    for number in 2..9 {
        let other = world.order(number, &format!("true\n{padding}"));
        world.send(&other).await.unwrap();
        world.result_of(&other).await;
    }
    assert!(
        world.journal_bytes() < journal + 7 * 200_000,
        "the journal was never written anew"
    );
    for order in [honest.clone(), fresh(102)] {
        assert_eq!(world.send(&order).await.unwrap().state, RunState::Succeeded);
        once();
    }
    agent.stopped().await;
    let agent = world.start().await;
    for order in [honest.clone(), fresh(103)] {
        assert_eq!(world.send(&order).await.unwrap().state, RunState::Succeeded);
        once();
    }
    // The same run with other content.
    let mut other = world.order(1, "echo evil");
    other.order = OrderId::from_bytes([104; 16]);
    assert_eq!(world.send(&other).await.unwrap_err().code, Code::OrderReplayed);
    once();
    agent.stopped().await;
}
