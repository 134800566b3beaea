//! What is said at the start: warnings to the log, the first steps to standard output.

use std::net::SocketAddr;

use crate::app::App;
use crate::config::SessionStorageKind;

/// Warns of what is allowed but should be known.
pub(super) fn warn(app: &App, address: SocketAddr) {
    if !app.public_url().is_https() {
        tracing::warn!(
            "public_url is http, so cookies travel without Secure and their __Host- names: for this machine only"
        );
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "listening beyond this machine while public_url is http: others can read along");
        }
    }
    if app.public_url().is_https()
        && app.settings().certificate().is_none()
        && app.settings().http.trusted_proxies.is_empty()
    {
        tracing::warn!(
            "public_url is https and http.trusted_proxies is empty: whoever ends TLS before this server is taken for the client, so \
             that all users share one address in lists, mails and locks"
        );
    }
    if app.settings().metrics.enabled && app.settings().certificate().is_some() && !app.is_local() {
        tracing::warn!(
            "metrics.enabled is true and no proxy stands before this server: whoever reaches it reads GET /metrics"
        );
    }
    if !app.settings().rate_limits.enabled && !app.is_local() {
        tracing::warn!("rate_limits.enabled is false: nothing bounds how often a client may ask");
    }
    if app.data().shared {
        tracing::warn!(
            folder = %app.settings().data.display(),
            "another server uses this data folder too: both write one SQLite file, which is safe on one machine"
        );
        if app.settings().sessions.storage == SessionStorageKind::Memory {
            tracing::warn!("sessions.storage is memory: the two servers do not know each other's sessions");
        }
    }
    if app.settings().sessions.storage == SessionStorageKind::Memory {
        tracing::warn!("sessions.storage is memory: all sessions end with this process");
    }
}

/// The first steps, for pasting into a shell one after the other.
pub(super) fn quick_start(app: &App) -> String {
    let api = format!("{}/api/v1/auth", app.public_url());
    let mail = app.data().mail.display().to_string().replace('\'', r"'\''");
    let post = "-H 'Content-Type: application/json' -d";
    let admin = match (&app.settings().admin.email, app.is_local()) {
        (Some(_), _) => "The account with the configured admin.email is the administrator.",
        (None, true) => "The first account is the administrator while the server is for this machine only.",
        (None, false) => "Nobody is an administrator until admin.email is set.",
    };
    let credentials = r#""email":"you@example.org","password":"Correct-Horse-7""#;
    format!(
        r#"
Open {url}/ in a browser, or paste these lines into a shell:

# 1. Register.
curl -sw '\n' {api}/register {post} '{{{credentials},"name":"You"}}'
# 2. Confirm the address: the mail lies in the spool folder.
TOKEN=$(grep -ho 'token=[A-Za-z0-9_-]*' '{mail}'/*-verify-*.eml | tail -n 1 | cut -d = -f 2)
curl -sw '\n' {api}/verify-email {post} "{{\"token\":\"$TOKEN\"}}"
# 3. Sign in, here and on another device.
login() {{ curl -s -A "$1" {api}/login {post} '{{{credentials}}}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/'; }}
HERE=$(login laptop) THERE=$(login phone)
# 4. See both sessions, end all but this one: the other's token is refused at once.
curl -sw '\n' {api}/sessions -H "Authorization: Bearer $HERE"
curl -sw '\n' -X DELETE {api}/sessions/others/revoke -H "Authorization: Bearer $HERE"
curl -sw '\n' {api}/me -H "Authorization: Bearer $THERE"
# 5. Sign out.
curl -sw '\n' -X POST {api}/logout -H "Authorization: Bearer $HERE"

{admin} Ctrl-C ends the server.
"#,
        url = app.public_url(),
    )
}
