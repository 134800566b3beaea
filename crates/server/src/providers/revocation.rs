//! Giving tokens back to the provider (RFC 7009), as far as it can be reached.
//!
//! Not by the `oauth2` crate, which sends revocations to https only: on this machine our providers may be http.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request, header};
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::Tokens;
use super::http_client::HttpClient;
use super::oauth::Endpoints;
use crate::config::ClientAuth;

/// The user waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

impl Endpoints {
    /// Tells the provider that the tokens are not needed any more. Best effort: what it does not hear of ends by itself.
    ///
    /// # Behaviour
    /// The refresh token first, with which most providers end all that came from it. Takes five seconds at most.
    pub(crate) async fn revoke(&self, http: &HttpClient, tokens: &Tokens) {
        let work = async {
            if let Some(refresh) = &tokens.refresh {
                self.revoke_one(http, refresh, "refresh_token").await;
            }
            self.revoke_one(http, &tokens.access, "access_token").await;
        };
        if tokio::time::timeout(PATIENCE, work).await.is_err() {
            tracing::warn!("a provider did not say in time that it revoked a token");
        }
    }

    async fn revoke_one(&self, http: &HttpClient, token: &str, hint: &str) {
        let Some(request) = self.revocation(token, hint) else { return };
        match http.send(request).await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => tracing::warn!(status = answer.status().as_u16(), "a provider did not revoke a token"),
            Err(error) => tracing::warn!(%error, "a provider could not be told to revoke a token"),
        }
    }

    /// The request; none where the provider has no such endpoint.
    fn revocation(&self, token: &str, hint: &str) -> Option<Request<Vec<u8>>> {
        let url = self.revocation_url.as_ref()?.url();
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", hint);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        let id = self.client.client_id().as_str();
        match (&self.client_secret, self.client_auth) {
            (Some(secret), ClientAuth::Basic) => {
                // Encoded twice, as RFC 6749 section 2.3.1 has it.
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new([encoded(id), encoded(secret.expose())].join(":"));
                let mut value = HeaderValue::try_from(["Basic ", &STANDARD.encode(pair.as_bytes())].concat()).ok()?;
                value.set_sensitive(true);
                request = request.header(header::AUTHORIZATION, value);
            }
            (Some(secret), ClientAuth::Body) => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.expose());
            }
            (None, _) => {
                form.append_pair("client_id", id);
            }
        }
        request.body(form.finish().into_bytes()).ok()
    }
}
