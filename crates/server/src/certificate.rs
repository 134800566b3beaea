//! The certificate and private key of the listener, from PEM files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, Error as PathError, KeyUsage};
use zeroize::Zeroizing;

use crate::exit::{StartError, reason};
use crate::files;

/// A chain has a few kilobytes; whatever is longer than this is something else.
const MAX_BYTES: u64 = 1024 * 1024;
/// Those that are renewed by themselves have been by then.
const SOON: Duration = Duration::from_hours(14 * 24);

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The chain: the server's own first.
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// A certificate with its key, as read. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    certified: Arc<CertifiedKey>,
    /// Of both files.
    digest: [u8; 32],
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// A file that cannot be read, is not PEM or holds something else; a key that others may read, or that belongs to another certificate.
    pub(crate) async fn read(&self) -> Result<Pair, StartError> {
        let own = self.clone();
        tokio::task::spawn_blocking(move || own.read_now()).await.map_err(|error| {
            StartError::environment("the TLS certificate cannot be read", error.to_string(), "Try it again.")
        })?
    }

    fn read_now(&self) -> Result<Pair, StartError> {
        let chain_bytes = read(&self.chain, "TLS certificate", "tls.certificate", |_| Ok(()))?;
        let key_bytes = read(&self.key, "TLS key", "tls.key", |found| {
            files::require_private(
                "TLS key",
                &self.key,
                found,
                " — and get a certificate for a new key if somebody may have read it",
            )
        })?;
        let chain =
            chain(&chain_bytes).map_err(|why| unusable("TLS certificate", &self.chain, why, "tls.certificate"))?;
        let key = private_key(&key_bytes).map_err(|why| unusable("TLS key", &self.key, why, "tls.key"))?;
        let certified = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider());
        let certified = certified.map_err(|error| self.misfit(&error))?;
        let digest =
            Sha256::new().chain_update(Sha256::digest(&*chain_bytes)).chain_update(Sha256::digest(&*key_bytes));
        Ok(Pair { certified: Arc::new(certified), digest: digest.finalize().into() })
    }

    fn misfit(&self, error: &TlsError) -> StartError {
        match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => StartError::environment(
                format!(
                    "the TLS key {} does not belong to the certificate {}",
                    self.key.display(),
                    self.chain.display()
                ),
                "they hold different public keys",
                "Correct `tls.certificate` or `tls.key`; the server's own certificate comes first in the chain.",
            ),
            TlsError::InvalidCertificate(_) => {
                unusable("TLS certificate", &self.chain, "it is not one of X.509", "tls.certificate")
            }
            _ => {
                let why = "it is of a kind that is not known here: RSA of 2048 bits or more, ECDSA of P-256 or P-384, and Ed25519 are";
                unusable("TLS key", &self.key, why, "tls.key")
            }
        }
    }
}

impl Pair {
    /// As rustls takes it.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// Whether it is from the same bytes.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// What clients will not like about it: it is expired, or soon will be, or is for other names than this host. Who issued it is not asked.
    pub(crate) fn concerns(&self, host: Option<&str>, now: DateTime<Utc>) -> Vec<String> {
        let Some(certificate) = self.certified.cert.first() else { return Vec::new() };
        let Ok(certificate) = EndEntityCert::try_from(certificate) else {
            return vec![
                "the TLS certificate has a form that many clients refuse (it is not one of X.509 v3)".to_owned(),
            ];
        };
        let mut concerns = Vec::new();
        let is_expired = |at| matches!(validity(&certificate, at), Some(PathError::CertExpired { .. }));
        match validity(&certificate, now) {
            Some(PathError::CertExpired { not_after, .. }) => {
                concerns.push(format!("the TLS certificate has expired ({}): clients refuse it", date(not_after)));
            }
            Some(PathError::CertNotValidYet { not_before, .. }) => {
                concerns.push(format!(
                    "the TLS certificate is valid from {} on: until then clients refuse it",
                    date(not_before)
                ));
            }
            _ if is_expired(now + SOON) => {
                concerns.push("the TLS certificate expires within fourteen days: renew it".to_owned());
            }
            _ => {}
        }
        let name = host.and_then(|host| ServerName::try_from(host.trim_matches(['[', ']'])).ok());
        if let (Some(host), Some(name)) = (host, name)
            && certificate.verify_is_valid_for_subject_name(&name).is_err()
        {
            concerns.push(format!("the TLS certificate is not for {host}, the host of public_url: clients refuse it"));
        }
        concerns
    }
}

/// What is wrong with its time. The time is looked at before the issuer, of which none is known here.
fn validity(certificate: &EndEntityCert<'_>, at: DateTime<Utc>) -> Option<PathError> {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0)));
    certificate.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(|| "long ago".to_owned(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|error| not_pem(&error))?;
    if found.is_empty() { Err("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)") } else { Ok(found) }
}

fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        PemError::NoItemsFound if bytes.windows(29).any(|part| part == b"BEGIN ENCRYPTED PRIVATE KEY--") => {
            "it is encrypted with a password; write it without one (openssl pkey -in KEY -out KEY.pem)"
        }
        PemError::NoItemsFound => "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----)",
        other => not_pem(&other),
    })
}

/// The parser's own words quote the file.
fn not_pem(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => {
            "it is not PEM: a section has no end, so that a part of the file is missing"
        }
        _ => "it is not PEM",
    }
}

fn read(
    path: &Path,
    what: &str,
    key: &str,
    check: impl FnOnce(&std::fs::Metadata) -> Result<(), StartError>,
) -> Result<Zeroizing<Vec<u8>>, StartError> {
    let unreadable = |error: io::Error| {
        let remedy = format!("Correct `{key}`, or the owner and permissions of the file.");
        StartError::environment(format!("the {what} {} cannot be read", path.display()), reason(&error), remedy)
    };
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if found.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    check(&found)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn unusable(what: &str, path: &Path, why: &str, key: &str) -> StartError {
    let remedy = format!("Correct `{key}`, or put the right file there.");
    StartError::environment(format!("the {what} {} cannot be used", path.display()), why, remedy)
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
