//! The key file as text.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{AccessKey, Keys, RefreshSecret};

pub(super) const VERSION: u32 = 3;
/// The version before, with one key of each kind of token, and the refresh secret for the root too.
const WITHOUT_TIMES: u32 = 2;
/// The version before that, which knew no providers. Its files are read, and gain a key.
pub(super) const WITHOUT_PROVIDERS: u32 = 1;

const UNKNOWN: &str = "it is not a key file of this server";

type Text = Zeroizing<String>;

#[derive(Deserialize)]
struct AnyFile {
    version: u32,
}

/// Versions 1 and 2.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldFile {
    version: u32,
    refresh_secret: Text,
    access_key_pkcs8: Text,
    provider_keys: Option<Vec<Text>>,
    checksum: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    root_secret: Text,
    refresh_secrets: Vec<TimedKey>,
    access_keys_pkcs8: Vec<TimedKey>,
    provider_keys: Vec<Text>,
    checksum: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimedKey {
    from: i64,
    key: Text,
}

impl Keys {
    pub(super) fn to_text(&self) -> Text {
        // Room for all of it, so that no growing buffer leaves a copy of the secrets behind.
        let keys = self.refresh.len() + self.access.len() + self.for_providers.len();
        let mut text = Zeroizing::new(String::with_capacity(2048 + 256 * keys));
        let root = encoded(&*self.root);
        let timed = |from: i64, key: &[u8]| TimedKey { from, key: encoded(key) };
        let refresh: Vec<_> = self.refresh.iter().map(|key| timed(key.from, &*key.secret)).collect();
        let access: Vec<_> = self.access.iter().map(|key| timed(key.from, &key.pkcs8)).collect();
        let providers: Vec<_> = self.for_providers.iter().map(|key| encoded(&**key)).collect();
        let checksum = checksum(VERSION, &root, &refresh, &access, &providers);
        let written = write!(
            text,
            "# Keys of session-manager-server. Keep this file secret and in the backup: who reads it can sign in as anybody,\n\
             # and without it every session ends and every connection to a provider has to be made anew.\n\
             version = {VERSION}\nroot_secret = \"{}\"\n\
             # `from` is in seconds since 1970: of the times that have come, the latest makes the tokens.\n\
             refresh_secrets = [",
            *root,
        )
        .and_then(|()| write_timed(&mut text, &refresh))
        .and_then(|()| text.write_str("]\naccess_keys_pkcs8 = ["))
        .and_then(|()| write_timed(&mut text, &access))
        .and_then(|()| text.write_str("]\n# Oldest first; the last one encrypts.\nprovider_keys = ["))
        .and_then(|()| providers.iter().try_for_each(|key| write!(text, "\"{}\", ", **key)))
        .and_then(|()| writeln!(text, "]\nchecksum = \"{checksum}\""));
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        text
    }

    pub(super) fn from_text(text: &str) -> Result<Self, &'static str> {
        // The parser's own message quotes the line, which holds a secret.
        let AnyFile { version } = toml::from_str(text).map_err(|_| UNKNOWN)?;
        match version {
            WITHOUT_PROVIDERS | WITHOUT_TIMES => Self::from_old(toml::from_str(text).map_err(|_| UNKNOWN)?),
            VERSION => Self::from_file(&toml::from_str(text).map_err(|_| UNKNOWN)?),
            _ => Err("it has a version that this server does not know"),
        }
    }

    fn from_file(file: &KeyFile) -> Result<Self, &'static str> {
        let KeyFile { version, root_secret, refresh_secrets, access_keys_pkcs8, provider_keys, checksum } = file;
        if refresh_secrets.is_empty() || access_keys_pkcs8.is_empty() || provider_keys.is_empty() {
            return Err(UNKNOWN);
        }
        if self::checksum(*version, root_secret, refresh_secrets, access_keys_pkcs8, provider_keys) != *checksum {
            return Err("its checksum is wrong, so something changed it");
        }
        let refresh = refresh_secrets.iter().map(|key| RefreshSecret::new(refresh_secret(&key.key)?, key.from));
        let access = access_keys_pkcs8.iter().map(|key| AccessKey::new(decode(&key.key)?, key.from));
        Ok(Self {
            root: decode_key(root_secret, "its root secret is not 32 bytes long")?,
            refresh: refresh.collect::<Result<_, _>>()?,
            access: access.collect::<Result<_, _>>()?,
            for_providers: providers(provider_keys)?,
        })
    }

    fn from_old(file: OldFile) -> Result<Self, &'static str> {
        let provider_keys = match (file.version, file.provider_keys) {
            (WITHOUT_PROVIDERS, None) => Vec::new(),
            (WITHOUT_TIMES, Some(keys)) if !keys.is_empty() => keys,
            _ => return Err(UNKNOWN),
        };
        if old_checksum(file.version, &file.refresh_secret, &file.access_key_pkcs8, &provider_keys) != file.checksum {
            return Err("its checksum is wrong, so something changed it");
        }
        let secret = refresh_secret(&file.refresh_secret)?;
        Ok(Self {
            root: secret.clone(),
            refresh: vec![RefreshSecret::new(secret, 0)?],
            access: vec![AccessKey::new(decode(&file.access_key_pkcs8)?, 0)?],
            for_providers: providers(&provider_keys)?,
        })
    }
}

fn write_timed(text: &mut String, keys: &[TimedKey]) -> std::fmt::Result {
    keys.iter().try_for_each(|TimedKey { from, key }| write!(text, "{{ from = {from}, key = \"{}\" }}, ", **key))
}

fn checksum(version: u32, root: &str, refresh: &[TimedKey], access: &[TimedKey], providers: &[Text]) -> String {
    let mut hash = Sha256::new().chain_update(format!("{version}\nroot ")).chain_update(root);
    for (kind, keys) in [("refresh", refresh), ("access", access)] {
        for TimedKey { from, key } in keys {
            hash = hash.chain_update(format!("\n{kind} {from} ")).chain_update(key.as_bytes());
        }
    }
    for key in providers {
        hash = hash.chain_update("\nprovider ").chain_update(key.as_bytes());
    }
    format!("sha256:{}", URL_SAFE_NO_PAD.encode(hash.finalize()))
}

pub(super) fn old_checksum(version: u32, secret: &str, key: &str, provider_keys: &[Text]) -> String {
    let mut hash =
        Sha256::new().chain_update(format!("{version}\n")).chain_update(secret).chain_update("\n").chain_update(key);
    for key in provider_keys {
        hash = hash.chain_update("\n").chain_update(key.as_bytes());
    }
    format!("sha256:{}", URL_SAFE_NO_PAD.encode(hash.finalize()))
}

fn refresh_secret(text: &str) -> Result<Zeroizing<[u8; 32]>, &'static str> {
    decode_key(text, "its refresh secret is not 32 bytes long")
}

fn providers(keys: &[Text]) -> Result<Vec<Zeroizing<[u8; 32]>>, &'static str> {
    keys.iter().map(|key| decode_key(key, "a key of providers is not 32 bytes long")).collect()
}

fn encoded(key: &[u8]) -> Text {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(key))
}

fn decode_key(text: &str, wrong: &'static str) -> Result<Zeroizing<[u8; 32]>, &'static str> {
    let decoded = decode(text)?;
    <[u8; 32]>::try_from(decoded.as_slice()).map(Zeroizing::new).map_err(|_| wrong)
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| "a key in it is not base64url")
}
