//! The application's claims as a type of its own, in both directions.

use std::fmt;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::{Map, Value};
use session_manager_core::{Error, ErrorKind, Rejection, Result, Session, Verified};

use crate::claims::{ClaimSource, RESERVED_CLAIMS};

/// Adds the application's own claims to each access token, as a type: see [`ClaimSource`] for when it is asked.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use session_manager_backend_jwt::{TypedClaimSource, application_claims};
/// use session_manager_core::{Result, Session, Verified};
///
/// #[derive(Serialize, Deserialize)]
/// struct Account {
///     roles: Vec<String>,
/// }
///
/// #[derive(Debug)]
/// struct Roles;
///
/// #[async_trait::async_trait]
/// impl TypedClaimSource for Roles {
///     type Claims = Account;
///
///     async fn claims(&self, _: &Session) -> Result<Account> {
///         Ok(Account { roles: vec!["reader".to_owned()] })
///     }
/// }
///
/// fn roles(verified: &Verified) -> Result<Vec<String>> {
///     Ok(application_claims::<Account>(verified)?.roles)
/// }
/// ```
#[async_trait]
pub trait TypedClaimSource: Send + Sync + fmt::Debug {
    /// What becomes the claims: a struct or a map.
    type Claims: Serialize + Send;

    /// The claims for a session.
    ///
    /// # Errors
    /// An error fails the issue. So does a value that is no JSON object, or a name of [`RESERVED_CLAIMS`], as [`ErrorKind::Misconfigured`].
    async fn claims(&self, session: &Session) -> Result<Self::Claims>;
}

/// Reads the application's claims back from a verified token: all but those of [`RESERVED_CLAIMS`].
///
/// # Errors
/// [`Rejection::MissingClaim`] when they do not make a `T`: the token was issued by another release of the application, and a new one is due.
pub fn application_claims<T: DeserializeOwned>(verified: &Verified) -> Result<T> {
    let none = Map::new();
    let claims = verified.claims.as_deref().unwrap_or(&none);
    let own = claims.iter().filter(|(name, _)| !RESERVED_CLAIMS.contains(&name.as_str()));
    let own = MapDeserializer::new(own.map(|(name, value)| (name.as_str(), value)));
    T::deserialize(own).map_err(|source: serde_json::Error| Error::from(Rejection::MissingClaim).with_source(source))
}

/// A typed source as an untyped one.
#[derive(Debug)]
pub(crate) struct Typed<S>(pub(crate) S);

#[async_trait]
impl<S: TypedClaimSource> ClaimSource for Typed<S> {
    async fn claims(&self, session: &Session) -> Result<Map<String, Value>> {
        let claims = self.0.claims(session).await?;
        match serde_json::to_value(claims) {
            Ok(Value::Object(claims)) => Ok(claims),
            Ok(_) => Err(Error::new(ErrorKind::Misconfigured, "issue token").because("claims are a JSON object")),
            Err(source) => Err(Error::new(ErrorKind::Misconfigured, "issue token").with_source(source)),
        }
    }
}
