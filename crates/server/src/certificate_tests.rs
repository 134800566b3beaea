//! Reading certificates and keys, and what is wrong with them.

use std::fs;

use rcgen::{CertificateParams, KeyPair};
use session_manager_core::{Clock as _, SystemClock};

use super::*;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn certificate(&self) -> Certificate {
        Certificate { chain: self.folder.path().join("chain.pem"), key: self.folder.path().join("key.pem") }
    }

    fn write(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) {
        fs::write(self.certificate().chain, chain).unwrap();
        let path = self.certificate().key;
        let _ = fs::remove_file(&path);
        fs::write(&path, key).unwrap();
        #[cfg(unix)]
        mode(&path, 0o600);
    }

    async fn refused(&self) -> String {
        let message = self.certificate().read().await.unwrap_err().to_string();
        assert!(!message.contains('\n') && !message.contains("MII"), "{message}");
        message
    }
}

#[cfg(unix)]
fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

/// A certificate for `accounts.example.org` and 127.0.0.1, valid from so many days before now until so many after it.
fn made(from: i64, until: i64) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["accounts.example.org".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let day = |days: i64| {
        let at = SystemClock.now() + chrono::TimeDelta::days(days);
        let (year, month, day) =
            (chrono::Datelike::year(&at), chrono::Datelike::month(&at), chrono::Datelike::day(&at));
        rcgen::date_time_ymd(year, u8::try_from(month).unwrap(), u8::try_from(day).unwrap())
    };
    (params.not_before, params.not_after) = (day(from), day(until));
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn what_is_no_pair_is_named_with_its_file_and_key() {
    let files = Files::new();
    let (chain, key) = made(-1, 90);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for (chain, key, expected) in [
        (&b""[..], key.as_bytes(), ["chain.pem cannot be used", "holds no certificate"]),
        (b"hello", key.as_bytes(), ["chain.pem cannot be used", "holds no certificate"]),
        (key.as_bytes(), key.as_bytes(), ["chain.pem cannot be used", "holds no certificate"]),
        (&chain.as_bytes()[..100], key.as_bytes(), ["chain.pem cannot be used", "has no end"]),
        (damaged.as_bytes(), key.as_bytes(), ["chain.pem cannot be used", "not one of X.509"]),
        (chain.as_bytes(), b"", ["key.pem cannot be used", "holds no private key"]),
        (chain.as_bytes(), chain.as_bytes(), ["key.pem cannot be used", "holds no private key"]),
        (chain.as_bytes(), encrypted.as_bytes(), ["key.pem cannot be used", "encrypted with a password"]),
        (chain.as_bytes(), made(-1, 90).1.as_bytes(), ["does not belong to the certificate", "different public keys"]),
    ] {
        files.write(chain, key);
        let message = files.refused().await;
        assert!(
            expected.iter().all(|part| message.contains(part)) && message.contains("`tls."),
            "{expected:?}: {message}"
        );
    }
    files.write(&chain, &key);
    files.certificate().read().await.unwrap();
    files.write(chain + &made(-1, 90).0, &key);
    assert_eq!(files.certificate().read().await.unwrap().certified().cert.len(), 2, "the whole chain is sent");
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let files = Files::new();
    assert!(files.refused().await.contains("chain.pem cannot be read: no such file"));
    files.write(made(-1, 90).0, "");
    fs::remove_file(files.certificate().key).unwrap();
    let message = files.refused().await;
    assert!(message.contains("key.pem cannot be read: no such file") && message.contains("`tls.key`"), "{message}");
    fs::create_dir(files.certificate().key).unwrap();
    assert!(files.refused().await.contains("it is a folder"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_others_may_read_is_refused() {
    let files = Files::new();
    let (chain, key) = made(-1, 90);
    files.write(chain, key);
    for open in [0o640, 0o604, 0o660] {
        mode(&files.certificate().key, open);
        let message = files.refused().await;
        assert!(message.contains(&format!("chmod 600 '{}'", files.certificate().key.display())), "{message}");
    }
    mode(&files.certificate().key, 0o400);
    mode(&files.certificate().chain, 0o644);
    files.certificate().read().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_clients_refuse_is_taken_and_told_of() {
    let files = Files::new();
    let now = SystemClock.now();
    for (from, until, host, expected) in [
        (-1, 90, "accounts.example.org", None),
        (-1, 90, "127.0.0.1", None),
        (-1, 90, "example.org", Some("is not for example.org")),
        (-1, 90, "[::1]", Some("is not for [::1]")),
        (-9, -2, "accounts.example.org", Some("has expired")),
        (2, 90, "accounts.example.org", Some("is valid from")),
        (-9, 13, "accounts.example.org", Some("expires within fourteen days")),
    ] {
        let (chain, key) = made(from, until);
        files.write(chain, key);
        let concerns = files.certificate().read().await.unwrap().concerns(Some(host), now);
        assert_eq!(concerns.len(), usize::from(expected.is_some()), "{concerns:?}");
        assert!(expected.is_none_or(|expected| concerns[0].contains(expected)), "{concerns:?}");
    }
}

#[tokio::test]
async fn a_pair_is_the_same_until_one_of_its_files_changes() {
    let files = Files::new();
    let (chain, key) = made(-1, 90);
    files.write(&chain, &key);
    let read = files.certificate().read().await.unwrap();
    assert!(read.is_same(&files.certificate().read().await.unwrap()));
    files.write(chain.clone() + "\n", &key);
    assert!(!read.is_same(&files.certificate().read().await.unwrap()));
    assert!(!format!("{read:?}").contains("PRIVATE"));
}
