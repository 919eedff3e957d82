//! Looks for a text in what was printed, a piece at a time.

use memchr::memmem::Finder;

/// Is how much of a line is shown before and behind what was found, in bytes.
const AROUND: usize = 200;

/// Is a search under way in one stream.
pub struct Search<'a> {
    finder: Finder<'a>,
    /// The end of what was looked through: the text may begin there, and its line.
    held: Vec<u8>,
    /// From where in it the text may begin.
    from: usize,
}

impl<'a> Search<'a> {
    /// Begins at a stream's first byte.
    pub fn new(text: &'a [u8]) -> Self {
        Self {
            finder: Finder::new(text),
            held: Vec::new(),
            from: 0,
        }
    }

    /// Looks on in the next piece; returns the line with the text once it is there, or all that will come has come.
    pub fn take(&mut self, piece: &[u8], is_last: bool) -> Option<String> {
        self.held.extend_from_slice(piece);
        let length = self.finder.needle().len();
        if let Some(at) = self.held.get(self.from..).and_then(|held| self.finder.find(held)) {
            let (begins, ends) = (self.from + at, self.from + at + length);
            let behind = self.held.get(ends..).unwrap_or_default();
            if behind.len() >= AROUND || behind.contains(&b'\n') || is_last {
                return Some(self.line(begins, ends));
            }
            // Its line may go on in the next piece.
            self.keep(begins);
        } else {
            self.keep((self.held.len() + 1).saturating_sub(length.max(1)));
        }
        None
    }

    /// Forgets what is too far before a place.
    fn keep(&mut self, place: usize) {
        let forgotten = place.saturating_sub(AROUND);
        self.held.drain(..forgotten.min(self.held.len()));
        self.from = place - forgotten;
    }

    fn line(&self, begins: usize, ends: usize) -> String {
        let before = self.held.get(begins.saturating_sub(AROUND)..begins).unwrap_or_default();
        let behind = self.held.get(ends..).unwrap_or_default();
        let before = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let behind = behind.get(..AROUND.min(behind.len())).unwrap_or_default();
        let behind = behind.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = [before, self.finder.needle(), behind].concat();
        String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, whole: &[u8], piece: usize) -> Option<String> {
        let mut search = Search::new(text.as_bytes());
        let pieces: Vec<_> = whole.chunks(piece).collect();
        let last = pieces.len().saturating_sub(1);
        pieces
            .iter()
            .enumerate()
            .find_map(|(at, piece)| search.take(piece, at == last))
    }

    #[test]
    fn the_first_line_with_a_text_is_found_however_the_stream_is_cut() {
        let whole = b"one two\r\nthree needle four\r\nneedle again\nlast";
        for piece in 1..=whole.len() {
            let line = |text| found(text, whole, piece);
            assert_eq!(line("needle").as_deref(), Some("three needle four"), "{piece}");
            assert_eq!(line("one").as_deref(), Some("one two"), "{piece}");
            assert_eq!(line("last").as_deref(), Some("last"), "{piece}");
            assert_eq!(line("missing"), None, "{piece}");
            assert_eq!(line("lastly"), None, "{piece}");
        }
    }

    #[test]
    fn a_long_line_is_cut_around_what_was_found() {
        let mut whole = vec![b'a'; 100_000];
        whole.extend(b"needle");
        whole.extend(vec![b'b'; 100_000]);
        let shown = format!("{}needle{}", "a".repeat(AROUND), "b".repeat(AROUND));
        for piece in [7, 4_096, 65_536, 300_000] {
            assert_eq!(
                found("needle", &whole, piece).as_deref(),
                Some(shown.as_str()),
                "{piece}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_no_reason_to_stop() {
        assert_eq!(found("b", b"\xff\xfe\na\xffb\n", 2).as_deref(), Some("a\u{fffd}b"));
    }
}
