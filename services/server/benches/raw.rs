//! The reference: clients of the same nats-server that answer a message with a message, at once or with what a shell printed,
//! and do nothing else.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::{keys, nats_jwt, trust::TrustFile};
use borealis_test_support::User;
use nkeys::KeyPair;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::fleet::Fleet;

const QUESTION: [u8; 128] = [b'q'; 128];
const ANSWER: [u8; 23] = [b'a'; 23];

/// Says with what a client answers.
#[derive(Clone, Copy)]
pub enum Answer {
    /// With a message that stands ready.
    AtOnce,
    /// With what `sh -c 'echo hi'` printed.
    Shell,
}

/// Is the asking side with all the answering ones behind it.
pub struct Raw {
    asker: User,
    _answering: JoinSet<()>,
    _clients: Vec<User>,
}

/// Connects clients over TLS, a few at a time.
pub async fn connect(fleet: &Fleet, size: usize, with: Answer) -> Raw {
    let mut answering = JoinSet::new();
    let mut clients = Vec::with_capacity(size);
    let asker = user(fleet, "_INBOX_raw_asker").await;
    for index in 0..size {
        let client = user(fleet, &format!("_INBOX_raw_{index}")).await;
        let mut questions = client.subscribe(&format!("raw.{index}")).await.unwrap();
        let nats = client.client().clone();
        answering.spawn(async move {
            while let Some(question) = questions.next_within(Duration::from_secs(3_600)).await {
                if let Some(reply) = question.reply {
                    answer(&nats, reply, with).await;
                }
            }
        });
        client.flush().await.unwrap();
        clients.push(client);
        if (index + 1) % 500 == 0 {
            eprintln!("{} raw clients are connected", index + 1);
        }
    }
    Raw {
        asker,
        _answering: answering,
        _clients: clients,
    }
}

#[expect(clippy::disallowed_methods, reason = "the reference is the bare client")]
async fn answer(nats: &async_nats::Client, reply: String, with: Answer) {
    let said = match with {
        Answer::AtOnce => ANSWER.to_vec(),
        Answer::Shell => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "echo hi"]).stdin(Stdio::null());
            shell.output().await.unwrap().stdout
        }
    };
    nats.publish(reply, said.into()).await.unwrap();
}

async fn user(fleet: &Fleet, inbox: &str) -> User {
    let paths = fleet.server.paths();
    let trust = TrustFile::read(paths).unwrap();
    let signing = keys::read_nkey(&paths.account_signing_seed()).unwrap();
    let key = KeyPair::new_user();
    let claims = nats_jwt::UserClaims {
        public_key: key.public_key(),
        account: trust.account.public_key.clone(),
        name: "raw".to_owned(),
        permissions: None,
        subscriptions: -1,
        expires_at: None,
    };
    let jwt = nats_jwt::user(&signing, &claims, SystemClock.now()).unwrap();
    let ready = fleet.server.ready();
    User::connect(
        &ready.nats_url,
        &ready.ca,
        Some((key, Arc::new(move || jwt.clone()))),
        inbox,
    )
    .await
    .unwrap()
}

impl Raw {
    /// Sends one message to each of the first so many clients and waits for every answer.
    #[expect(clippy::disallowed_methods, reason = "the reference is the bare client")]
    pub async fn round(&self, size: usize) -> Duration {
        let nats = self.asker.client();
        let began = Instant::now();
        let mut asked = JoinSet::new();
        for index in 0..size {
            let nats = nats.clone();
            asked.spawn(async move {
                nats.request(format!("raw.{index}"), QUESTION.to_vec().into())
                    .await
                    .unwrap()
            });
        }
        while let Some(answered) = asked.join_next().await {
            answered.unwrap();
        }
        began.elapsed()
    }
}
