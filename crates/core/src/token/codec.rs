//! The form of a reference token: `prefix_` + base64url(version ‖ kid ‖ session id ‖ generation ‖ locator ‖ mac).

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::key::{KeyId, KeyProvider, TokenKey};
use super::{Token, TokenKind};
use crate::control::{Control, Seed};
use crate::error::{Error, ErrorKind, Rejection, Result};
use crate::id::{SessionId, SessionKey};
use crate::session::Session;
use crate::user::Locator;

/// The first byte. Its high bits are reserved for flags, among them one by which a client may one day say that a successor was used.
const VERSION: u8 = 1;
const BODY: usize = 1 + 4 + 16 + 8 + 8 + 32;
const ENCODED: usize = BODY.div_ceil(3) * 4;

/// Makes, reads and checks reference tokens. Backends share it.
#[derive(Clone)]
pub struct ReferenceTokens {
    keys: Arc<dyn KeyProvider>,
    access_prefix: String,
    refresh_prefix: String,
}

impl ReferenceTokens {
    /// Tokens with the prefixes `sms_` (access) and `smr_` (refresh).
    pub fn new(keys: Arc<dyn KeyProvider>) -> Self {
        Self { keys, access_prefix: "sms_".to_owned(), refresh_prefix: "smr_".to_owned() }
    }

    /// Tokens with the application's own prefixes, by which secret scanners know them.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] unless both are 1 to 16 lower-case letters or digits and an underscore at the end, and differ.
    pub fn with_prefixes(keys: Arc<dyn KeyProvider>, access: &str, refresh: &str) -> Result<Self> {
        let good = |prefix: &str| {
            let name = prefix.strip_suffix('_').unwrap_or_default();
            (1..=16).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if !good(access) || !good(refresh) || access == refresh {
            return Err(Error::new(ErrorKind::Misconfigured, "token prefix")
                .because("token prefixes are two different words of lower-case letters and digits, each followed by an underscore"));
        }
        Ok(Self { keys, access_prefix: access.to_owned(), refresh_prefix: refresh.to_owned() })
    }

    /// The token of this kind for the session's current generation. The same state always gives the same token.
    pub fn mint(&self, kind: TokenKind, session: &Session, control: &Control) -> Token {
        let key = self.keys.newest();
        let mac = authenticate(&key, kind, session.id, control.generation, &control.seed);
        let mut body = Vec::with_capacity(BODY);
        body.push(VERSION);
        body.extend_from_slice(key.id().as_bytes());
        body.extend_from_slice(session.id.as_bytes());
        body.extend_from_slice(&control.generation.to_be_bytes());
        body.extend_from_slice(session.user_id.locator().as_bytes());
        body.extend_from_slice(&mac);
        let prefix = self.prefix(kind);
        let mut text = String::with_capacity(prefix.len() + ENCODED);
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(&body, &mut text);
        Token::new(text)
    }

    /// Reads a token without any I/O. Nothing in it is proven before [`ReferenceTokens::check`].
    ///
    /// # Errors
    /// [`Rejection::TooLong`], [`Rejection::WrongKind`], [`Rejection::Malformed`] or [`Rejection::UnknownKey`].
    pub fn parse(&self, kind: TokenKind, text: &str) -> Result<ReferenceToken, Rejection> {
        if text.len() > 17 + ENCODED {
            return Err(Rejection::TooLong);
        }
        let other = match kind {
            TokenKind::Access => TokenKind::Refresh,
            TokenKind::Refresh => TokenKind::Access,
        };
        if text.starts_with(self.prefix(other)) {
            return Err(Rejection::WrongKind);
        }
        let encoded = text.strip_prefix(self.prefix(kind)).ok_or(Rejection::Malformed)?;
        let body = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Rejection::Malformed)?;
        let token = ReferenceToken::from_body(kind, &body).ok_or(Rejection::Malformed)?;
        if self.keys.find(token.key_id).is_none() {
            return Err(Rejection::UnknownKey);
        }
        Ok(token)
    }

    /// Proves a token by the session it names, in constant time.
    ///
    /// # Errors
    /// [`Rejection::UnknownKey`] or [`Rejection::BadSignature`].
    pub fn check(&self, token: &ReferenceToken, control: &Control) -> Result<(), Rejection> {
        let key = self.keys.find(token.key_id).ok_or(Rejection::UnknownKey)?;
        let mac = authenticate(&key, token.kind, token.session_id, token.generation, &control.seed);
        if bool::from(mac.ct_eq(&token.mac)) { Ok(()) } else { Err(Rejection::BadSignature) }
    }

    fn prefix(&self, kind: TokenKind) -> &str {
        match kind {
            TokenKind::Access => &self.access_prefix,
            TokenKind::Refresh => &self.refresh_prefix,
        }
    }
}

impl fmt::Debug for ReferenceTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceTokens").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// A token as read, not yet proven.
#[derive(Clone)]
pub struct ReferenceToken {
    kind: TokenKind,
    key_id: KeyId,
    session_id: SessionId,
    generation: u64,
    locator: Locator,
    mac: [u8; 32],
}

impl ReferenceToken {
    fn from_body(kind: TokenKind, body: &[u8]) -> Option<Self> {
        let (version, rest) = body.split_first()?;
        let (key_id, rest) = rest.split_first_chunk::<4>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (locator, rest) = rest.split_first_chunk::<8>()?;
        let mac = <[u8; 32]>::try_from(rest).ok()?;
        (*version == VERSION).then(|| Self {
            kind,
            key_id: KeyId::from_bytes(*key_id),
            session_id: SessionId::from(Uuid::from_bytes(*id)),
            generation: u64::from_be_bytes(*generation),
            locator: Locator::from_bytes(*locator),
            mac,
        })
    }

    /// What it was read as.
    pub const fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The session it claims to belong to.
    pub const fn key(&self) -> SessionKey {
        SessionKey::new(self.session_id, self.locator)
    }

    /// The generation it claims.
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

impl fmt::Debug for ReferenceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceToken").field("kind", &self.kind).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

fn authenticate(key: &TokenKey, kind: TokenKind, id: SessionId, generation: u64, seed: &Seed) -> [u8; 32] {
    let kind_byte = match kind {
        TokenKind::Access => b'a',
        TokenKind::Refresh => b'r',
    };
    let mac = key
        .prepared(kind)
        .chain_update(b"session-manager/1")
        .chain_update([kind_byte])
        .chain_update(key.id().as_bytes())
        .chain_update(id.as_bytes())
        .chain_update(generation.to_be_bytes())
        .chain_update(seed.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::key::KeyRing;
    use super::*;
    use crate::user::UserId;
    use chrono::DateTime;
    use proptest::prelude::*;

    fn key(fill: u8) -> TokenKey {
        TokenKey::from_secret(&(0..32).map(|i| i ^ fill).collect::<Vec<_>>()).unwrap()
    }

    fn tokens(fill: u8) -> ReferenceTokens {
        ReferenceTokens::new(Arc::new(KeyRing::new(key(fill))))
    }

    fn session(n: u128) -> (Session, Control) {
        let at = DateTime::UNIX_EPOCH;
        let session = Session::new(SessionId::from(Uuid::from_u128(n)), UserId::parse("alice").unwrap(), at, at);
        (session, Control::new(Seed::from_bytes([9; 32]), at, at))
    }

    #[test]
    fn a_token_is_proven_by_its_session_alone() {
        let (alice, control) = session(1);
        for kind in [TokenKind::Access, TokenKind::Refresh] {
            let token = tokens(1).mint(kind, &alice, &control);
            let read = tokens(1).parse(kind, token.expose()).unwrap();
            assert_eq!((read.key(), read.generation()), (alice.key(), 1));
            tokens(1).check(&read, &control).unwrap();
            let mut other = control.clone();
            other.seed = Seed::from_bytes([8; 32]);
            assert_eq!(tokens(1).check(&read, &other), Err(Rejection::BadSignature));
        }
    }

    #[test]
    fn one_kind_is_never_the_other() {
        let (alice, control) = session(1);
        let access = tokens(1).mint(TokenKind::Access, &alice, &control);
        assert_eq!(tokens(1).parse(TokenKind::Refresh, access.expose()).unwrap_err(), Rejection::WrongKind);
        let relabelled = access.expose().replace("sms_", "smr_");
        let read = tokens(1).parse(TokenKind::Refresh, &relabelled).unwrap();
        assert_eq!(tokens(1).check(&read, &control), Err(Rejection::BadSignature));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (alice, control) = session(1);
        let token = tokens(1).mint(TokenKind::Refresh, &alice, &control);
        let body = URL_SAFE_NO_PAD.decode(token.expose().strip_prefix("smr_").unwrap()).unwrap();
        for bit in 0..body.len() * 8 {
            let mut forged = body.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let text = format!("smr_{}", URL_SAFE_NO_PAD.encode(&forged));
            // The locator is a hint outside the MAC: the manager compares it with the session's user.
            let in_locator = (29..37).contains(&(bit / 8));
            let accepted = tokens(1).parse(TokenKind::Refresh, &text).and_then(|read| {
                tokens(1).check(&read, &control)?;
                Ok(read)
            });
            match accepted {
                Ok(read) => assert!(in_locator && read.key() != alice.key() || read.key().id != alice.id, "bit {bit}"),
                Err(_) => assert!(!in_locator, "bit {bit}"),
            }
        }
    }

    #[test]
    fn keys_rotate() {
        let (alice, control) = session(1);
        let old = tokens(1).mint(TokenKind::Refresh, &alice, &control);
        let both = ReferenceTokens::new(Arc::new(KeyRing::new(key(2)).accepting(key(1))));
        let read = both.parse(TokenKind::Refresh, old.expose()).unwrap();
        both.check(&read, &control).unwrap();
        assert_ne!(both.mint(TokenKind::Refresh, &alice, &control).expose(), old.expose());
        assert_eq!(tokens(2).parse(TokenKind::Refresh, old.expose()).unwrap_err(), Rejection::UnknownKey);
    }

    #[test]
    fn prefixes_are_checked() {
        let keys: Arc<dyn KeyProvider> = Arc::new(KeyRing::new(key(1)));
        assert!(ReferenceTokens::with_prefixes(Arc::clone(&keys), "acme_", "acmer_").is_ok());
        for (access, refresh) in [("a_", "a_"), ("", "b_"), ("A_", "b_"), ("a", "b_"), ("a_", "b c_")] {
            assert!(ReferenceTokens::with_prefixes(Arc::clone(&keys), access, refresh).is_err());
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let (alice, control) = session(1);
        let token = tokens(1).mint(TokenKind::Refresh, &alice, &control);
        let read = tokens(1).parse(TokenKind::Refresh, token.expose()).unwrap();
        assert_eq!(format!("{token:?}"), "Token(redacted)");
        assert!(!format!("{read:?}").contains(&alice.id.to_string()));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(smr_)?[A-Za-z0-9_=-]{0,120}|\\PC{0,200}") {
            if let Ok(read) = tokens(1).parse(TokenKind::Refresh, &text) {
                prop_assert!(tokens(1).check(&read, &session(1).1).is_err());
            }
        }
    }
}
