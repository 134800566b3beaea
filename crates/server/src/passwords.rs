//! Passwords: Argon2id with OWASP's parameters, off the async threads and a few at a time.

mod rules;

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Deserializer};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

pub(crate) use rules::{Violation, violations};

/// What a hash costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// As OWASP recommends for Argon2id.
const RECOMMENDED: Cost = Cost { memory_kib: 19_456, passes: 2, lanes: 1 };

/// Tests of the service sign in some thousand times, and would do little else.
#[cfg(test)]
const USUAL: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
#[cfg(not(test))]
const USUAL: Cost = RECOMMENDED;

/// A password as typed. `Debug` hides it; zeroised on drop.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(Zeroizing<String>);

impl Password {
    /// Takes the text over.
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Keep it out of logs and errors.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Hashing failed for a reason that is not the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password could not be hashed")]
pub(crate) struct HashingFailed;

/// Hashes and checks passwords. Cheap to clone; clones share the bound on how many run at once.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    running: Arc<Semaphore>,
    /// The hash that is checked for an unknown user, so that the answer takes as long.
    nobody: Arc<str>,
}

impl Passwords {
    /// At most `parallel` hashes run at once (each takes 19 MiB and one core for some 20 ms).
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) async fn new(parallel: usize) -> Result<Self, HashingFailed> {
        Self::at(USUAL, parallel).await
    }

    async fn at(cost: Cost, parallel: usize) -> Result<Self, HashingFailed> {
        let Cost { memory_kib, passes, lanes } = cost;
        let params = Params::new(memory_kib, passes, lanes, None).map_err(|_| HashingFailed)?;
        let mut passwords = Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            running: Arc::new(Semaphore::new(parallel.max(1))),
            nobody: Arc::from(""),
        };
        passwords.nobody = passwords.hash(Password::new("nobody".to_owned())).await?.into();
        Ok(passwords)
    }

    /// The hash of a password as a PHC string with a fresh salt.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, HashingFailed> {
        let argon2 = self.argon2.clone();
        self.off_thread(move || {
            let hash: PasswordHash = argon2.hash_password(password.expose().as_bytes()).map_err(|_| HashingFailed)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether the password is the one behind the hash. Without a hash the answer is `false` after the same time.
    ///
    /// # Errors
    /// The stored hash is not one.
    pub(crate) async fn verify(&self, password: Password, hash: Option<&str>) -> Result<bool, HashingFailed> {
        let known = hash.is_some();
        let hash: Arc<str> = hash.map_or_else(|| self.nobody.clone(), Arc::from);
        let argon2 = self.argon2.clone();
        self.off_thread(move || {
            let hash = PasswordHash::new(&hash).map_err(|_| HashingFailed)?;
            Ok(argon2.verify_password(password.expose().as_bytes(), &hash).is_ok() && known)
        })
        .await
    }

    /// Runs on a blocking thread. When the caller goes away, the work still ends and only then gives its place back.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashingFailed> + Send + 'static,
    ) -> Result<T, HashingFailed> {
        let place = self.running.clone().acquire_owned().await.map_err(|_| HashingFailed)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        done.await.map_err(|_| HashingFailed)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hashes_are_argon2id_with_the_recommended_parameters() {
        let passwords = Passwords::at(RECOMMENDED, 2).await.unwrap();
        let hash = passwords.hash(Password::new("Correct-Horse-7".into())).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash(Password::new("Correct-Horse-7".into())).await.unwrap(), "the salt is fresh");
        for (typed, right) in [("Correct-Horse-7", true), ("correct-Horse-7", false), ("", false)] {
            assert_eq!(passwords.verify(Password::new(typed.into()), Some(&hash)).await, Ok(right), "{typed}");
        }
    }

    #[tokio::test]
    async fn an_unknown_user_costs_a_hash_and_never_signs_in() {
        let passwords = Passwords::at(RECOMMENDED, 1).await.unwrap();
        assert!(passwords.nobody.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(passwords.verify(Password::new("nobody".into()), None).await, Ok(false));
    }

    #[tokio::test]
    async fn a_broken_hash_is_an_error_and_not_a_wrong_password() {
        let passwords = Passwords::new(1).await.unwrap();
        assert_eq!(passwords.verify(Password::new("x".into()), Some("x")).await, Err(HashingFailed));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_more_than_allowed_run_at_once() {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        let passwords = Passwords::new(2).await.unwrap();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (passwords, now, most) = (passwords.clone(), now.clone(), most.clone());
            tasks.spawn(async move {
                let work = move || {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    now.fetch_sub(1, SeqCst);
                    Ok(())
                };
                passwords.off_thread(work).await.unwrap();
            });
        }
        tasks.join_all().await;
        assert_eq!(most.load(SeqCst), 2);
    }

    #[test]
    fn debug_hides_the_password() {
        assert_eq!(format!("{:?}", Password::new("hunter2".into())), "Password(***)");
    }
}
