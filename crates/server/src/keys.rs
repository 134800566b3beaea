//! The key file: the master secret of the refresh tokens, the Ed25519 key of the access tokens, and the keys under which the tokens of
//! providers are stored.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::exit::{StartError, reason};
use crate::files;
use crate::random;

const FILE: &str = "session-manager.keys";
const VERSION: u32 = 2;
/// The version before, which knew no providers. Its files are read, and gain a key.
const WITHOUT_PROVIDERS: u32 = 1;
/// The real file has about 500 bytes and 50 for each further key; whatever is longer is something else.
const MAX_BYTES: u64 = 16 * 1024;
/// So many keys of providers fit into the file.
const MAX_PROVIDER_KEYS: usize = 128;

/// The keys of this installation. `Debug` shows none of them; all are zeroised on drop.
#[derive(Clone)]
pub(crate) struct Keys {
    refresh_secret: Zeroizing<[u8; 32]>,
    access_key_pkcs8: Zeroizing<Vec<u8>>,
    access_public_key: Vec<u8>,
    kid: String,
    /// Oldest first; the newest encrypts.
    for_providers: Vec<Zeroizing<[u8; 32]>>,
}

impl Keys {
    /// Reads the key file in `folder`, or makes folder and file when there is none.
    ///
    /// # Errors
    /// The folder cannot be written, others may read the file, or its content is damaged. A damaged file is never replaced:
    /// every session signed with it would end.
    pub(crate) fn load_or_create(folder: &Path) -> Result<Self, StartError> {
        let path = folder.join(FILE);
        files::make_folder(folder).map_err(|error| unwritable(&path, &error))?;
        if !path.exists() {
            let keys = Self::generate().map_err(cannot_be_made)?;
            match files::write_new(folder, FILE, keys.to_text().as_bytes()) {
                Ok(()) => {}
                // Another server was faster; its keys count.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unwritable(&path, &error)),
            }
        }
        let keys = Self::read(&path)?;
        if keys.for_providers.is_empty() { keys.with_provider_key(folder) } else { Ok(keys) }
    }

    /// Adds a key under which the tokens of providers are stored from now on, and replaces the file in one step. The older keys stay: what
    /// they encrypted can still be read.
    ///
    /// # Behaviour
    /// Who calls this holds the lock of the data folder. A server that is running uses the new key after its next start.
    ///
    /// # Errors
    /// The file cannot be written, or holds as many keys as fit.
    pub(crate) fn with_provider_key(mut self, folder: &Path) -> Result<Self, StartError> {
        let path = folder.join(FILE);
        if self.for_providers.len() >= MAX_PROVIDER_KEYS {
            let why = "it holds as many keys of providers as fit";
            let remedy =
                "Connections that are made anew or refreshed use the newest key; the others need the older ones.";
            return Err(StartError::environment(format!("no key can be added to {}", path.display()), why, remedy));
        }
        self.for_providers.push(new_key().map_err(cannot_be_made)?);
        files::write_unique(folder, FILE, self.to_text().as_bytes()).map_err(|error| unwritable(&path, &error))?;
        Self::read(&path)
    }

    fn read(path: &Path) -> Result<Self, StartError> {
        Self::from_text(&read(path)?).map_err(|why| damaged(path, why))
    }

    /// 32 bytes each, oldest first: all decrypt the tokens of providers, and the last one encrypts them. There is at least one.
    pub(crate) fn provider_keys(&self) -> &[Zeroizing<[u8; 32]>] {
        &self.for_providers
    }

    /// 32 bytes from which the refresh-token keys are derived.
    pub(crate) fn refresh_secret(&self) -> &[u8; 32] {
        &self.refresh_secret
    }

    /// The private key of the access tokens, Ed25519 as PKCS#8 DER (RFC 5958 with the public key).
    pub(crate) fn access_key_pkcs8(&self) -> &[u8] {
        &self.access_key_pkcs8
    }

    /// The public key of the access tokens, 32 raw bytes.
    pub(crate) fn access_public_key(&self) -> &[u8] {
        &self.access_public_key
    }

    /// The name of both keys in token headers.
    #[cfg_attr(not(test), expect(dead_code, reason = "the backend names its keys itself; this names the file"))]
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    fn generate() -> Result<Self, &'static str> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| "the Ed25519 key could not be generated")?;
        Self::assemble(new_key()?, Zeroizing::new(document.as_ref().to_vec()), vec![new_key()?])
    }

    fn assemble(
        refresh_secret: Zeroizing<[u8; 32]>,
        pkcs8: Zeroizing<Vec<u8>>,
        provider_keys: Vec<Zeroizing<[u8; 32]>>,
    ) -> Result<Self, &'static str> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| "its access key is not an Ed25519 key in PKCS#8")?;
        let access_public_key = pair.public_key().as_ref().to_vec();
        // Named after the public key, so that the name changes whenever the keys do.
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(&access_public_key)).chars().take(11).collect();
        Ok(Self { refresh_secret, access_key_pkcs8: pkcs8, access_public_key, kid, for_providers: provider_keys })
    }

    fn to_text(&self) -> Zeroizing<String> {
        // Room for all of it, so that no growing buffer leaves a copy of the secrets behind.
        let mut text = Zeroizing::new(String::with_capacity(2048 + 64 * self.for_providers.len()));
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.refresh_secret));
        let key = Zeroizing::new(URL_SAFE_NO_PAD.encode(&*self.access_key_pkcs8));
        let encoded = |key: &Zeroizing<[u8; 32]>| Zeroizing::new(URL_SAFE_NO_PAD.encode(**key));
        let provider_keys: Vec<_> = self.for_providers.iter().map(encoded).collect();
        let checksum = checksum(VERSION, &secret, &key, &provider_keys);
        let mut list = Zeroizing::new(String::with_capacity(64 * self.for_providers.len()));
        for key in &provider_keys {
            let before = if list.is_empty() { "\"" } else { ", \"" };
            list.push_str(before);
            list.push_str(key);
            list.push('"');
        }
        let written = writeln!(
            text,
            "# Keys of session-manager-server. Keep this file secret and in the backup: who reads it can sign in as anybody,\n\
             # and without it every session ends and every connection to a provider has to be made anew.\n\
             version = {VERSION}\nrefresh_secret = \"{}\"\naccess_key_pkcs8 = \"{}\"\n\
             # Oldest first; the last one encrypts.\nprovider_keys = [{}]\nchecksum = \"{checksum}\"",
            *secret, *key, *list,
        );
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        text
    }

    fn from_text(text: &str) -> Result<Self, &'static str> {
        // The parser's own message quotes the line, which holds a secret.
        let file: KeyFile = toml::from_str(text).map_err(|_| "it is not a key file of this server")?;
        let provider_keys = match (file.version, file.provider_keys) {
            (WITHOUT_PROVIDERS, None) => Vec::new(),
            (VERSION, Some(keys)) if !keys.is_empty() => keys,
            (WITHOUT_PROVIDERS | VERSION, _) => return Err("it is not a key file of this server"),
            _ => return Err("it has a version that this server does not know"),
        };
        if checksum(file.version, &file.refresh_secret, &file.access_key_pkcs8, &provider_keys) != file.checksum {
            return Err("its checksum is wrong, so something changed it");
        }
        let secret = decode_key(&file.refresh_secret, "its refresh secret is not 32 bytes long")?;
        let decode_provider_key = |key: &Zeroizing<String>| decode_key(key, "a key of providers is not 32 bytes long");
        let provider_keys = provider_keys.iter().map(decode_provider_key).collect::<Result<_, _>>()?;
        Self::assemble(secret, decode(&file.access_key_pkcs8)?, provider_keys)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    refresh_secret: Zeroizing<String>,
    access_key_pkcs8: Zeroizing<String>,
    provider_keys: Option<Vec<Zeroizing<String>>>,
    checksum: String,
}

fn checksum(version: u32, secret: &str, key: &str, provider_keys: &[Zeroizing<String>]) -> String {
    let mut hash =
        Sha256::new().chain_update(format!("{version}\n")).chain_update(secret).chain_update("\n").chain_update(key);
    for key in provider_keys {
        hash = hash.chain_update("\n").chain_update(key.as_bytes());
    }
    format!("sha256:{}", URL_SAFE_NO_PAD.encode(hash.finalize()))
}

fn new_key() -> Result<Zeroizing<[u8; 32]>, &'static str> {
    random::bytes().map(Zeroizing::new).map_err(|_| "the operating system gave no randomness")
}

fn decode_key(text: &str, wrong: &'static str) -> Result<Zeroizing<[u8; 32]>, &'static str> {
    let decoded = decode(text)?;
    <[u8; 32]>::try_from(decoded.as_slice()).map(Zeroizing::new).map_err(|_| wrong)
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| "a key in it is not base64url")
}

fn read(path: &Path) -> Result<Zeroizing<String>, StartError> {
    let unreadable = |error: io::Error| {
        StartError::environment(
            format!("the key file {} cannot be read", path.display()),
            reason(&error),
            "Check its owner and permissions, or restore it from the backup.",
        )
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    files::require_private("key file", path, &found, " — and make new keys if somebody may have read it")?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(2048));
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(damaged(path, "it is not text")),
    }
}

fn cannot_be_made(why: &'static str) -> StartError {
    StartError::environment("no keys can be made", why, "Check the system's source of randomness.")
}

fn unwritable(path: &Path, error: &io::Error) -> StartError {
    StartError::environment(
        format!("the key file {} cannot be made", path.display()),
        reason(error),
        "Give the server a folder it may write to, with --data FOLDER.",
    )
}

fn damaged(path: &Path, why: &str) -> StartError {
    StartError::environment(
        format!("the key file {} is damaged", path.display()),
        why,
        "Restore it from the backup; or move it away to get new keys, which ends every session.",
    )
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
