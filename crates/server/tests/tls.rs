//! The server as a process with a certificate of its own.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "the functions between the tests are tests too")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Writes a certificate for this machine, valid until this year, and its key. Returns the certificate.
fn make(folder: &Path, until: i32) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let chain = params.self_signed(&key).unwrap().pem();
    fs::write(folder.join("chain.pem"), &chain).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    chain
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-manager-server"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data")).env_remove("RUST_LOG");
    for (key, file) in [("certificate", "chain.pem"), ("key", "key.pem")] {
        command.arg("--set").arg(format!("tls.{key}={}", folder.join(file).display()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(folder: &Path) -> (Child, String) {
    let mut child = command(folder).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on https://").unwrap_or_else(|| panic!("{line:?}"));
    (child, address.to_owned())
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn get(address: &str, chain: &str, path: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let client = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(address)?);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn it_speaks_https_and_takes_a_new_certificate_without_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let first = make(folder.path(), 2100);
    let (child, address) = start(folder.path());
    let answer = get(&address, &first, "/ready").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\r\nstrict-transport-security: max-age=63072000\r\n"), "{answer}");
    // What a wrong file does to a server that runs: nothing.
    fs::write(folder.path().join("key.pem"), "garbage").unwrap();
    signal(&child, "-HUP");
    let second = make(folder.path(), 2100);
    signal(&child, "-HUP");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while get(&address, &second, "/health").is_err() {
        assert!(std::time::Instant::now() < deadline, "the new certificate is not shown");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let refused = get(&address, &first, "/health").unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    let silent = TcpStream::connect(&address).unwrap();
    let begun = std::time::Instant::now();
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && begun.elapsed() < std::time::Duration::from_secs(5), "{output:?}");
    drop(silent);
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!log.contains("trusted_proxies is empty") && !log.contains("public_url is http"), "{log}");
    assert!(log.contains("a new TLS certificate is shown"), "{log}");
}

#[test]
fn a_start_without_a_usable_pair_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 2100);
    let key = folder.path().join("key.pem");
    let refused = |expected: &str| {
        let Output { status, stdout, stderr } = command(folder.path()).output().unwrap();
        let message = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{message}");
        assert!(stdout.is_empty() && message.contains(expected), "{expected}: {message}");
        assert!(!folder.path().join("data").exists());
    };
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused("chmod 600");
    fs::remove_file(&key).unwrap();
    refused("key.pem cannot be read: no such file");
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    refused("does not belong to the certificate");
}

#[test]
fn an_expired_certificate_is_warned_of_by_the_log_and_the_doctor() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 2020);
    let (child, _) = start(folder.path());
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && log.contains("the TLS certificate has expired (2020-01-01 00:00 UTC)"), "{log}");
    let output = command(folder.path()).args(["doctor", "--json"]).output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    let line = report.lines().find(|line| line.contains(r#""what":"TLS""#)).unwrap_or_else(|| panic!("{report}"));
    assert!(line.contains("warning") && line.contains("expired") && output.status.success(), "{report}");
    make(folder.path(), 2100);
    let report = String::from_utf8(command(folder.path()).args(["doctor"]).output().unwrap().stdout).unwrap();
    assert!(report.contains("belong together"), "{report}");
}
