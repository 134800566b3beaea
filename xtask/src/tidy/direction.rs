//! Who may depend on whom: everything points to the core, and the core points to nothing.

use super::{
    Problem,
    cargo::{Kind, Manifest, SERVICES, SERVICES_FOLDER, each_member, is_ours},
    tree::Tree,
};

const CORE: &str = "session-manager-core";
const HTTP: &str = "session-manager-http";
const MEMORY: &str = "session-manager-storage-memory";
const TESTKIT: &str = "session-manager-testkit";

/// What the core is free of, by the first part of the crate's name. `http` is framework-neutral and free of it too.
const FOREIGN: &[(&str, &[&str])] = &[
    (
        "database or cache",
        &[
            "bb8",
            "deadpool",
            "diesel",
            "fred",
            "memcache",
            "memcached",
            "moka",
            "mongodb",
            "mysql",
            "mysql_async",
            "postgres",
            "r2d2",
            "redb",
            "redis",
            "rocksdb",
            "rusqlite",
            "sea",
            "sled",
            "sqlite",
            "sqlx",
            "tokio-postgres",
        ],
    ),
    ("web framework", &["actix", "axum", "hyper", "ntex", "poem", "rocket", "salvo", "tonic", "tower", "warp"]),
    ("token format", &["biscuit", "jose", "josekit", "jsonwebtoken", "jwt", "pasetors", "rusty_paseto"]),
    (
        "executor",
        &["async-executor", "async-global-executor", "async-std", "futures-executor", "monoio", "smol", "tokio"],
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Core,
    Http,
    /// Storages, backends, audit sinks, enrichers.
    Adapter,
    Middleware,
    Testkit,
    /// The library that starts servers for tests.
    Services,
    /// The facade, the server, the tests, xtask.
    Everything,
}

impl Role {
    fn of(manifest: &Manifest) -> Self {
        match manifest.folder.strip_prefix("crates/") {
            None if manifest.folder == SERVICES_FOLDER => Self::Services,
            None | Some("session-manager" | "server") => Self::Everything,
            Some("core") => Self::Core,
            Some("http") => Self::Http,
            Some("testkit") => Self::Testkit,
            Some(folder) if folder.starts_with("middleware-") => Self::Middleware,
            Some(_) => Self::Adapter,
        }
    }

    /// Whether a crate of this role may use our crate `name`. For tests only, everyone may use the test kit, and the
    /// storage in memory, which needs no server; adapters test themselves against real servers.
    fn may_use(self, name: &str, kind: Kind) -> bool {
        if name == SERVICES {
            return self == Self::Adapter && kind == Kind::Dev;
        }
        if self == Self::Services {
            return false;
        }
        if kind == Kind::Dev && (name == TESTKIT || name == MEMORY) {
            return true;
        }
        match self {
            Self::Core | Self::Services => false,
            Self::Http | Self::Adapter => name == CORE,
            // The test kit holds the one test script that all web adapters are run against.
            Self::Middleware | Self::Testkit => name == CORE || name == HTTP,
            Self::Everything => true,
        }
    }
}

/// Adapters use the core and never each other; nobody uses what stands at the top.
pub(super) fn workspace_crates(tree: &Tree) -> Vec<Problem> {
    each_member(tree, |manifest| {
        let role = Role::of(manifest);
        let ours = manifest.dependencies().into_iter().filter(|dependency| is_ours(dependency.package));
        let wrong = ours.filter(|dependency| {
            let folder = manifest.folder.as_str();
            // The service's own tests have its accounts in each database.
            let tests_itself = folder == "crates/server" && dependency.kind == Kind::Dev;
            let starts_servers = tests_itself || ["tests", "xtask"].contains(&folder);
            if dependency.package == SERVICES && starts_servers {
                return false;
            }
            let at_the_top = match dependency.package {
                "xtask" | "session-manager-tests" => true,
                "session-manager-server" => manifest.folder != "tests",
                _ => false,
            };
            // Its own features, turned on for its tests.
            let itself = dependency.kind == Kind::Dev && dependency.package == manifest.name();
            !itself && (at_the_top || !role.may_use(dependency.package, dependency.kind))
        });
        wrong.map(|dependency| format!("may not depend on {}", dependency.package)).collect()
    })
}

/// No driver, framework, token format or executor in the core; its tests may use what they like.
pub(super) fn foreign_crates(tree: &Tree) -> Vec<Problem> {
    each_member(tree, |manifest| {
        if !matches!(Role::of(manifest), Role::Core | Role::Http) {
            return vec![];
        }
        let used = manifest.dependencies().into_iter().filter(|dependency| dependency.kind != Kind::Dev);
        let named = used.filter_map(|dependency| Some((dependency.package, foreign(dependency.package)?)));
        named.map(|(name, what)| format!("depends on {name}, a {what}")).collect()
    })
}

fn foreign(package: &str) -> Option<&'static str> {
    let is = |family: &&str| {
        let rest = package.strip_prefix(family);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    };
    FOREIGN.iter().find(|(_, families)| families.iter().any(is)).map(|(what, _)| *what)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{assert_caught, assert_tidy},
        *,
    };

    fn manifest(folder: &str, table: &str, dependency: &str) -> (String, String) {
        (format!("{folder}/Cargo.toml"), format!("[package]\nname = \"x\"\n[{table}]\n{dependency} = {{}}\n"))
    }

    #[test]
    fn everything_points_to_the_core() {
        for (folder, table, dependency) in [
            ("crates/http", "dependencies", CORE),
            ("crates/storage-sqlx", "dependencies", CORE),
            ("crates/storage-sqlx", "dev-dependencies", TESTKIT),
            ("crates/middleware-axum", "dependencies", HTTP),
            ("crates/middleware-axum", "dev-dependencies", MEMORY),
            ("crates/testkit", "dependencies", CORE),
            ("crates/server", "dependencies", MEMORY),
            ("crates/session-manager", "dependencies", "session-manager-storage-sqlx"),
            ("tests", "dependencies", "session-manager-server"),
            ("tests", "dependencies", SERVICES),
            ("xtask", "dependencies", SERVICES),
            ("crates/storage-redis", "dev-dependencies", SERVICES),
            ("crates/server", "dev-dependencies", SERVICES),
        ] {
            let (path, text) = manifest(folder, table, dependency);
            assert_tidy(workspace_crates, &[(&path, &text)]);
        }
        for (folder, table, dependency) in [
            ("crates/core", "dependencies", HTTP),
            ("crates/core", "build-dependencies", TESTKIT),
            ("crates/core", "dependencies", "session-manager"),
            ("crates/http", "dependencies", "session-manager-middleware-axum"),
            ("crates/storage-tiered", "dependencies", MEMORY),
            ("crates/storage-sqlx", "dependencies", HTTP),
            ("crates/storage-sqlx", "dependencies", TESTKIT),
            ("crates/backend-jwt", "dev-dependencies", "session-manager-storage-sqlx"),
            ("crates/middleware-axum", "target.'cfg(unix)'.dependencies", "session-manager-backend-jwt"),
            ("crates/session-manager", "dependencies", "session-manager-server"),
            ("crates/server", "dependencies", "session-manager-tests"),
            ("tests", "dependencies", "xtask"),
            ("tests/services", "dependencies", CORE),
            ("tests/services", "dev-dependencies", TESTKIT),
            ("crates/storage-redis", "dependencies", SERVICES),
            ("crates/core", "dev-dependencies", SERVICES),
            ("crates/server", "dependencies", SERVICES),
            ("crates/session-manager", "dev-dependencies", SERVICES),
        ] {
            let (path, text) = manifest(folder, table, dependency);
            assert_caught(workspace_crates, &[(&path, &text)], &path, dependency);
        }
    }

    #[test]
    fn only_the_tests_of_a_crate_may_use_the_crate() {
        let path = "crates/storage-sqlx/Cargo.toml";
        let text = |table: &str| {
            let name = "session-manager-storage-sqlx";
            format!("[package]\nname = {name:?}\n[{table}]\n{name} = {{ path = \".\" }}\n")
        };
        assert_tidy(workspace_crates, &[(path, &text("dev-dependencies"))]);
        assert_caught(workspace_crates, &[(path, &text("dependencies"))], path, "may not depend");
    }

    #[test]
    fn the_core_names_no_driver_framework_format_or_executor() {
        for dependency in ["serde", "futures-util", "futures-timer", "http", "joser", "tokens"] {
            let (path, text) = manifest("crates/core", "dependencies", dependency);
            assert_tidy(foreign_crates, &[(&path, &text)]);
        }
        for (dependency, what) in [
            ("sqlx", "database"),
            ("sqlx-core", "database"),
            ("memcache-async", "cache"),
            ("axum-core", "web framework"),
            ("tower-layer", "web framework"),
            ("jsonwebtoken", "token format"),
            ("tokio", "executor"),
            ("tokio-util", "executor"),
        ] {
            for folder in ["crates/core", "crates/http"] {
                let (path, text) = manifest(folder, "dependencies", dependency);
                assert_caught(foreign_crates, &[(&path, &text)], &path, what);
            }
            let (path, text) = manifest("crates/core", "dev-dependencies", dependency);
            assert_tidy(foreign_crates, &[(&path, &text)]);
            let (path, text) = manifest("crates/server", "dependencies", dependency);
            assert_tidy(foreign_crates, &[(&path, &text)]);
        }
    }
}
