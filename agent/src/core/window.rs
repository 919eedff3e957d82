//! One stream of output on its way to the server: one piece in flight, repeated until answered, resumable.

use super::backoff::{Backoff, Jitter};
use borealis_bus_schema::messages::device::OUTPUT_CHUNK_BYTES;

/// Is a piece of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub len: usize,
}

/// Follows a stream's bytes from the spool to the server.
///
/// The server's word counts: it names the first byte that it does not have, and the window goes there, back or ahead.
#[derive(Debug, Clone)]
pub struct Window {
    size: u64,
    kept: u64,
    in_flight: Option<Piece>,
    retry_at: u64,
    backoff: Backoff,
    given_up: bool,
}

impl Default for Window {
    /// Begins with a stream of which the server has nothing that this program knows of.
    fn default() -> Self {
        Self {
            size: 0,
            kept: 0,
            in_flight: None,
            retry_at: 0,
            backoff: Backoff::new(500, 30_000),
            given_up: false,
        }
    }
}

impl Window {
    /// Learns that the spool holds that many bytes.
    pub fn grew_to(&mut self, size: u64) {
        self.size = self.size.max(size);
    }

    /// Cuts the stream to what the spool really holds.
    pub const fn cut_to(&mut self, size: u64) {
        self.size = size;
    }

    /// Returns the next piece to send, if it is time.
    pub fn next(&mut self, mono_ms: u64) -> Option<Piece> {
        let waits = self.in_flight.is_some() || self.given_up || self.kept >= self.size || self.retry_at > mono_ms;
        if waits {
            return None;
        }
        let len =
            usize::try_from(self.size - self.kept).map_or(OUTPUT_CHUNK_BYTES, |left| left.min(OUTPUT_CHUNK_BYTES));
        let piece = Piece { offset: self.kept, len };
        self.in_flight = Some(piece);
        Some(piece)
    }

    /// Takes the server's answer: the first byte that it does not have.
    ///
    /// An answer that comes late names a place behind one that is known; only an answer to the piece in flight moves back.
    pub fn answered(&mut self, offset: u64, next_offset: u64) {
        self.backoff.reset();
        self.retry_at = 0;
        if self.in_flight.is_some_and(|piece| piece.offset == offset) {
            self.in_flight = None;
            self.kept = next_offset.min(self.size);
        } else {
            self.kept = self.kept.max(next_offset.min(self.size));
        }
    }

    /// Takes a failure: the piece is sent again after a pause.
    pub fn failed(&mut self, offset: u64, mono_ms: u64, jitter: &mut Jitter) {
        if self.in_flight.is_some_and(|piece| piece.offset == offset) {
            self.in_flight = None;
            self.retry_at = mono_ms.saturating_add(self.backoff.next_ms(jitter));
        }
    }

    /// Stops sending: the server does not want this stream.
    pub const fn give_up(&mut self) {
        self.given_up = true;
        self.in_flight = None;
    }

    /// Lets the next attempt happen at once, on a new connection.
    pub const fn hurry(&mut self) {
        self.retry_at = 0;
    }

    /// Tells whether the server has all, or wants no more.
    pub const fn is_done(&self) -> bool {
        self.given_up || self.kept >= self.size
    }

    /// Returns when the next attempt is due, if one waits.
    pub const fn due_at(&self) -> Option<u64> {
        if self.in_flight.is_none() && !self.is_done() {
            Some(self.retry_at)
        } else {
            None
        }
    }

    /// Returns how many bytes the stream has so far.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_long_stream_then_pieces_are_bounded_and_follow_each_other() {
        let mut window = Window::default();
        window.grew_to(OUTPUT_CHUNK_BYTES as u64 + 10);
        let first = window.next(0).unwrap();
        assert_eq!((first.offset, first.len), (0, OUTPUT_CHUNK_BYTES));
        assert_eq!(window.next(0), None, "one piece is in flight");
        window.answered(0, OUTPUT_CHUNK_BYTES as u64);
        assert_eq!(window.next(0).unwrap().len, 10);
        window.answered(OUTPUT_CHUNK_BYTES as u64, OUTPUT_CHUNK_BYTES as u64 + 10);
        assert!(window.is_done());
    }

    #[test]
    fn given_a_server_that_has_less_then_the_window_goes_back() {
        let mut window = Window::default();
        window.grew_to(100);
        window.next(0).unwrap();
        window.answered(0, 100);
        window.grew_to(200);
        assert_eq!(window.next(0).unwrap().offset, 100);
        window.answered(100, 40);
        assert_eq!(window.next(0).unwrap().offset, 40);
    }

    #[test]
    fn given_a_server_that_has_more_then_the_window_skips() {
        let mut window = Window::default();
        window.grew_to(100);
        window.next(0).unwrap();
        window.answered(0, 90);
        assert_eq!(window.next(0), Some(Piece { offset: 90, len: 10 }));
    }

    #[test]
    fn given_an_answer_out_of_order_then_nothing_moves_back() {
        let (mut window, mut jitter) = (Window::default(), Jitter::new(1));
        window.grew_to(100);
        window.next(0).unwrap();
        window.failed(0, 0, &mut jitter);
        window.next(1_000).unwrap();
        window.answered(0, 100);
        window.grew_to(200);
        window.next(1_000).unwrap();
        window.answered(0, 50);
        assert_eq!(window.next(1_000), None, "the piece at 100 is still in flight");
        window.answered(100, 200);
        assert!(window.is_done());
    }

    #[test]
    fn given_a_failure_then_it_is_sent_again_after_a_pause() {
        let (mut window, mut jitter) = (Window::default(), Jitter::new(1));
        window.grew_to(5);
        window.next(0).unwrap();
        window.failed(0, 0, &mut jitter);
        assert_eq!(window.next(0), None);
        assert_eq!(window.next(window.due_at().unwrap()).unwrap().offset, 0);
    }
}
