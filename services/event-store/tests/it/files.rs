//! Files named by their digest.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use borealis_event_store::{DigestFiles, StoreError, body_digest};

fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn content_is_kept_under_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let files = DigestFiles::open(folder.path().join("files")).unwrap();
    let content: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
    let digest = files.put(&content).unwrap();
    assert_eq!(digest, body_digest(&content));
    assert_eq!(files.put(&content).unwrap(), digest);
    let mut writer = files.writer().unwrap();
    content.chunks(999).for_each(|chunk| writer.write_all(chunk).unwrap());
    assert_eq!(writer.finish().unwrap(), (digest, 200_000));

    let name = hex(digest);
    let path = folder.path().join("files").join(&name[..2]).join(&name);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(files.read(&digest).unwrap().unwrap(), content);
    assert!(files.verify(&digest).unwrap());
    assert_eq!(files.read(&[0; 32]).unwrap(), None);

    std::fs::write(&path, b"other").unwrap();
    assert!(matches!(files.read(&digest), Err(StoreError::DigestMismatch { .. })));
    assert!(matches!(files.verify(&digest), Err(StoreError::DigestMismatch { .. })));
    // Content of the right name but another size is written anew.
    files.put(&content).unwrap();
    assert!(files.verify(&digest).unwrap());
    assert!(files.remove(&digest).unwrap() && !files.remove(&digest).unwrap());
    assert_eq!(files.len(&digest).unwrap(), None);
}

#[test]
fn what_was_not_finished_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let files = DigestFiles::open(folder.path()).unwrap();
    let mut writer = files.writer().unwrap();
    writer.write_all(b"half").unwrap();
    let incoming = folder.path().join("incoming");
    assert_eq!(incoming.read_dir().unwrap().count(), 1);
    drop(writer);
    assert_eq!(incoming.read_dir().unwrap().count(), 0);
    std::fs::write(incoming.join("1-1"), b"of a killed process").unwrap();
    assert!(matches!(
        DigestFiles::open(folder.path()),
        Err(StoreError::Locked { .. })
    ));
    drop(files);
    DigestFiles::open(folder.path()).unwrap();
    assert_eq!(incoming.read_dir().unwrap().count(), 0);
}
