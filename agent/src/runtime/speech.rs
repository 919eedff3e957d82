//! What the agent says to the server: each word is a task of its own, what the server answers an input of the core.
//!
//! So the loop never waits for the connection, which takes nothing while it is away and its queue is full.

use super::Hear;
use crate::core::record::RunKey;
use crate::core::{Input, ReplyTo, TellError};
use crate::process::spool;
use crate::transport::Voice;
use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::ids::{RoleName, VerbName};
use borealis_bus_schema::messages::device::{
    Accepted, OutputKept, ResultKept, TellOutput, TellResult, TellState, Welcome,
};
use borealis_bus_schema::messages::inventory::FactsKept;
use borealis_bus_schema::messages::scheduler::OutputStream;
use borealis_bus_schema::reply::{self, Reply};
use borealis_bus_schema::{codec, codec::CodecError};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Is how long an answer is awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// Speaks, and hands answers to the loop.
pub(super) struct Speaker {
    voice: Voice,
    hear: Hear,
}

fn verb(text: &str) -> Option<VerbName> {
    VerbName::new(text).ok()
}

impl Speaker {
    pub(super) const fn new(voice: Voice, hear: Hear) -> Self {
        Self { voice, hear }
    }

    pub(super) fn set_voice(&mut self, voice: Voice) {
        self.voice = voice;
    }

    pub(super) fn answer(&self, to: ReplyTo, answer: &Reply<Accepted>) {
        match reply::encode(answer) {
            Ok(body) => {
                let voice = self.voice.clone();
                tokio::spawn(async move { voice.answer(to.0, body).await });
            }
            Err(error) => tracing::error!(error = %error, "an answer cannot be encoded"),
        }
    }

    pub(super) fn hello(&self, signed: &Signed) {
        let (voice, hear) = (self.voice.clone(), self.hear.clone());
        let Some((body, verb)) = encoded(signed).zip(verb("hello")) else {
            return;
        };
        tokio::spawn(async move {
            let answer = voice.tell::<Welcome>(&RoleName::agent(), &verb, body, PATIENCE).await;
            let _ = hear.send(Input::Welcomed(answer));
        });
    }

    pub(super) fn facts(&self, signed: &Signed) {
        let (voice, hear) = (self.voice.clone(), self.hear.clone());
        let names = RoleName::new("inventory").ok().zip(verb("facts"));
        let Some((body, (role, verb))) = encoded(signed).zip(names) else {
            return;
        };
        tokio::spawn(async move {
            let answer = voice.tell::<FactsKept>(&role, &verb, body, PATIENCE).await;
            let _ = hear.send(Input::FactsAnswered(answer.map(|_| ())));
        });
    }

    pub(super) fn state(&self, role: RoleName, state: &TellState) {
        if let Some((body, verb)) = encoded(state).zip(verb("state")) {
            let voice = self.voice.clone();
            tokio::spawn(async move { voice.hint(&role, &verb, body).await });
        }
    }

    pub(super) fn result(&self, key: RunKey, role: RoleName, result: Signed) {
        let (voice, hear) = (self.voice.clone(), self.hear.clone());
        let Some((body, verb)) = encoded(&TellResult { result }).zip(verb("result")) else {
            return;
        };
        tokio::spawn(async move {
            let told = voice.tell::<ResultKept>(&role, &verb, body, PATIENCE);
            let answer = borealis_fail_points::under_way("CA8", told, voice.flush()).await;
            let answer = answer.and_then(|kept| {
                if kept.run == key.run {
                    Ok(())
                } else {
                    Err(TellError::Lost)
                }
            });
            let _ = hear.send(Input::ResultAnswered { key, answer });
        });
    }

    pub(super) fn output(
        &self,
        work: &Path,
        key: RunKey,
        role: RoleName,
        stream: OutputStream,
        offset: u64,
        len: usize,
    ) {
        let (voice, hear) = (self.voice.clone(), self.hear.clone());
        let body = spool::read(work, key, stream, offset, len).map(|data| {
            encoded(&TellOutput {
                run: key.run,
                attempt: key.attempt,
                stream,
                offset,
                data,
            })
        });
        let Some((body, verb)) = body.ok().flatten().zip(verb("output")) else {
            tracing::error!(run = %key, "a run's output is not there any more");
            let lost = TellError::Refused {
                code: Code::NotFound,
                retry: Retry::Never,
            };
            let answer = Err(lost);
            let _ = hear.send(Input::OutputAnswered {
                key,
                stream,
                offset,
                answer,
            });
            return;
        };
        tokio::spawn(async move {
            let answer = voice.tell::<OutputKept>(&role, &verb, body, PATIENCE).await;
            let answer = answer.and_then(|kept| {
                let fits = kept.run == key.run && kept.stream == stream;
                if fits {
                    Ok(kept.next_offset)
                } else {
                    Err(TellError::Lost)
                }
            });
            let _ = hear.send(Input::OutputAnswered {
                key,
                stream,
                offset,
                answer,
            });
        });
    }
}

fn encoded<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    let log = |error: CodecError| tracing::error!(error = %error, "a message cannot be encoded");
    codec::encode(value).map_err(log).ok()
}
