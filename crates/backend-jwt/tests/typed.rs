//! The application's claims as a type of its own, from issuing to reading.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod support;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use session_manager_backend_jwt::{TypedClaimSource, application_claims};
use session_manager_core::{ErrorKind, Rejection, Result, Session, Verified};
use support::{builder, check, hs256, snapshot, try_issue};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    roles: Vec<Role>,
    plan: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Reader,
    Writer,
}

#[derive(Debug)]
struct Source<T>(T);

#[async_trait]
impl<T: Serialize + Clone + Send + Sync + std::fmt::Debug> TypedClaimSource for Source<T> {
    type Claims = T;

    async fn claims(&self, _: &Session) -> Result<T> {
        Ok(self.0.clone())
    }
}

fn issued<T: Serialize + Clone + Send + Sync + std::fmt::Debug + 'static>(claims: T) -> Result<Verified> {
    let backend = builder(hs256()).typed_claims(Source(claims)).build()?;
    let token = try_issue(&backend, &snapshot())?.access;
    Ok(check(&backend, token.expose())?)
}

#[test]
fn claims_come_back_as_the_type_that_they_were() {
    let account = Account { roles: vec![Role::Reader, Role::Writer], plan: None };
    let verified = issued(account.clone()).unwrap();
    // Our own claims are not among them, so a strict type can be read.
    assert_eq!(application_claims::<Account>(&verified).unwrap(), account);
}

#[test]
fn claims_of_another_type_are_an_old_token() {
    let verified = issued(BTreeMap::from([("roles", "all of them")])).unwrap();
    let error = application_claims::<Account>(&verified).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidToken(Rejection::MissingClaim));
    let none = Verified::new(snapshot().session.key(), 1);
    assert!(application_claims::<Account>(&none).is_err());
    assert_eq!(application_claims::<BTreeMap<String, String>>(&none).unwrap(), BTreeMap::new());
}

#[test]
fn what_is_no_object_or_takes_a_name_of_ours_is_not_issued() {
    assert_eq!(issued(7).unwrap_err().kind(), ErrorKind::Misconfigured);
    assert_eq!(
        issued(BTreeMap::from([((1, 2), "a key that is no text")])).unwrap_err().kind(),
        ErrorKind::Misconfigured
    );
    assert_eq!(issued(BTreeMap::from([("sub", "bob")])).unwrap_err().kind(), ErrorKind::Misconfigured);
}
