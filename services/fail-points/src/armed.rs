//! Fail points that work.

use std::fs::{File, OpenOptions};
use std::future::poll_fn;
use std::os::unix::fs::FileExt as _;
use std::pin::pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Poll;

use crate::{LINE_BYTES, VARIABLE, line};

static FILE: OnceLock<Option<File>> = OnceLock::new();
/// One thread of this process at a time looks closer: a lock on the file keeps only other processes away.
static LOOKS: Mutex<()> = Mutex::new(());

/// Tells whether this process may be ended at a point.
pub fn is_on() -> bool {
    file().is_some()
}

/// Opens the file, before the process shuts itself off from it.
pub fn open() {
    let _ = file();
}

fn file() -> Option<&'static File> {
    FILE.get_or_init(|| {
        let path = std::env::var_os(VARIABLE)?;
        OpenOptions::new().read(true).write(true).open(path).ok()
    })
    .as_ref()
}

/// Says that the process is at a point; does not return when it is to die there.
pub fn reached(point: &'static str) {
    let Some(file) = file() else { return };
    // Most points are not meant, and cost one read.
    if read(file).is_none_or(|text| is_meant(&text, point).is_none()) {
        return;
    }
    let _look = LOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    if file.lock().is_err() {
        return;
    }
    if let Some(text) = read(file)
        && let Some((who, hits)) = is_meant(&text, point)
    {
        if hits <= 1 {
            let told = line(&format!("{point} died {}", std::process::id()));
            if file.write_all_at(&told, 0).is_ok() {
                die();
            }
        }
        let _ = file.write_all_at(&line(&format!("{point} {who} {}", hits - 1)), 0);
    }
    let _ = file.unlock();
}

fn read(file: &File) -> Option<String> {
    let mut bytes = [0; LINE_BYTES];
    let read = file.read_at(&mut bytes, 0).ok()?;
    String::from_utf8(bytes.get(..read)?.to_vec()).ok()
}

/// Returns who is meant and how many hits are to come, when this process is meant at this point.
fn is_meant<'a>(text: &'a str, point: &str) -> Option<(&'a str, u64)> {
    let mut words = text.split_whitespace();
    let (named, who, hits) = (words.next()?, words.next()?, words.next()?);
    let is_me = who == "*" || std::env::args().nth(1).is_some_and(|own| own == who);
    if named == point && is_me && who != "died" {
        Some((who, hits.parse().ok()?))
    } else {
        None
    }
}

fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort();
}

/// Waits for an answer, and reaches a point once the question has left, when that is before the answer.
pub async fn under_way<T>(point: &'static str, answer: impl Future<Output = T>, left: impl Future) -> T {
    if !is_on() {
        return answer.await;
    }
    let (mut answer, mut left, mut is_left) = (pin!(answer), pin!(left), false);
    poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        if !is_left && left.as_mut().poll(context).is_ready() {
            is_left = true;
            reached(point);
        }
        Poll::Pending
    })
    .await
}
