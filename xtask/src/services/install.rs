//! Installs the servers' packages without letting Debian start the servers, now or when the machine boots.

use std::path::Path;

use session_manager_services::missing;

use crate::process::{Failure, Outcome, Program};

/// In a shell for the sake of `trap`: the policy must go even when Ctrl-C ends everything.
///
/// `policy-rc.d` is where Debian asks whether a package may start its service; 101 says no. A policy that is there
/// already is the machine's own business. A package that was there before keeps its service as it was.
const SCRIPT: &str = r#"
set -eu
policy=$1
shift
fresh=
for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || fresh="$fresh $package"
done
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends "$@"
if command -v systemctl >/dev/null 2>&1; then
    for package in $fresh; do
        systemctl disable --quiet "${package%-server}" 2>/dev/null || true
        systemctl disable --quiet "$package" 2>/dev/null || true
    done
fi
"#;

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing where we may, and otherwise says what to install.
pub(crate) fn run(root: &Path) -> Outcome {
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let is_root = Program::new("id", root).arg("-u").answer().is_some_and(|id| id == "0");
    if is_root && Program::new("apt-get", root).arg("--version").answer().is_some() {
        let names: Vec<_> = packages.iter().map(|package| package.name).collect();
        println!("installing {}", names.join(" "));
        let failed = |_| Failure::Missing(format!("the installation of {} failed, see above", names.join(" ")));
        script(root, POLICY).args(&names).run_quietly().map_err(failed)?;
    }
    super::lacks(&missing())
}

fn script(root: &Path, policy: &str) -> Program {
    Program::new("sh", root).args(["-c", SCRIPT, "install", policy])
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    use tempfile::TempDir;

    use super::*;

    /// A Debian that consists of three programs, which write down how they are called and whether the policy is there.
    struct Debian {
        folder: TempDir,
    }

    impl Debian {
        fn new(apt_get: &str) -> Self {
            let debian = Self { folder: tempfile::tempdir().unwrap() };
            debian.program("apt-get", &format!("{apt_get}; "));
            debian.program("systemctl", "");
            // One package is there already.
            debian.program("dpkg", "[ \"$2\" = memcached ] && exit 0; exit 1; ");
            debian
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn program(&self, name: &str, body: &str) {
            let (said, policy) = (self.path("said"), self.path("policy"));
            let note = format!(
                "[ -x {policy} ] && with=with || with=without\necho {name} $* $with >>{said}\n",
                policy = policy.display(),
                said = said.display()
            );
            let text = format!("#!/bin/sh\n{note}{body}\n:\n");
            fs::write(self.path(name), text).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn install(&self) -> Outcome {
            let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
            let policy = self.path("policy").display().to_string();
            script(self.folder.path(), &policy).args(["redis-server", "memcached"]).env("PATH", &path).run_quietly()
        }

        fn said(&self) -> String {
            fs::read_to_string(self.path("said")).unwrap()
        }
    }

    #[test]
    fn no_service_is_started_and_the_policy_goes_afterwards() {
        let debian = Debian::new(":");
        debian.install().unwrap();
        let said = debian.said();
        assert!(
            said.contains("apt-get -q install --yes --no-install-recommends redis-server memcached with\n"),
            "{said}"
        );
        assert!(said.contains("systemctl disable --quiet redis-server with\n"), "{said}");
        assert!(!said.contains("systemctl disable --quiet memcached"), "it was there before: {said}");
        assert!(!debian.path("policy").exists());
    }

    #[test]
    fn the_policy_goes_when_the_installation_fails_or_is_interrupted() {
        for ending in ["exit 1", "kill -s INT $PPID; exit 1", "kill -s TERM $PPID; sleep 1; exit 1"] {
            let debian = Debian::new(ending);
            assert!(debian.install().is_err(), "{ending}");
            assert!(!debian.path("policy").exists(), "{ending}");
            assert!(debian.said().contains("apt-get -q update with\n"), "{ending}");
        }
    }

    #[test]
    fn a_policy_that_was_there_stays_as_it_is() {
        let debian = Debian::new(":");
        fs::write(debian.path("policy"), "mine").unwrap();
        debian.install().unwrap();
        assert_eq!(fs::read_to_string(debian.path("policy")).unwrap(), "mine");
    }
}
