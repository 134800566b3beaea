//! Encryption of what must be kept and not be read from the database: AES-256-GCM, each text for its own place.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The form of what is stored: this byte, the key's id, the nonce, the encrypted text with its tag.
const FORM: u8 = 1;
const ID_LEN: usize = 8;

/// The keys, of which the last one encrypts. Cheap to clone.
#[derive(Clone)]
pub(super) struct Vault(Arc<[Entry]>);

struct Entry {
    id: [u8; ID_LEN],
    key: RandomizedNonceKey,
}

/// Where a text belongs. Elsewhere it cannot be decrypted, so that whoever can write to the database cannot make one connection speak with
/// the token of another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) connection: Uuid,
    pub(super) field: Field,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    AccessToken,
    RefreshToken,
    Verifier,
}

/// What was stored cannot be read, or nothing can be stored. Holds neither key nor text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VaultError {
    #[error("a stored secret is encrypted with a key that is not in the key file")]
    UnknownKey,
    #[error("a stored secret is damaged, or was moved from its place")]
    Damaged,
    #[error("nothing can be encrypted with the newest key")]
    NotEncrypted,
}

impl Vault {
    /// With these keys, oldest first.
    pub(super) fn new(keys: &[Zeroizing<[u8; 32]>]) -> Result<Self, VaultError> {
        let entry = |secret: &Zeroizing<[u8; 32]>| {
            let key = RandomizedNonceKey::new(&AES_256_GCM, secret.as_slice()).map_err(|_| VaultError::NotEncrypted)?;
            Ok(Entry { id: id(secret), key })
        };
        keys.iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// Encrypts with the newest key.
    pub(super) fn seal(&self, place: Place, text: &str) -> Result<Vec<u8>, VaultError> {
        let newest = self.0.last().ok_or(VaultError::NotEncrypted)?;
        // Room for the tag, so that no growing buffer leaves a copy of the text behind.
        let mut body = Vec::with_capacity(text.len() + AES_256_GCM.tag_len());
        body.extend_from_slice(text.as_bytes());
        let sealed = newest.key.seal_in_place_append_tag(place.aad(newest.id), &mut body);
        let nonce = sealed.map_err(|_| VaultError::NotEncrypted)?;
        Ok([&[FORM], newest.id.as_slice(), nonce.as_ref().as_slice(), &body].concat())
    }

    /// Decrypts with the key that was used.
    pub(super) fn open(&self, place: Place, sealed: &[u8]) -> Result<Zeroizing<String>, VaultError> {
        let (&form, rest) = sealed.split_first().ok_or(VaultError::Damaged)?;
        let (id, rest) = rest.split_first_chunk::<ID_LEN>().ok_or(VaultError::Damaged)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Damaged)?;
        if form != FORM {
            return Err(VaultError::Damaged);
        }
        let entry = self.0.iter().find(|entry| entry.id == *id).ok_or(VaultError::UnknownKey)?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = entry.key.open_in_place(nonce, place.aad(*id), &mut body).map_err(|_| VaultError::Damaged)?;
        std::str::from_utf8(text).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| VaultError::Damaged)
    }
}

impl Place {
    fn aad(self, key: [u8; ID_LEN]) -> Aad<Vec<u8>> {
        let field = match self.field {
            Field::AccessToken => b"access_token".as_slice(),
            Field::RefreshToken => b"refresh_token",
            Field::Verifier => b"verifier",
        };
        Aad::from([b"session-manager-server/provider/1".as_slice(), &key, self.connection.as_bytes(), field].concat())
    }
}

/// The name of a key, from the key itself: it says which one it is, and nothing about it.
fn id(secret: &[u8; 32]) -> [u8; ID_LEN] {
    let hash: [u8; 32] =
        Sha256::new().chain_update("session-manager-server/provider-key/1").chain_update(secret).finalize().into();
    let mut id = [0; ID_LEN];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    id
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("keys", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a token of a provider";

    fn vault(keys: &[u8]) -> Vault {
        Vault::new(&keys.iter().map(|byte| Zeroizing::new([*byte; 32])).collect::<Vec<_>>()).unwrap()
    }

    fn place(connection: u128, field: Field) -> Place {
        Place { connection: Uuid::from_u128(connection), field }
    }

    #[test]
    fn what_is_sealed_can_be_opened_in_its_place_only() {
        let vault = vault(&[1]);
        let sealed = vault.seal(place(7, Field::AccessToken), TEXT).unwrap();
        assert_eq!(*vault.open(place(7, Field::AccessToken), &sealed).unwrap(), TEXT);
        for elsewhere in [place(8, Field::AccessToken), place(7, Field::RefreshToken), place(7, Field::Verifier)] {
            assert_eq!(vault.open(elsewhere, &sealed), Err(VaultError::Damaged), "{elsewhere:?}");
        }
        assert_ne!(vault.seal(place(7, Field::AccessToken), TEXT).unwrap(), sealed, "each with a nonce of its own");
        assert!(!sealed.windows(5).any(|part| part == b"token"));
    }

    #[test]
    fn the_newest_key_encrypts_and_the_older_ones_decrypt() {
        let at = place(7, Field::RefreshToken);
        let old = vault(&[1]).seal(at, TEXT).unwrap();
        let rotated = vault(&[1, 2]);
        assert_eq!(*rotated.open(at, &old).unwrap(), TEXT);
        let new = rotated.seal(at, TEXT).unwrap();
        assert_eq!(vault(&[1]).open(at, &new), Err(VaultError::UnknownKey));
        assert_eq!(*vault(&[2]).open(at, &new).unwrap(), TEXT);
        assert_eq!(vault(&[2]).open(at, &old), Err(VaultError::UnknownKey));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (vault, at) = (vault(&[1]), place(7, Field::AccessToken));
        let sealed = vault.seal(at, TEXT).unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(vault.open(at, &changed).is_err(), "byte {index}");
            assert!(vault.open(at, &sealed[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", vault(&[1, 2])), "Vault { keys: 2, .. }");
    }
}
