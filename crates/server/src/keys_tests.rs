//! Making, reading and damaging key files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use session_manager::token::KeyProvider as _;
use session_manager_core::ManualClock;
use sha2::{Digest as _, Sha256};

use super::*;

type Change = fn(&str) -> String;

fn fresh() -> (tempfile::TempDir, PathBuf, Keys) {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::load_or_create(folder.path()).unwrap();
    let path = folder.path().join(FILE);
    (folder, path, keys)
}

fn reload_after(change: impl FnOnce(&str) -> String) -> String {
    let (folder, path, _) = fresh();
    let text = fs::read_to_string(&path).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text, "the test changes nothing");
    fs::write(&path, &changed).unwrap();
    let message = Keys::load_or_create(folder.path()).unwrap_err().to_string();
    assert_eq!(fs::read_to_string(&path).unwrap(), changed, "a damaged file is left alone");
    for line in text.lines().filter(|line| line.contains('_')) {
        // What stands between quotation marks.
        for secret in line.split('"').skip(1).step_by(2) {
            assert!(!message.contains(secret), "a secret in {message}");
        }
    }
    message
}

#[test]
fn the_same_keys_come_back() {
    let (folder, _, keys) = fresh();
    let again = Keys::load_or_create(folder.path()).unwrap();
    assert!(again.has_same_tokens(&keys) && again.is_of_one_file(&keys));
    assert_eq!((again.root_secret(), again.provider_keys()), (keys.root_secret(), keys.provider_keys()));
    assert_eq!((&again.refresh[0].secret, &again.access[0].pkcs8), (&keys.refresh[0].secret, &keys.access[0].pkcs8));
}

#[test]
fn every_installation_has_its_own() {
    let ((_a, _, a), (_b, _, b)) = (fresh(), fresh());
    assert!(!a.is_of_one_file(&b) && a.root != a.refresh[0].secret);
    assert_ne!(a.refresh[0].secret, b.refresh[0].secret);
    assert_ne!(a.access[0].kid(), b.access[0].kid());
}

#[test]
fn servers_that_start_together_agree() {
    let folder = tempfile::tempdir().unwrap();
    let kids: std::collections::HashSet<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| Keys::load_or_create(folder.path()).unwrap().access[0].kid().to_owned());
        let threads: Vec<_> = (0..8).map(|_| start()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(kids.len(), 1);
}

#[test]
fn damage_is_named() {
    let cases: [(&str, Change); 17] = [
        ("not a key file", |_| String::new()),
        ("not a key file", |_| "garbage \u{0} not toml".into()),
        ("not a key file", |text| text.replace("root_secret", "root_secrets")),
        ("not a key file", |text| text.lines().take(4).collect::<Vec<_>>().join("\n")),
        ("not a key file", |text| text.replace("provider_keys", "# provider_keys")),
        ("not a key file", |text| format!("{text}extra = 1\n")),
        ("version", |text| text.replace("version = 3", "version = 4")),
        ("not a key file", |text| text.replace("version = 3", "version = 2")),
        ("not a key file", |text| text.replace("provider_keys = [", "provider_keys = [] # [")),
        ("not a key file", |text| text.replace("refresh_secrets = [", "refresh_secrets = [] # [")),
        ("not a key file", |text| text.replace("access_keys_pkcs8 = [", "access_keys_pkcs8 = [] # [")),
        ("checksum", |text| text.replace("from = 0", "from = 1")),
        ("checksum", |text| text.replace("provider_keys = [\"", "provider_keys = [\"A")),
        ("checksum", |text| text.replace("root_secret = \"", "root_secret = \"A")),
        ("checksum", |text| text.replacen("key = \"", "key = \"A", 1)),
        ("checksum", |text| text.replace("key = \"M", "key = \"N")),
        ("checksum", |text| text.replace("sha256:", "sha256:x")),
    ];
    for (expected, change) in cases {
        let message = reload_after(change);
        assert!(message.contains("damaged") && message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn a_right_checksum_over_wrong_keys_is_not_enough() {
    for (secret, key, expected) in [
        (URL_SAFE_NO_PAD.encode([1; 31]), String::new(), "32 bytes"),
        (URL_SAFE_NO_PAD.encode([1; 32]), String::new(), "not random"),
        (URL_SAFE_NO_PAD.encode((0..32).collect::<Vec<u8>>()), URL_SAFE_NO_PAD.encode([2; 48]), "PKCS#8"),
        ("***".into(), String::new(), "base64url"),
    ] {
        let sum = file::old_checksum(1, &secret, &key, &[]);
        let text =
            format!("version = 1\nrefresh_secret = \"{secret}\"\naccess_key_pkcs8 = \"{key}\"\nchecksum = \"{sum}\"\n");
        assert!(Keys::from_text(&text).unwrap_err().contains(expected));
    }
}

/// A key file of one of the versions before, with one provider key where it knows any.
fn of_version(version: u32, keys: &Keys) -> String {
    let secret = URL_SAFE_NO_PAD.encode(*keys.refresh[0].secret);
    let key = URL_SAFE_NO_PAD.encode(&*keys.access[0].pkcs8);
    let provider = Zeroizing::new(URL_SAFE_NO_PAD.encode(*keys.for_providers[0]));
    let providers = if version == 1 { vec![] } else { vec![provider] };
    let sum = file::old_checksum(version, &secret, &key, &providers);
    let providers: Vec<_> = providers.iter().map(|key| format!("provider_keys = [\"{}\"]\n", **key)).collect();
    format!(
        "version = {version}\nrefresh_secret = \"{secret}\"\naccess_key_pkcs8 = \"{key}\"\n{}checksum = \"{sum}\"\n",
        providers.concat()
    )
}

#[test]
fn a_file_of_an_older_server_keeps_its_keys_and_gains_what_it_lacks() {
    for version in [1, 2] {
        let (folder, path, keys) = fresh();
        let text = of_version(version, &keys);
        fs::write(&path, &text).unwrap();
        let read = Keys::load_or_create(folder.path()).unwrap();
        assert!(read.has_same_tokens(&keys));
        // What was derived from the refresh secret still is.
        assert_eq!(read.root_secret(), &*keys.refresh[0].secret);
        assert_eq!((read.provider_keys().len(), read.provider_keys() == keys.provider_keys()), (1, version == 2));
        assert_eq!(fs::read_to_string(&path).unwrap() == text, version == 2, "nothing is missing in version 2");
        let saved = read.saved(folder.path()).unwrap();
        let again = Keys::load_or_create(folder.path()).unwrap();
        assert!(again.has_same_tokens(&keys) && again.is_of_one_file(&read) && saved.is_of_one_file(&read));
        assert_eq!(again.provider_keys(), read.provider_keys(), "once");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}

#[test]
fn the_checksum_of_the_older_version_is_what_it_was() {
    // Written by the server of that version.
    let sum = file::old_checksum(1, "c2VjcmV0", "a2V5", &[]);
    assert_eq!(sum, format!("sha256:{}", URL_SAFE_NO_PAD.encode(Sha256::digest("1\nc2VjcmV0\na2V5"))));
}

#[test]
fn a_further_key_leaves_the_others_in_place() {
    let (folder, _, keys) = fresh();
    let more = keys.clone().with_provider_key(folder.path()).unwrap().saved(folder.path()).unwrap();
    let again = Keys::load_or_create(folder.path()).unwrap();
    assert_eq!(again.provider_keys(), more.provider_keys());
    assert_eq!((again.provider_keys().len(), &again.provider_keys()[0]), (2, &keys.provider_keys()[0]));
    assert_ne!(again.provider_keys()[1], keys.provider_keys()[0]);
    assert!(again.has_same_tokens(&keys));
    let full = (2..MAX_PROVIDER_KEYS).fold(again, |keys, _| keys.with_provider_key(folder.path()).unwrap());
    full.saved(folder.path()).unwrap();
    assert!(full.with_provider_key(folder.path()).unwrap_err().to_string().contains("as fit"));
    assert_eq!(Keys::load_or_create(folder.path()).unwrap().provider_keys().len(), MAX_PROVIDER_KEYS);
}

const OVERLAP: Overlap = Overlap { access: Duration::from_mins(5), refresh: Duration::from_hours(24) };

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn states(keys: &Keys, kind: Kind, now: DateTime<Utc>) -> Vec<State> {
    keys.named(OVERLAP, now).into_iter().filter(|named| named.kind == kind).map(|named| named.state).collect()
}

#[test]
fn a_key_is_announced_makes_tokens_is_succeeded_and_is_forgotten() {
    for (kind, overlap) in [(Kind::Access, 300), (Kind::Refresh, 24 * 3600)] {
        let (folder, _, keys) = fresh();
        let rotate = |keys: Keys, now: i64| keys.with_token_key(folder.path(), kind, at(now + 60), (OVERLAP, at(now)));
        let keys = rotate(keys, 0).unwrap().saved(folder.path()).unwrap();
        assert_eq!(states(&keys, kind, at(59)), [State::Current, State::Announced { from: at(60) }]);
        let until = at(60 + overlap);
        assert_eq!(states(&keys, kind, at(60)), [State::Succeeded { until }, State::Current]);
        assert_eq!(states(&keys, kind, until), [State::Over, State::Current]);
        assert!(rotate(keys.clone(), 30).unwrap_err().to_string().contains("announced already"));
        // Within an hour of its end it is kept, for clocks that are behind.
        assert_eq!(states(&rotate(keys.clone(), 60 + overlap + 3599).unwrap(), kind, at(0)).len(), 3);
        assert_eq!(states(&rotate(keys.clone(), 60 + overlap + 3600).unwrap(), kind, at(0)).len(), 2);
        let other = if kind == Kind::Access { Kind::Refresh } else { Kind::Access };
        assert_eq!(states(&keys, other, at(0)), [State::Current], "the others stay");
        // So many at once fit, and no more.
        let many = (0..14).try_fold(keys, |keys, turn| rotate(keys, 61 + 61 * turn));
        let refused = rotate(many.unwrap(), 61 + 61 * 14).unwrap_err().to_string();
        assert!(refused.contains("as fit"), "{refused}");
    }
}

#[test]
fn a_full_file_can_be_read() {
    let (folder, _, mut keys) = fresh();
    for turn in 1..i64::try_from(MAX_TOKEN_KEYS).unwrap() {
        keys.refresh.push(RefreshSecret::generate(i64::MAX - turn).unwrap());
        keys.access.push(AccessKey::generate(i64::MAX - turn).unwrap());
    }
    for _ in 1..MAX_PROVIDER_KEYS {
        keys = keys.with_provider_key(folder.path()).unwrap();
    }
    assert!(keys.saved(folder.path()).unwrap().has_same_tokens(&keys));
}

#[test]
fn what_is_revoked_is_gone_and_something_else_makes_tokens_at_once() {
    for kind in [Kind::Access, Kind::Refresh] {
        let (folder, _, keys) = fresh();
        let name = |keys: &Keys, index: usize| {
            let named: Vec<_> = keys.named(OVERLAP, at(0)).into_iter().filter(|named| named.kind == kind).collect();
            named[index].name.clone()
        };
        // Without a successor there is a new key.
        let (alone, _) = keys.clone().without_token_key(&name(&keys, 0), (OVERLAP, at(0))).unwrap();
        assert_eq!(states(&alone, kind, at(0)), [State::Current]);
        assert_ne!(name(&alone, 0), name(&keys, 0));
        // The one that is announced takes over.
        let two = keys.clone().with_token_key(folder.path(), kind, at(60), (OVERLAP, at(0))).unwrap();
        let (left, found) = two.clone().without_token_key(&name(&two, 0), (OVERLAP, at(1))).unwrap();
        assert_eq!((found, states(&left, kind, at(1)), name(&left, 0)), (kind, vec![State::Current], name(&two, 1)));
        // It is itself revoked, before and after it took over.
        let (left, _) = two.clone().without_token_key(&name(&two, 1), (OVERLAP, at(1))).unwrap();
        assert_eq!((states(&left, kind, at(1)), name(&left, 0)), (vec![State::Current], name(&two, 0)));
        let (left, _) = two.clone().without_token_key(&name(&two, 1), (OVERLAP, at(61))).unwrap();
        let until = at(60) + OVERLAP.of_kind(kind);
        assert_eq!(
            states(&left, kind, at(61)),
            [State::Succeeded { until }, State::Current],
            "a third, and no longer for the first"
        );
        assert!(left.without_token_key(&name(&two, 1), (OVERLAP, at(61))).is_err());
    }
}

#[test]
fn what_is_over_stays_over_when_its_successor_is_revoked() {
    let name = |keys: &Keys, kind: Kind, index: usize| match kind {
        Kind::Access => keys.access[index].kid().to_owned(),
        Kind::Refresh => keys.refresh[index].name.clone(),
    };
    for kind in [Kind::Access, Kind::Refresh] {
        let (folder, _, keys) = fresh();
        let keys = keys.with_token_key(folder.path(), kind, at(60), (OVERLAP, at(0))).unwrap();
        let first = name(&keys, kind, 0);
        let now = at(60) + OVERLAP.of_kind(kind);
        assert_eq!(states(&keys, kind, now), [State::Over, State::Current]);
        let (left, _) = keys.clone().without_token_key(&name(&keys, kind, 1), (OVERLAP, now)).unwrap();
        assert_eq!(states(&left, kind, now), [State::Current]);
        assert_ne!(name(&left, kind, 0), first);
        // The one in the middle goes: the one before it ends no later than it would have.
        let keys = keys.with_token_key(folder.path(), kind, at(100), (OVERLAP, at(61))).unwrap();
        let until = at(60) + OVERLAP.of_kind(kind);
        assert_eq!(states(&keys, kind, at(101))[0], State::Succeeded { until });
        let (left, _) = keys.clone().without_token_key(&name(&keys, kind, 1), (OVERLAP, at(101))).unwrap();
        assert_eq!(states(&left, kind, at(101)), [State::Succeeded { until }, State::Current]);
    }
}

#[test]
fn a_running_service_follows_the_times_of_its_keys() {
    let (folder, _, keys) = fresh();
    let clock = Arc::new(ManualClock::at(at(0)));
    let keys = [Kind::Access, Kind::Refresh]
        .into_iter()
        .try_fold(keys, |keys, kind| keys.with_token_key(folder.path(), kind, at(60), (OVERLAP, at(0))))
        .unwrap();
    let live = LiveKeys::new(&keys, OVERLAP, clock.clone()).unwrap();
    let ids: Vec<_> = keys.refresh.iter().map(|key| TokenKey::from_secret(&*key.secret).unwrap().id()).collect();
    let day = 24 * 3600;
    for (seconds, newest, accepted, published) in [
        (0, 0, 2, 2),
        (59, 0, 2, 2),
        (60, 1, 2, 2),
        (359, 1, 2, 2),
        (360, 1, 2, 1),
        (59 + day, 1, 2, 1),
        (60 + day, 1, 1, 1),
    ] {
        clock.set(at(seconds));
        assert_eq!(live.newest().id(), ids[newest], "{seconds}");
        assert_eq!(ids.iter().filter(|id| live.find(**id).is_some()).count(), accepted, "{seconds}");
        assert_eq!(live.jwks()["keys"].as_array().unwrap().len(), published, "{seconds}");
    }
    // A clock that is behind all times still makes tokens.
    clock.set(DateTime::UNIX_EPOCH - chrono::TimeDelta::days(1));
    assert_eq!(live.newest().id(), ids[0]);
    clock.set(at(61));
    let (left, _) = keys.clone().without_token_key(&keys.refresh[0].name, (OVERLAP, at(61))).unwrap();
    live.replace(&left).unwrap();
    assert!(live.find(ids[0]).is_none() && live.find(ids[1]).is_some());
}

#[test]
fn that_a_key_is_revoked_is_told_and_that_one_is_succeeded_or_forgotten_is_not() {
    let (folder, _, keys) = fresh();
    let clock = Arc::new(ManualClock::at(at(0)));
    let live = LiveKeys::new(&keys, OVERLAP, clock.clone()).unwrap();
    let revocations = live.revocations();
    let two = [Kind::Access, Kind::Refresh]
        .into_iter()
        .try_fold(keys.clone(), |keys, kind| keys.with_token_key(folder.path(), kind, at(60), (OVERLAP, at(0))))
        .unwrap();
    live.replace(&two).unwrap();
    live.replace(&two).unwrap();
    assert!(!revocations.is_told());
    for name in [two.access[1].kid(), &two.refresh[0].name] {
        let (left, _) = two.clone().without_token_key(name, (OVERLAP, at(0))).unwrap();
        live.replace(&left).unwrap();
        assert!(revocations.is_told() && !live.revocations().is_told(), "those of before are told");
        live.replace(&two).unwrap();
    }
    // Nothing of the first ones is accepted by then.
    clock.set(at(60) + OVERLAP.refresh);
    let revocations = live.revocations();
    let mut left = two;
    drop((left.access.remove(0), left.refresh.remove(0)));
    live.replace(&left).unwrap();
    assert!(!revocations.is_told());
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_replaced_stays_as_it_is() {
    let (folder, path, keys) = fresh();
    let before = fs::read(&path).unwrap();
    let more = keys.with_provider_key(folder.path()).unwrap();
    // Where a folder lies in the way, nothing can be put there, not even by root.
    assert!(more.saved(&folder.path().join("no/such/folder")).is_err());
    let blocked = tempfile::tempdir().unwrap();
    fs::create_dir(blocked.path().join(FILE)).unwrap();
    let message = more.saved(blocked.path()).unwrap_err().to_string();
    assert!(message.contains("was not changed") && message.contains("cannot be written"), "{message}");
    assert_eq!(fs::read_dir(blocked.path()).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_has_become_of_a_change_that_failed_is_said() {
    let message = |why| not_replaced(Path::new("x"), &why).to_string();
    let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
    let owner = message(NotReplaced::Owner(denied()));
    assert!(owner.contains("was not changed") && owner.contains("cannot be given to the owner"), "{owner}");
    let unchanged = message(NotReplaced::Unchanged(denied()));
    assert!(unchanged.contains("was not changed") && unchanged.contains("permission denied"), "{unchanged}");
    let unsure = message(NotReplaced::Unsure(denied()));
    assert!(unsure.contains("was changed") && unsure.contains("the change is in place"), "{unsure}");
    assert!(unsure.contains("power cut") && !unsure.contains("not changed"), "{unsure}");
}

#[test]
fn bytes_that_are_no_text_are_damage() {
    let (folder, path, _) = fresh();
    fs::write(&path, [0xff, 0xfe, 0]).unwrap();
    assert!(Keys::load_or_create(folder.path()).unwrap_err().to_string().contains("not text"));
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, path, _) = fresh();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o660, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let message = Keys::load_or_create(folder.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("chmod 600 '{}'", path.display())), "{message}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    Keys::load_or_create(folder.path()).unwrap();
}

#[test]
fn debug_shows_no_key() {
    let (_folder, _, keys) = fresh();
    let debug = format!("{keys:?}");
    assert!(debug.contains(keys.access[0].kid()) && !debug.contains("provider_keys"));
    for secret in [&keys.root, &keys.refresh[0].secret] {
        assert!(!debug.contains(&URL_SAFE_NO_PAD.encode(**secret)));
    }
}
