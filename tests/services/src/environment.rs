//! How tests find servers that many of them share: each test is a process of its own, so the address is in its environment.

/// When this variable is `1`, a server that is missing is a failure: set where every test has to run.
pub const REQUIRE: &str = "SESSION_MANAGER_REQUIRE_SERVERS";

/// A server that tests can share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// `postgres://…`, a superuser.
    Postgres,
    /// `postgres://…` through pgbouncer, to the same databases as [`Service::Postgres`].
    PgBouncer,
    /// `mysql://…`, a superuser.
    MariaDb,
    /// `redis://…`.
    Redis,
    /// The `redis://…` of the three Sentinels, with commas between; they call the primary
    /// [`RedisSentinel::SERVICE`](crate::RedisSentinel::SERVICE).
    RedisSentinel,
    /// The `redis://…` of all nodes, with commas between.
    RedisCluster,
    /// `memcached://host:port`.
    Memcached,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 7] = [
        Self::Postgres,
        Self::PgBouncer,
        Self::MariaDb,
        Self::Redis,
        Self::RedisSentinel,
        Self::RedisCluster,
        Self::Memcached,
    ];

    /// The environment variable that holds its address.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "SESSION_MANAGER_TEST_POSTGRES_URL",
            Self::PgBouncer => "SESSION_MANAGER_TEST_PGBOUNCER_URL",
            Self::MariaDb => "SESSION_MANAGER_TEST_MARIADB_URL",
            Self::Redis => "SESSION_MANAGER_TEST_REDIS_URL",
            Self::RedisSentinel => "SESSION_MANAGER_TEST_REDIS_SENTINEL_URLS",
            Self::RedisCluster => "SESSION_MANAGER_TEST_REDIS_CLUSTER_URLS",
            Self::Memcached => "SESSION_MANAGER_TEST_MEMCACHED_URL",
        }
    }
}

/// The address of a server to share, or nothing, which is said on standard error: the test that asks ends then.
///
/// # Panics
///
/// When there is none although [`REQUIRE`] says that there must be.
pub fn url(service: Service) -> Option<String> {
    accept(find(service, std::env::var(service.variable()).ok(), is_required()))
}

/// A program that some tests need, or nothing, as [`url`] says it.
#[track_caller]
pub(crate) fn may_lack<T>(found: crate::Result<T>) -> Option<T> {
    accept(found.map_err(|error| Lack { text: format!("SKIPPED {}: {error}", test()), required: is_required() }))
}

fn is_required() -> bool {
    std::env::var(REQUIRE).is_ok_and(|value| value == "1")
}

fn test() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

#[track_caller]
fn accept<T>(found: Result<T, Lack>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(Lack { text, required: false }) => {
            say(&text);
            None
        }
        Err(Lack { text, required: true }) => fail(&text),
    }
}

/// As [`url`], for a service of several servers.
///
/// # Panics
///
/// As [`url`].
pub fn urls(service: Service) -> Option<Vec<String>> {
    Some(url(service)?.split(',').map(str::to_owned).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Lack {
    text: String,
    required: bool,
}

fn find(service: Service, value: Option<String>, required: bool) -> Result<String, Lack> {
    let how = "`cargo xtask test` starts the servers, `cargo xtask services up` keeps them";
    value.filter(|url| !url.is_empty()).ok_or_else(|| Lack {
        text: format!("SKIPPED {}: {} is not set ({how})", test(), service.variable()),
        required,
    })
}

#[allow(clippy::print_stderr, reason = "a test that does not run has to say so where tests speak")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::panic, reason = "this is how a test fails")]
#[track_caller]
fn fail(text: &str) -> ! {
    panic!("{text}, but {REQUIRE}=1");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_missing_or_empty_is_a_skipped_test_or_a_failure() {
        let url = "redis://127.0.0.1:1".to_owned();
        assert_eq!(find(Service::Redis, Some(url.clone()), true), Ok(url));
        for (value, required) in [(None, false), (Some(String::new()), true)] {
            let lack = find(Service::Redis, value, required).unwrap_err();
            assert_eq!(lack.required, required);
            assert!(lack.text.starts_with("SKIPPED environment::tests::an_address"), "{}", lack.text);
            assert!(lack.text.contains("SESSION_MANAGER_TEST_REDIS_URL"), "{}", lack.text);
        }
    }

    #[test]
    #[should_panic(expected = "SESSION_MANAGER_REQUIRE_SERVERS=1")]
    fn a_failure_says_who_asked_for_it() {
        fail("SKIPPED");
    }

    #[test]
    fn every_service_has_a_variable_of_its_own() {
        let names: std::collections::BTreeSet<_> = Service::ALL.into_iter().map(Service::variable).collect();
        assert_eq!(names.len(), Service::ALL.len());
    }
}
