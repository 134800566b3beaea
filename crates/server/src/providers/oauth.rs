//! What we say to a provider: the authorisation-code flow with PKCE, and the renewal of its tokens (RFC 6749, RFC 7636, RFC 9700).

use chrono::{DateTime, TimeDelta, Utc};
use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicRequestTokenError, BasicTokenResponse, BasicTokenType};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, TokenResponse as _,
    TokenUrl,
};
use url::Url;
use zeroize::Zeroizing;

use super::http_client::{HttpClient, HttpFailure};
use super::{Begun, Tokens};
use crate::config::{ClientAuth, EndpointUrl, Provider, PublicUrl};

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// A provider that can be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(super) client: Client,
    pub(super) client_secret: Option<crate::config::ClientSecret>,
    pub(super) client_auth: ClientAuth,
    pub(super) revocation_url: Option<EndpointUrl>,
    scopes: Vec<String>,
    issuer: Option<String>,
}

/// Where to send the browser. The address holds the state.
#[derive(Clone)]
pub(crate) struct AuthorizationRequest {
    pub(crate) url: Url,
}

/// A provider did not give what it was asked for. Says nothing of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProviderFailure {
    /// The code or the refresh token is not good, or not any more (`invalid_grant`).
    #[error("the provider does not accept the grant")]
    Grant,
    /// It said something else: that it does not know us, that it has a fault.
    #[error("the provider refused")]
    Refused,
    #[error("the provider's answer makes no sense")]
    Senseless,
    #[error(transparent)]
    Unreachable(#[from] HttpFailure),
}

impl Endpoints {
    /// Those of a provider; nothing where it is not configured so far.
    pub(super) fn new(key: &str, provider: &Provider, public_url: &PublicUrl) -> Result<Option<Self>, &'static str> {
        let (Some(id), Some(auth), Some(token)) = (&provider.client_id, &provider.auth_url, &provider.token_url) else {
            return Ok(None);
        };
        // One address for each provider: it is registered there to the letter, and a code of one provider never arrives where that of another
        // is expected (RFC 9700 section 4.4).
        let redirect = format!("{public_url}/api/v1/providers/{key}/authorization/callback");
        let redirect = RedirectUrl::new(redirect).map_err(|_| "no address for its answers can be made")?;
        let mut client = BasicClient::new(ClientId::new(id.clone()))
            .set_auth_uri(AuthUrl::from_url(auth.url().clone()))
            .set_token_uri(TokenUrl::from_url(token.url().clone()))
            .set_redirect_uri(redirect)
            .set_auth_type(match provider.client_auth {
                ClientAuth::Basic => AuthType::BasicAuth,
                ClientAuth::Body => AuthType::RequestBody,
            });
        if let Some(secret) = &provider.client_secret {
            client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        }
        Ok(Some(Self {
            client,
            client_secret: provider.client_secret.clone(),
            client_auth: provider.client_auth,
            revocation_url: provider.revocation_url.clone(),
            scopes: provider.scopes.clone(),
            issuer: provider.issuer.clone(),
        }))
    }

    /// Whether any of its addresses is https.
    pub(super) fn needs_tls(&self) -> bool {
        let revocation = self.revocation_url.as_ref().map(EndpointUrl::url);
        [Some(self.client.token_uri().url()), revocation].into_iter().flatten().any(|url| url.scheme() == "https")
    }

    /// Where the browser is sent to, as a source of a Content-Security-Policy.
    pub(super) fn origin(&self) -> String {
        self.client.auth_uri().url().origin().ascii_serialization()
    }

    /// Whether an answer comes from the provider that was asked: it names itself where we know its name (RFC 9207).
    pub(crate) fn is_issuer(&self, named: Option<&str>) -> bool {
        self.issuer.is_none() || self.issuer.as_deref() == named
    }

    /// Where the browser goes with a state.
    pub(crate) fn request(&self, begun: &Begun) -> AuthorizationRequest {
        let verifier = PkceCodeVerifier::new(begun.verifier.to_string());
        let (url, _) = self
            .client
            .authorize_url(|| CsrfToken::new(begun.state.clone()))
            .add_scopes(self.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        AuthorizationRequest { url }
    }

    /// Exchanges a code for tokens.
    pub(crate) async fn exchange(
        &self,
        http: &HttpClient,
        code: String,
        verifier: &str,
        now: DateTime<Utc>,
    ) -> Result<Tokens, ProviderFailure> {
        let request = self.client.exchange_code(AuthorizationCode::new(code));
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
        let answer = request.request_async(http).await.map_err(|error| failure(&error))?;
        tokens(&answer, &self.scopes.join(" "), now)
    }

    /// Renews tokens. What the provider does not mention stays as it was (RFC 6749 section 6).
    pub(crate) async fn refresh(
        &self,
        http: &HttpClient,
        old: &Tokens,
        refresh: &str,
        now: DateTime<Utc>,
    ) -> Result<Tokens, ProviderFailure> {
        let refresh = RefreshToken::new(refresh.to_owned());
        let answer = self.client.exchange_refresh_token(&refresh).request_async(http).await;
        let answer = answer.map_err(|error| failure(&error))?;
        let mut renewed = tokens(&answer, old.scope.as_deref().unwrap_or_default(), now)?;
        renewed.refresh = renewed.refresh.or_else(|| old.refresh.clone());
        Ok(renewed)
    }
}

impl std::fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthorizationRequest(***)")
    }
}

fn tokens(answer: &BasicTokenResponse, asked: &str, now: DateTime<Utc>) -> Result<Tokens, ProviderFailure> {
    // The only kind that we could use.
    if *answer.token_type() != BasicTokenType::Bearer || answer.access_token().secret().is_empty() {
        return Err(ProviderFailure::Senseless);
    }
    let granted = answer.scopes().map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
    // A provider that says nothing has granted what was asked for (RFC 6749 section 5.1).
    let scope = granted.unwrap_or_else(|| asked.to_owned());
    let lasts = answer.expires_in().and_then(|lasts| TimeDelta::from_std(lasts).ok());
    Ok(Tokens {
        access: Zeroizing::new(answer.access_token().secret().clone()),
        refresh: answer.refresh_token().map(|token| Zeroizing::new(token.secret().clone())),
        scope: Some(scope).filter(|scope| !scope.is_empty()),
        expires_at: lasts.and_then(|lasts| now.checked_add_signed(lasts)),
    })
}

fn failure(error: &BasicRequestTokenError<HttpFailure>) -> ProviderFailure {
    match error {
        RequestTokenError::ServerResponse(answer) if *answer.error() == BasicErrorResponseType::InvalidGrant => {
            ProviderFailure::Grant
        }
        RequestTokenError::ServerResponse(_) => ProviderFailure::Refused,
        RequestTokenError::Request(failure) => ProviderFailure::Unreachable(*failure),
        // The errors themselves quote the answer, which may hold tokens.
        _ => ProviderFailure::Senseless,
    }
}
