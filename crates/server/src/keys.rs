//! The key file: the root secret, the secrets of the refresh tokens, the Ed25519 keys of the access tokens, and the keys under which the
//! tokens of providers are stored.

mod change;
mod file;
mod live;

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use session_manager::backend_jwt::SigningKey;
use session_manager::token::TokenKey;
use zeroize::Zeroizing;

use crate::exit::{StartError, reason};
use crate::files::{self, NotReplaced};
use crate::random;

pub(crate) use change::{Kind, Named, Overlap, State};
pub(crate) use live::{LiveKeys, Revocations};

const FILE: &str = "session-manager.keys";
/// The real file has about 600 bytes, and 200 at most for each further key; whatever is longer is something else.
const MAX_BYTES: u64 = 16 * 1024;
/// So many keys of providers fit into the file.
const MAX_PROVIDER_KEYS: usize = 128;
/// So many keys of each kind of token fit into the file: one signs, one is announced, and the others wait for the last of their tokens.
const MAX_TOKEN_KEYS: usize = 16;

/// The keys of this installation. `Debug` shows none of them; all are zeroised on drop.
#[derive(Clone)]
pub(crate) struct Keys {
    /// For what is not rotated: the chain of the audit table and the secrets of devices.
    root: Zeroizing<[u8; 32]>,
    /// By the time from which on they make tokens. There is at least one of each.
    refresh: Vec<RefreshSecret>,
    access: Vec<AccessKey>,
    /// Oldest first; the newest encrypts.
    for_providers: Vec<Zeroizing<[u8; 32]>>,
}

/// What refresh tokens, and opaque access tokens, are made with.
#[derive(Clone)]
struct RefreshSecret {
    secret: Zeroizing<[u8; 32]>,
    name: String,
    /// Seconds since 1970.
    from: i64,
}

/// What access tokens are signed with: Ed25519 as PKCS#8 DER (RFC 5958 with the public key).
#[derive(Clone)]
struct AccessKey {
    pkcs8: Zeroizing<Vec<u8>>,
    signing: SigningKey,
    from: i64,
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
        files::give_folder_to_owner_above(folder);
        if !path.exists() {
            let keys = Self::generate().map_err(cannot_be_made)?;
            match files::write_new(folder, FILE, keys.to_text().as_bytes()) {
                Ok(()) => {}
                // Another server was faster; its keys count.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unwritable(&path, &error)),
            }
        }
        let keys = Self::load(folder)?;
        if keys.for_providers.is_empty() { keys.with_provider_key(folder)?.saved(folder) } else { Ok(keys) }
    }

    /// Reads the key file in `folder`, which is there.
    ///
    /// # Errors
    /// Those of [`Keys::load_or_create`].
    pub(crate) fn load(folder: &Path) -> Result<Self, StartError> {
        let path = folder.join(FILE);
        Self::from_text(&read(&path)?).map_err(|why| damaged(&path, why))
    }

    /// 32 bytes each, oldest first: all decrypt the tokens of providers, and the last one encrypts them. There is at least one.
    pub(crate) fn provider_keys(&self) -> &[Zeroizing<[u8; 32]>] {
        &self.for_providers
    }

    /// 32 bytes from which the other secrets of this installation are derived: never changed, but by a new file.
    pub(crate) fn root_secret(&self) -> &[u8; 32] {
        &self.root
    }

    /// Whether both are of one installation.
    pub(crate) fn is_of_one_file(&self, other: &Self) -> bool {
        self.root == other.root
    }

    /// Whether both hold the same keys of tokens, with the same times.
    pub(crate) fn has_same_tokens(&self, other: &Self) -> bool {
        let own = |keys: &Self| {
            let refresh: Vec<_> = keys.refresh.iter().map(|key| (key.name.clone(), key.from)).collect();
            let access: Vec<_> = keys.access.iter().map(|key| (key.kid().to_owned(), key.from)).collect();
            (refresh, access)
        };
        own(self) == own(other)
    }

    fn generate() -> Result<Self, &'static str> {
        let (root, refresh, access) = (new_key()?, RefreshSecret::generate(0)?, AccessKey::generate(0)?);
        Ok(Self { root, refresh: vec![refresh], access: vec![access], for_providers: vec![new_key()?] })
    }

    /// Replaces the file in one step, and reads it again: whoever reads it sees the one of before or this one, also after a crash. It belongs to
    /// whom it belonged to.
    ///
    /// # Behaviour
    /// Who calls this holds the lock of the keys, from before the file was read.
    ///
    /// # Errors
    /// The file cannot be written; whether the one of before is still there is said.
    pub(crate) fn saved(&self, folder: &Path) -> Result<Self, StartError> {
        let path = folder.join(FILE);
        files::replace(folder, FILE, self.to_text().as_bytes()).map_err(|why| not_replaced(&path, &why))?;
        Self::load(folder)
    }
}

impl RefreshSecret {
    fn new(secret: Zeroizing<[u8; 32]>, from: i64) -> Result<Self, &'static str> {
        let key = TokenKey::from_secret(&*secret).map_err(|_| "its refresh secret is not random")?;
        Ok(Self { name: key.id().to_string(), secret, from })
    }

    fn generate(from: i64) -> Result<Self, &'static str> {
        Self::new(new_key()?, from)
    }
}

impl AccessKey {
    fn new(pkcs8: Zeroizing<Vec<u8>>, from: i64) -> Result<Self, &'static str> {
        const WRONG: &str = "its access key is not an Ed25519 key in PKCS#8";
        // The other reader takes keys of other forms too.
        Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| WRONG)?;
        let signing = SigningKey::ed25519_from_pkcs8(&pkcs8).map_err(|_| WRONG)?;
        Ok(Self { pkcs8, signing, from })
    }

    fn generate(from: i64) -> Result<Self, &'static str> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| "the Ed25519 key could not be generated")?;
        Self::new(Zeroizing::new(document.as_ref().to_vec()), from)
    }

    /// Its name in the header of tokens and in the published key set.
    fn kid(&self) -> &str {
        self.signing.verifying_key().kid()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresh: Vec<_> = self.refresh.iter().map(|key| &key.name).collect();
        let access: Vec<_> = self.access.iter().map(AccessKey::kid).collect();
        f.debug_struct("Keys").field("refresh", &refresh).field("access", &access).finish_non_exhaustive()
    }
}

fn new_key() -> Result<Zeroizing<[u8; 32]>, &'static str> {
    random::bytes().map(Zeroizing::new).map_err(|_| "the operating system gave no randomness")
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
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
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

fn not_replaced(path: &Path, why: &NotReplaced) -> StartError {
    let path = path.display();
    match why {
        NotReplaced::Owner(error) => StartError::environment(
            format!("the key file {path} was not changed"),
            format!("the new one cannot be given to the owner of the one that is there: {}", reason(error)),
            "Run it as the service's user.",
        ),
        NotReplaced::Unchanged(error) => StartError::environment(
            format!("the key file {path} was not changed"),
            format!("another one cannot be written: {}", reason(error)),
            "Check the space on its disk and the permissions of its folder.",
        ),
        NotReplaced::Unsure(error) => StartError::environment(
            format!("the key file {path} was changed, but perhaps not for good"),
            format!("the change is in place, and may be lost in a power cut: {}", reason(error)),
            "Check the disk; `keys list` shows which keys there are.",
        ),
    }
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
