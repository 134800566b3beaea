//! Accounts in a folder of their own, and a look into the spooled mail.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Accounts, AdminRule, EmailAddress, PersonName, Registration, User};
use crate::config::{PublicUrl, Settings};
use crate::data::Data;
use crate::mail::Mailer;
use crate::passwords::{Password, Passwords};

pub(crate) const PASSWORD: &str = "Correct-Horse-7";

/// A fixed day, so many milliseconds after its beginning.
pub(crate) fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_795_478_400_000).unwrap() + TimeDelta::milliseconds(millis)
}

pub(crate) fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

pub(crate) fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

pub(crate) struct Bench {
    pub(crate) accounts: Accounts,
    data: Data,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(AdminRule::FirstUser).await
    }

    pub(crate) async fn with(admins: AdminRule) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = crate::data::test_settings(folder.path());
        Self::on(folder, settings, admins).await
    }

    /// With the database, and the folder for the mail, of the settings.
    pub(crate) async fn on(folder: tempfile::TempDir, settings: Settings, admins: AdminRule) -> Self {
        let data = Data::open(&settings).await.unwrap();
        let mailer = Mailer::new(data.mail.clone(), PublicUrl::parse("http://127.0.0.1:8080").unwrap());
        let passwords = Passwords::new(2).await.unwrap();
        Self { accounts: Accounts::new(data.pool.clone(), passwords, mailer, admins), data, _folder: folder }
    }

    /// The same accounts under another rule.
    pub(crate) async fn under(&self, admins: AdminRule) -> Accounts {
        let mailer = Mailer::new(self.data.mail.clone(), PublicUrl::parse("http://127.0.0.1:8080").unwrap());
        Accounts::new(self.data.pool.clone(), Passwords::new(1).await.unwrap(), mailer, admins)
    }

    /// The same accounts over other connections.
    pub(crate) fn over(&self, pool: sqlx::SqlitePool) -> Accounts {
        let pool = crate::sql::Pool::Sqlite(pool);
        Accounts { pool: pool.clone(), lockout: super::Lockout::new(pool), ..self.accounts.clone() }
    }

    pub(crate) async fn register(&self, address: &str, name: &str, millis: i64) {
        self.register_with(address, name, PASSWORD, millis).await;
    }

    pub(crate) async fn register_with(&self, address: &str, name: &str, typed: &str, millis: i64) {
        let registration =
            Registration { email: email(address), name: PersonName::parse(name).unwrap(), password: password(typed) };
        self.accounts.register(registration, at(millis)).await.unwrap();
    }

    /// A user who confirmed the address at the beginning of the day.
    pub(crate) async fn verified_user(&self, address: &str) -> User {
        self.register(address, "Ann", 0).await;
        let token = self.take_token(address);
        self.accounts.verify_email(&token, at(0)).await.unwrap().unwrap()
    }

    /// The only mail as it was spooled; the spool is empty afterwards.
    pub(crate) fn take_text(&self) -> String {
        let mut paths = std::fs::read_dir(&self.data.mail).unwrap().map(|entry| entry.unwrap().path());
        let path = paths.next().unwrap();
        assert!(paths.next().is_none(), "more than one mail");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        text
    }

    /// How many mail tokens are stored, good or not.
    pub(crate) async fn tokens(&self) -> i64 {
        self.count("mail_tokens").await
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let count = crate::sql::query(format!("SELECT count(*) FROM {table}"));
        count.fetch_one(self.accounts.pool()).await.unwrap().only().unwrap()
    }

    /// From now on no mail can be sent.
    pub(crate) fn break_mail(&self) {
        std::fs::remove_dir_all(&self.data.mail).unwrap();
    }

    /// Closes the account, or opens it again. Its sessions are no business of the accounts.
    pub(crate) async fn disable(&self, user: Uuid, disabled: bool, millis: i64) {
        let mut transaction = self.accounts.pool().begin().await.unwrap();
        assert!(self.accounts.set_disabled(&mut transaction, user, disabled, at(millis)).await.unwrap());
        transaction.commit().await.unwrap();
    }

    /// Kind, recipient and token of each spooled mail, oldest first; the spool is empty afterwards.
    pub(crate) fn take_mail(&self) -> Vec<(String, String, Option<String>)> {
        let mut paths: Vec<_> =
            std::fs::read_dir(&self.data.mail).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let letter = |path: std::path::PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let kind = name.split_once('-').unwrap().1.rsplit_once('-').unwrap().0.to_owned();
            let to = text.lines().find(|line| line.starts_with("To:")).unwrap();
            let to = to.split(['<', '>']).nth(1).unwrap().to_owned();
            let token = text.lines().find_map(|line| line.split_once("?token=")).map(|(_, token)| token.to_owned());
            (kind, to, token)
        };
        paths.into_iter().map(letter).collect()
    }

    /// The token of the only mail, which went to `address`.
    pub(crate) fn take_token(&self, address: &str) -> String {
        let mail = self.take_mail();
        assert_eq!(mail.len(), 1, "{mail:?}");
        assert_eq!(mail[0].1, address);
        mail[0].2.clone().unwrap()
    }
}
