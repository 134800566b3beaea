//! Making, reading and damaging key files.

use std::path::PathBuf;

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
    assert_eq!(again.refresh_secret(), keys.refresh_secret());
    assert_eq!(again.access_key_pkcs8(), keys.access_key_pkcs8());
    assert_eq!((again.kid(), again.access_public_key()), (keys.kid(), keys.access_public_key()));
    assert_eq!(keys.access_public_key().len(), 32);
}

#[test]
fn every_installation_has_its_own() {
    let ((_a, _, a), (_b, _, b)) = (fresh(), fresh());
    assert_ne!(a.refresh_secret(), b.refresh_secret());
    assert_ne!(a.kid(), b.kid());
}

#[test]
fn servers_that_start_together_agree() {
    let folder = tempfile::tempdir().unwrap();
    let kids: std::collections::HashSet<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| Keys::load_or_create(folder.path()).unwrap().kid().to_owned());
        let threads: Vec<_> = (0..8).map(|_| start()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(kids.len(), 1);
}

#[test]
fn damage_is_named() {
    let cases: [(&str, Change); 13] = [
        ("not a key file", |_| String::new()),
        ("not a key file", |_| "garbage \u{0} not toml".into()),
        ("not a key file", |text| text.replace("refresh_secret", "refresh_secrets")),
        ("not a key file", |text| text.lines().take(4).collect::<Vec<_>>().join("\n")),
        ("not a key file", |text| text.replace("provider_keys", "# provider_keys")),
        ("not a key file", |text| format!("{text}extra = 1\n")),
        ("version", |text| text.replace("version = 2", "version = 3")),
        ("not a key file", |text| text.replace("version = 2", "version = 1")),
        ("not a key file", |text| text.replace("provider_keys = [", "provider_keys = [] # [")),
        ("checksum", |text| text.replace("provider_keys = [\"", "provider_keys = [\"A")),
        ("checksum", |text| text.replace("refresh_secret = \"", "refresh_secret = \"A")),
        ("checksum", |text| text.replace("access_key_pkcs8 = \"M", "access_key_pkcs8 = \"N")),
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
        (URL_SAFE_NO_PAD.encode([1; 32]), URL_SAFE_NO_PAD.encode([2; 48]), "PKCS#8"),
        ("***".into(), String::new(), "base64url"),
    ] {
        let sum = checksum(1, &secret, &key, &[]);
        let text =
            format!("version = 1\nrefresh_secret = \"{secret}\"\naccess_key_pkcs8 = \"{key}\"\nchecksum = \"{sum}\"\n");
        assert!(Keys::from_text(&text).unwrap_err().contains(expected));
    }
}

/// A key file of the version before.
fn of_version_1(keys: &Keys) -> String {
    let secret = URL_SAFE_NO_PAD.encode(keys.refresh_secret());
    let key = URL_SAFE_NO_PAD.encode(keys.access_key_pkcs8());
    let sum = checksum(1, &secret, &key, &[]);
    format!("version = 1\nrefresh_secret = \"{secret}\"\naccess_key_pkcs8 = \"{key}\"\nchecksum = \"{sum}\"\n")
}

#[test]
fn a_file_of_an_older_server_keeps_its_keys_and_gains_one() {
    let (folder, path, keys) = fresh();
    fs::write(&path, of_version_1(&keys)).unwrap();
    let gained = Keys::load_or_create(folder.path()).unwrap();
    assert_eq!(gained.refresh_secret(), keys.refresh_secret());
    assert_eq!(gained.access_key_pkcs8(), keys.access_key_pkcs8());
    assert_eq!(gained.provider_keys().len(), 1);
    assert_ne!(gained.provider_keys(), keys.provider_keys());
    let again = Keys::load_or_create(folder.path()).unwrap();
    assert_eq!(again.provider_keys(), gained.provider_keys(), "once");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn the_checksum_of_the_older_version_is_what_it_was() {
    // Written by the server of that version.
    let sum = checksum(1, "c2VjcmV0", "a2V5", &[]);
    assert_eq!(sum, format!("sha256:{}", URL_SAFE_NO_PAD.encode(Sha256::digest("1\nc2VjcmV0\na2V5"))));
}

#[test]
fn a_further_key_leaves_the_others_in_place() {
    let (folder, _, keys) = fresh();
    let more = keys.clone().with_provider_key(folder.path()).unwrap();
    let again = Keys::load_or_create(folder.path()).unwrap();
    assert_eq!(again.provider_keys(), more.provider_keys());
    assert_eq!((again.provider_keys().len(), &again.provider_keys()[0]), (2, &keys.provider_keys()[0]));
    assert_ne!(again.provider_keys()[1], keys.provider_keys()[0]);
    assert_eq!(again.kid(), keys.kid());
    let full = (2..MAX_PROVIDER_KEYS).fold(again, |keys, _| keys.with_provider_key(folder.path()).unwrap());
    assert!(full.with_provider_key(folder.path()).unwrap_err().to_string().contains("as fit"));
    assert_eq!(Keys::load_or_create(folder.path()).unwrap().provider_keys().len(), MAX_PROVIDER_KEYS);
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
    assert!(!debug.contains(&URL_SAFE_NO_PAD.encode(keys.refresh_secret())) && debug.contains(keys.kid()));
    assert!(!debug.contains("provider_keys"));
}
