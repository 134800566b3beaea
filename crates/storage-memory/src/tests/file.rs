//! Saving and restoring, and files that are not what they should be.

use std::fs;

use session_manager_core::storage::{Bump, BumpTarget, Incarnations, OnceKey, RevokeTarget};
use session_manager_core::{ErrorKind, LivePolicy, SessionStorage, State};

use super::{at, external, foreign, insert, now, one, read, record, revoke, storage, user, with_external};
use crate::{MemoryStorage, MemoryStorageConfig};

#[test]
fn what_lived_lives_and_what_ended_stays_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let storage = storage();
    let [live, revoked, rotated, stray] = [
        with_external(record("alice", 0, 900, 1000), "s"),
        record("alice", 1, 1000, 1000),
        record("bob", 0, 1000, 1000),
        foreign("carol", 7),
    ];
    for record in [&live, &revoked, &rotated, &stray] {
        insert(&storage, record);
    }
    revoke(&storage, one(revoked.session.id), 5);
    let bump =
        Bump::new(BumpTarget::User { user: user("bob"), keep: None }, Incarnations { user: 1, global: 2 }, at(5));
    now(storage.bump(&bump)).unwrap();
    let key = OnceKey::parse("dpop:x").unwrap();
    now(storage.remember_once(&key, at(1), at(100))).unwrap();
    fs::write(&path, "an older file").unwrap();
    storage.save(&path).unwrap();

    let config = MemoryStorageConfig::new().shards(2);
    let restored = MemoryStorage::restore(&path, config).unwrap();
    for (record, state) in
        [(&live, State::Live), (&revoked, State::Revoked), (&rotated, State::RotatedOut), (&stray, State::Live)]
    {
        let (before, after) = (read(&storage, record.session.id).unwrap(), read(&restored, record.session.id).unwrap());
        assert_eq!(before, after);
        assert_eq!(after.state(at(6), LivePolicy::TRACKED), state);
    }
    assert!(!now(restored.remember_once(&key, at(50), at(200))).unwrap());
    assert_eq!(revoke(&restored, RevokeTarget::External(external("s")), 6).sessions.len(), 1);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["sessions"], "nothing is left beside it");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_file_that_is_not_whole_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let storage = storage();
    for name in ["alice", "bob"] {
        insert(&storage, &record(name, 0, 1000, 1000));
    }
    storage.save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] = to;
        bytes
    };
    let digit = whole.iter().rposition(|byte| *byte == b'2').unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "incomplete"),
        ("foreign", b"PNG\n".to_vec(), "not a snapshot"),
        ("foreign without lines", vec![0; 1000], "not a snapshot"),
        ("newer", changed(whole.iter().position(|byte| *byte == b'2').unwrap(), b'7'), "format"),
        ("half", whole[..whole.len() / 2].to_vec(), "incomplete"),
        ("without its last byte", whole[..whole.len() - 1].to_vec(), "incomplete"),
        ("without its last line", lines[..lines.len() - 1].concat(), "incomplete"),
        ("without a line", [&lines[..1], &lines[2..]].concat().concat(), "checksum"),
        ("with more behind", [whole.clone(), b"\n".to_vec()].concat(), "checksum"),
        ("another checksum", changed(digit, b'3'), "damaged"),
        ("broken line", [lines[0], b"{\n"].concat(), "line 2"),
        ("two of one session", [&lines[..3], &lines[2..]].concat().concat(), "damaged"),
    ];
    for (name, bytes, message) in cases {
        fs::write(&path, &bytes).unwrap();
        let error = MemoryStorage::restore(&path, MemoryStorageConfig::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{name}");
        assert!(error.to_string().contains(message), "{name}: {error}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}: kept");
    }
    // Every single changed byte is noticed.
    for (position, byte) in whole.iter().enumerate() {
        fs::write(&path, changed(position, byte ^ 1)).unwrap();
        assert!(MemoryStorage::restore(&path, MemoryStorageConfig::new()).is_err(), "byte {position}");
    }
}

#[test]
fn a_missing_file_a_small_bound_and_a_missing_folder_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let kind = |config| MemoryStorage::restore(&path, config).unwrap_err().kind();
    assert_eq!(kind(MemoryStorageConfig::new()), ErrorKind::NotFound);
    let storage = storage();
    insert(&storage, &record("alice", 0, 1000, 1000));
    insert(&storage, &record("bob", 0, 1000, 1000));
    storage.save(&path).unwrap();
    assert_eq!(kind(MemoryStorageConfig::new().max_sessions(1)), ErrorKind::Misconfigured, "both live");
    assert!(storage.save(folder.path().join("absent").join("sessions")).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
