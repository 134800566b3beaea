//! The database over TLS: a connection is made to whom its certificate names, and to nobody else.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use session_manager_services::{MariaDb, Postgres};

use super::open;
use crate::data::fresh_database;

/// A certificate that vouches for itself, and for `localhost` alone.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    /// For a server that may run as another user of this machine, who alone may read the key then.
    fn made(folder: &Path, name: &str) -> Self {
        let pair = Self { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(&pair.certificate, certificate.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::{PermissionsExt as _, chown};
            let set =
                |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            set(folder, 0o755);
            set(&pair.certificate, 0o644);
            set(&pair.key, 0o600);
            // Whoever is not root runs the server as himself.
            let _ = chown(&pair.key, Some(NOBODY), None);
        }
        pair
    }
}

/// As whom root runs the servers.
#[cfg(unix)]
const NOBODY: u32 = 65_534;

/// `url` is of a server with the first pair, and `asked` the question which protocol the connection speaks.
async fn is_to_whom_the_certificate_names(url: &str, keys: [&str; 2], [own, other]: [&Pair; 2], asked: &'static str) {
    let url = fresh_database(url);
    let [verified, roots] = keys;
    let at = |host: &str, pair: &Pair| {
        format!("{}?{verified}&{roots}={}", url.replace("127.0.0.1", host), pair.certificate.display())
    };
    let pool = open(&at("localhost", own)).await.unwrap();
    let spoken = crate::sql::query(asked).fetch_one(&pool).await.unwrap().only::<String>().unwrap();
    assert!(spoken.starts_with("TLSv1."), "{spoken:?}");
    for (host, pair) in [("127.0.0.1", own), ("localhost", other)] {
        let text = open(&at(host, pair)).await.unwrap_err().to_string();
        assert!(text.contains("no safe connection can be made") && text.contains("`database.url`"), "{host}: {text}");
    }
}

#[tokio::test]
async fn postgres_over_tls_is_whom_its_certificate_names() {
    let folder = tempfile::tempdir().unwrap();
    let [own, other] = ["own", "other"].map(|name| Pair::made(folder.path(), name));
    let settings =
        [format!("ssl_cert_file={}", own.certificate.display()), format!("ssl_key_file={}", own.key.display())];
    let server = Postgres::with_args(&["-c", "ssl=on", "-c", &settings[0], "-c", &settings[1]]).unwrap();
    let asked = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    is_to_whom_the_certificate_names(&server.url(), ["sslmode=verify-full", "sslrootcert"], [&own, &other], asked)
        .await;
}

#[tokio::test]
async fn mariadb_over_tls_is_whom_its_certificate_names() {
    let folder = tempfile::tempdir().unwrap();
    let [own, other] = ["own", "other"].map(|name| Pair::made(folder.path(), name));
    let settings = [format!("--ssl-cert={}", own.certificate.display()), format!("--ssl-key={}", own.key.display())];
    let server = MariaDb::with_args(&[&settings[0], &settings[1]]).unwrap();
    let asked = "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_VERSION'";
    is_to_whom_the_certificate_names(&server.url(), ["ssl-mode=VERIFY_IDENTITY", "ssl-ca"], [&own, &other], asked)
        .await;
}
