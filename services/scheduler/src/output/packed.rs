//! What a finished run printed, packed: compressed, and kept once however many runs printed the same.
//!
//! A packed stream is `packed/<2 hex>/<SHA-256 of what was printed>`: members of gzip (RFC 1952),
//! each of 256 KiB that were printed, so that a part is read without the rest; behind them the length of each and a trailer,
//! which `zcat` leaves out. In the place of the run's own
//! file stands a symbolic link to it, which one rename puts there: at every moment the name leads to all of the stream.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use borealis_bus_schema::order::Digest;
use borealis_event_store::{RESERVE_BYTES, check_room, sync_folder};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::make_folder;
use crate::fold::finished;

/// Is how much of what was printed one frame holds.
const FRAME_BYTES: usize = 256 << 10;
/// Is the folder of packed streams.
const FOLDER: &str = "packed";
/// Ends every packed file.
const MAGIC: [u8; 4] = *b"BOP1";
/// Is the trailer: what was printed in bytes, frames, CRC-32 of both behind the lengths of the frames, magic.
const TRAILER_BYTES: u64 = 20;

/// Says of which packed stream a run's name speaks; `None` when the run has a file of its own.
///
/// Errors: the system's, also when there is nothing of that name.
pub fn target_of(path: &Path) -> io::Result<Option<Digest>> {
    match fs::read_link(path) {
        Ok(target) => {
            let name = target.file_name().and_then(|name| name.to_str());
            let digest = name.and_then(|name| name.parse().ok());
            digest.map(Some).ok_or_else(|| damaged("the link leads elsewhere"))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        Err(error) => Err(error),
    }
}

/// Packs what a run printed: `head`, which stands in the log, and the first `in_file` bytes of its own file.
///
/// Errors: the system's; then the run's own file is still there and whole.
pub fn pack(root: &Path, path: &Path, head: &[u8], in_file: u64) -> io::Result<Digest> {
    let mut hash = Sha256::new_with_prefix(head);
    let mut file = File::open(path)?;
    let read = io::copy(&mut (&mut file).take(in_file), &mut hash)?;
    if read != in_file {
        return Err(damaged("the run's file is shorter than what was kept"));
    }
    let digest = finished(&hash);
    let packed = path_of(root, &digest);
    if !packed.try_exists()? {
        check_room(File::open(root)?, RESERVE_BYTES)?;
        let printed = head.chain(File::open(path)?).take(head.len() as u64 + in_file);
        let incoming = write(root, printed)?;
        let folder = packed.parent().unwrap_or(root);
        make_folder(folder)?;
        sync_folder(&root.join(FOLDER))?;
        fs::rename(&incoming, &packed)?;
        sync_folder(folder)?;
    }
    let link = root.join(FOLDER).join("link");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(Path::new("..").join(relative(&digest)), &link)?;
    fs::rename(&link, path)?;
    Ok(digest)
}

/// Writes a packed file to its end and to the disk; its name is not yet the one it is found by.
fn write(root: &Path, mut printed: impl Read) -> io::Result<PathBuf> {
    make_folder(&root.join(FOLDER))?;
    let path = root.join(FOLDER).join("incoming");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)?;
    let (mut lengths, mut size, mut frame) = (Vec::new(), 0u64, Vec::with_capacity(FRAME_BYTES));
    loop {
        frame.clear();
        let filled = (&mut printed).take(FRAME_BYTES as u64).read_to_end(&mut frame)?;
        if filled == 0 {
            break;
        }
        let mut compressor = GzEncoder::new(Vec::new(), Compression::default());
        compressor.write_all(&frame)?;
        let compressed = compressor.finish()?;
        file.write_all(&compressed)?;
        lengths.push(u32::try_from(compressed.len()).map_err(|_| damaged("a frame is too long"))?);
        size += filled as u64;
    }
    let frames = u32::try_from(lengths.len()).map_err(|_| damaged("there are too many frames"))?;
    let mut index: Vec<u8> = lengths.iter().flat_map(|length| length.to_le_bytes()).collect();
    index.extend(size.to_le_bytes());
    index.extend(frames.to_le_bytes());
    index.extend(crc32fast::hash(&index).to_le_bytes());
    index.extend(MAGIC);
    file.write_all(&index)?;
    file.sync_all()?;
    Ok(path)
}

/// Reads up to `limit` bytes of a packed stream from a place.
///
/// Errors: the system's; `InvalidData` for a file that is damaged.
pub fn read(root: &Path, digest: &Digest, at: u64, limit: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path_of(root, digest))?;
    let frames = Frames::of(&file)?;
    let end = frames.size.min(at.saturating_add(limit as u64));
    let mut data = Vec::new();
    let mut next = at;
    while next < end {
        let index = usize::try_from(next / FRAME_BYTES as u64).map_err(|_| damaged("a place is too far"))?;
        let frame = frames.read(&file, index)?;
        let begins = index as u64 * FRAME_BYTES as u64;
        let from = usize::try_from(next - begins).unwrap_or(usize::MAX);
        let to = usize::try_from(end - begins).unwrap_or(usize::MAX).min(frame.len());
        data.extend_from_slice(frame.get(from..to).unwrap_or_default());
        next = begins + to as u64;
    }
    Ok(data)
}

/// Is where the frames of a packed file stand.
struct Frames {
    /// How much was printed.
    size: u64,
    /// Where each frame begins, and how long it is.
    places: Vec<(u64, u32)>,
}

impl Frames {
    fn of(file: &File) -> io::Result<Self> {
        let short = || damaged("the file is too short");
        let length = file.metadata()?.len();
        let at = length.checked_sub(TRAILER_BYTES).ok_or_else(short)?;
        let (mut size, mut frames, mut sum, mut magic) = ([0; 8], [0; 4], [0; 4], [0; 4]);
        file.read_exact_at(&mut size, at)?;
        file.read_exact_at(&mut frames, at + 8)?;
        file.read_exact_at(&mut sum, at + 12)?;
        file.read_exact_at(&mut magic, at + 16)?;
        let index_at = u64::from(u32::from_le_bytes(frames)) * 4;
        let index_at = at.checked_sub(index_at).ok_or_else(short)?;
        let mut index = vec![0; usize::try_from(at - index_at).map_err(|_| short())?];
        file.read_exact_at(&mut index, index_at)?;
        let mut summed = crc32fast::Hasher::new();
        for part in [&index[..], &size, &frames] {
            summed.update(part);
        }
        if magic != MAGIC || summed.finalize() != u32::from_le_bytes(sum) {
            return Err(damaged("the trailer is not one"));
        }
        let size = u64::from_le_bytes(size);
        let (mut places, mut begins) = (Vec::new(), 0u64);
        for word in index.as_chunks().0 {
            let length = u32::from_le_bytes(*word);
            places.push((begins, length));
            begins += u64::from(length);
        }
        if begins == index_at && size.div_ceil(FRAME_BYTES as u64) == places.len() as u64 {
            Ok(Self { size, places })
        } else {
            Err(damaged("the frames do not fill the file"))
        }
    }

    fn read(&self, file: &File, index: usize) -> io::Result<Vec<u8>> {
        let (begins, length) = self.places.get(index).ok_or_else(|| damaged("a frame is missing"))?;
        let mut compressed = vec![0; usize::try_from(*length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut compressed, *begins)?;
        let whole = (self.size - (index * FRAME_BYTES) as u64).min(FRAME_BYTES as u64);
        let mut frame = Vec::new();
        // One more, so that the checksum is read; a damaged frame may pretend to hold anything.
        GzDecoder::new(&compressed[..])
            .take(whole + 1)
            .read_to_end(&mut frame)?;
        if frame.len() as u64 == whole {
            Ok(frame)
        } else {
            Err(damaged("a frame holds another length"))
        }
    }
}

fn relative(digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    let folder: String = name.chars().take(2).collect();
    Path::new(FOLDER).join(folder).join(name)
}

fn path_of(root: &Path, digest: &Digest) -> PathBuf {
    root.join(relative(digest))
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints what no frame boundary falls into place with, and what does not compress to nothing.
    fn long(bytes: usize) -> Vec<u8> {
        let lines = (0u64..).flat_map(|n| format!("{n} {}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes());
        lines.take(bytes).collect()
    }

    fn own(root: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = root.join("ab").join(name);
        make_folder(&root.join("ab")).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_packed_stream_is_read_back_whole_and_by_range() {
        let root = tempfile::tempdir().unwrap();
        for size in [1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES + 77] {
            let printed = long(size);
            let head = 500.min(size - 1);
            let path = own(root.path(), &size.to_string(), &printed[head..]);
            assert_eq!(target_of(&path).unwrap(), None);
            let digest = pack(root.path(), &path, &printed[..head], (size - head) as u64).unwrap();
            assert_eq!(digest, Digest::of(&printed));
            assert_eq!(target_of(&path).unwrap(), Some(digest));
            assert_eq!(read(root.path(), &digest, 0, size + 1).unwrap(), printed);
            for at in [0, 1, head, FRAME_BYTES - 1, FRAME_BYTES, size - 1, size, size + 5] {
                let expected: Vec<u8> = printed.iter().skip(at).take(1_000).copied().collect();
                assert_eq!(
                    read(root.path(), &digest, at as u64, 1_000).unwrap(),
                    expected,
                    "{size} {at}"
                );
            }
            let packed = fs::metadata(&path).unwrap().len();
            assert!(
                size < FRAME_BYTES || packed < size as u64 * 2 / 3,
                "{size} came to {packed}"
            );
        }
    }

    #[test]
    fn the_same_is_kept_once_however_it_was_cut() {
        let root = tempfile::tempdir().unwrap();
        let printed = long(100_000);
        let mut inodes = std::collections::BTreeSet::new();
        for head in [0, 1, 8_192] {
            let path = own(root.path(), &head.to_string(), &printed[head..]);
            pack(root.path(), &path, &printed[..head], (printed.len() - head) as u64).unwrap();
            inodes.insert(std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap()));
        }
        assert_eq!(inodes.len(), 1);
    }

    #[test]
    fn more_in_the_file_than_was_kept_is_left_out_and_less_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = own(root.path(), "x", b"kept and not kept");
        assert!(pack(root.path(), &path, b"", 18).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"kept and not kept");
        let digest = pack(root.path(), &path, b"", 4).unwrap();
        assert_eq!(read(root.path(), &digest, 0, 100).unwrap(), b"kept");
    }

    #[test]
    fn what_a_crash_left_is_written_over() {
        let root = tempfile::tempdir().unwrap();
        let path = own(root.path(), "x", b"printed");
        make_folder(&root.path().join(FOLDER)).unwrap();
        fs::write(root.path().join(FOLDER).join("incoming"), long(5_000)).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join(FOLDER).join("link")).unwrap();
        let digest = pack(root.path(), &path, b"", 7).unwrap();
        assert_eq!(read(root.path(), &digest, 0, 100).unwrap(), b"printed");
    }

    #[test]
    fn a_damaged_file_is_named_and_never_read_as_something_else() {
        let root = tempfile::tempdir().unwrap();
        let printed = long(FRAME_BYTES + 1_000);
        let path = own(root.path(), "x", &printed);
        let digest = pack(root.path(), &path, b"", printed.len() as u64).unwrap();
        let (whole, mut refused) = (fs::read(&path).unwrap(), 0);
        for at in (0..whole.len())
            .step_by(whole.len() / 97)
            .chain(whole.len() - 60..whole.len())
        {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(path_of(root.path(), &digest), &bytes).unwrap();
            match read(root.path(), &digest, 0, printed.len()) {
                // A bit of a member's head that means nothing here, as its time.
                Ok(read) => assert!(read == printed, "byte {at} was changed and read"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 140, "only {refused} changes were noticed");
        for end in [0, 1, 15, 16, whole.len() - 1] {
            fs::write(path_of(root.path(), &digest), &whole[..end]).unwrap();
            assert!(read(root.path(), &digest, 0, 10).is_err(), "cut at {end}");
        }
    }
}
