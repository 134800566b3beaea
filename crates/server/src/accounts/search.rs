//! Finding accounts, for administrators.

use uuid::Uuid;

use super::user::Stored;
use super::{Accounts, Fault, User};
use crate::sql;

/// Which accounts, and which page of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserSearch {
    /// What the address contains; its beginning is a part of it too. Empty matches every account.
    pub(crate) text: String,
    /// The last account of the page before.
    pub(crate) after: Option<Uuid>,
    pub(crate) limit: u32,
}

/// A page of accounts, newest first.
#[derive(Clone, Debug)]
pub(crate) struct UserPage {
    pub(crate) users: Vec<User>,
    /// Where the next page begins; none on the last.
    pub(crate) next: Option<Uuid>,
}

impl Accounts {
    /// The accounts whose address contains a text, newest first.
    ///
    /// # Behaviour
    /// Ids are ordered by time, so that an account that is made while somebody turns the pages is neither shown twice nor moves another.
    pub(crate) async fn search(&self, search: &UserSearch) -> Result<UserPage, Fault> {
        let UserSearch { text, after, limit } = search;
        // No address has such a character, and PostgreSQL refuses one of them.
        if text.contains(char::is_control) {
            return Ok(UserPage { users: Vec::new(), next: None });
        }
        // Not LIKE: `_` and `%` are characters of addresses. No id of ours begins with a "z".
        let rows = sql::query(
            "SELECT * FROM users WHERE instr(email, ?1) > 0 AND id < coalesce(?2, 'z') ORDER BY id DESC LIMIT ?3",
        )
        .postgres(
            "SELECT * FROM users WHERE strpos(email, ?1) > 0 AND id < coalesce(?2, 'z') ORDER BY id DESC LIMIT ?3",
        )
        .bind(text.trim().to_lowercase())
        .bind(after.map(|id| id.to_string()))
        .bind(i64::from(*limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        let more = rows.len() > usize::try_from(*limit).unwrap_or(usize::MAX);
        let users = rows.iter().map(|row| Ok(row.read::<Stored>()?.into_user(&self.admins)));
        let mut users: Vec<_> = users.collect::<Result<_, Fault>>()?;
        if more {
            users.pop();
        }
        let next = users.last().filter(|_| more).map(|user| user.id);
        Ok(UserPage { users, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::test_support::Bench;

    async fn found(bench: &Bench, text: &str, limit: u32) -> Vec<Vec<String>> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let search = UserSearch { text: text.to_owned(), after, limit };
            let page = bench.accounts.search(&search).await.unwrap();
            pages.push(page.users.iter().map(|user| user.email.as_str().to_owned()).collect());
            match page.next {
                Some(next) => after = Some(next),
                None => return pages,
            }
        }
    }

    #[tokio::test]
    async fn addresses_are_found_by_any_part_and_nothing_in_it_is_a_pattern() {
        let bench = Bench::new().await;
        for (millis, address) in [(1, "ann@b.example"), (2, "joann_x@b.example"), (3, "bob@c.example")] {
            bench.register(address, "Ann", millis).await;
        }
        for (text, expected) in [
            ("ann", &["joann_x@b.example", "ann@b.example"][..]),
            (" ANN@ ", &["ann@b.example"]),
            ("_", &["joann_x@b.example"]),
            ("%", &[]),
            ("ann\0", &[]),
            ("' OR 1=1 --", &[]),
            ("", &["bob@c.example", "joann_x@b.example", "ann@b.example"]),
            ("@c.", &["bob@c.example"]),
        ] {
            assert_eq!(found(&bench, text, 9).await, [expected], "{text:?}");
        }
    }

    #[tokio::test]
    async fn pages_follow_one_another() {
        let bench = Bench::new().await;
        for (millis, address) in [(1, "a@b.example"), (2, "b@b.example"), (3, "c@b.example"), (4, "d@b.example")] {
            bench.register(address, "Ann", millis).await;
        }
        assert_eq!(
            found(&bench, "b.ex", 3).await,
            [&["d@b.example", "c@b.example", "b@b.example"][..], &["a@b.example"]]
        );
        assert_eq!(found(&bench, "b.ex", 2).await, [["d@b.example", "c@b.example"], ["b@b.example", "a@b.example"]]);
        assert_eq!(found(&bench, "nobody", 2).await, [[""; 0]]);
    }
}
