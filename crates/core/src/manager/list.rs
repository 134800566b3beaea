//! List, count and look up.

use super::request::{SessionPage, SessionView};
use super::scope::Scope;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionKey;
use crate::snapshot::Snapshot;
use crate::storage::{Consistency, Count, Cursor, Query, SessionFilter};
use crate::user::UserId;

impl Scope<'_> {
    pub(super) async fn list(
        &self,
        user: Option<&UserId>,
        filter: SessionFilter,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<SessionPage> {
        let query = self.query(user, filter)?.after(cursor).limited(limit);
        let page = self.storage.list(&query).await?;
        let view = |snapshot| self.view(snapshot);
        Ok(SessionPage { sessions: page.sessions.into_iter().map(view).collect(), next: page.next })
    }

    pub(super) async fn count(&self, user: Option<&UserId>, filter: SessionFilter) -> Result<Count> {
        self.storage.count(&self.query(user, filter)?).await
    }

    pub(super) async fn get(&self, owner: Option<&UserId>, key: SessionKey) -> Result<Option<SessionView>> {
        let found = self.storage.read(&key, Consistency::Latest).await?;
        let own = |snapshot: &Snapshot| owner.is_none_or(|owner| *owner == snapshot.session.user_id);
        Ok(found.filter(own).map(|snapshot| self.view(snapshot)))
    }

    pub(super) fn view(&self, snapshot: Snapshot) -> SessionView {
        SessionView { state: snapshot.state(self.now(), self.inner.live), snapshot }
    }

    fn query(&self, user: Option<&UserId>, filter: SessionFilter) -> Result<Query> {
        if user.is_none() && !self.storage.capabilities().list_all {
            return Err(Error::new(ErrorKind::Unsupported, "list").because("this storage cannot list across users"));
        }
        let query = user.map_or_else(|| Query::everybody(self.now()), |user| Query::of(user.clone(), self.now()));
        Ok(query.filtered(filter))
    }
}
