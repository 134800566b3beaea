//! The claim `role` of the access tokens, from the account.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use session_manager_backend_jwt::ClaimSource;
use session_manager_core::{Error, ErrorKind, Result, Session};
use uuid::Uuid;

use crate::accounts::{Accounts, Role};

tokio::task_local! {
    static KNOWN: Role;
}

/// Runs `work` with the role of its user known, so that issuing tokens reads no account.
///
/// Inside a transaction that holds the write lock this is more than a saving: the read would need a second connection, and all of them may
/// be waiting for that very lock.
pub(crate) async fn with_role<T>(role: Role, work: impl Future<Output = T>) -> T {
    KNOWN.scope(role, work).await
}

/// Asks the account at every issue, so that a changed role reaches clients with their next token.
#[derive(Debug)]
pub(super) struct RoleClaim(pub(super) Accounts);

#[async_trait]
impl ClaimSource for RoleClaim {
    async fn claims(&self, session: &Session) -> Result<Map<String, Value>> {
        let role = match KNOWN.try_with(|role| *role) {
            Ok(role) => role,
            Err(_) => self.role_of(session).await?,
        };
        Ok(Map::from_iter([("role".to_owned(), json!(role))]))
    }
}

impl RoleClaim {
    async fn role_of(&self, session: &Session) -> Result<Role> {
        const OPERATION: &str = "issue token";
        let id: Uuid = session
            .user_id
            .as_str()
            .parse()
            .map_err(|_| Error::new(ErrorKind::Internal, OPERATION).because("a session's user is no account"))?;
        let found = self.0.find(id).await.map_err(|fault| Error::unavailable(OPERATION, fault))?;
        // A session that outlives its account has the least that there is; the handlers refuse it.
        Ok(found.map_or(Role::User, |user| user.role))
    }
}
