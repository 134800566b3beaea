//! From a request's credential to what is known of its session, page requests renewed on the way.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, request::Parts};
use session_manager_core::refresh::within_grace;
use session_manager_core::{Binding, Error, ErrorKind, PresentedProof, Rejection, RequestContext};
use session_manager_http::{BearerToken, CookieError, DpopToken};

use crate::browser::Browser;
use crate::config::Config;
use crate::cookies::SetCookies;
use crate::rejection::{Refusal, is_definitive};
use crate::state::{Credential, CurrentSession, Outcome};

/// What an examination brought.
pub(crate) struct Examined {
    pub(crate) outcome: Outcome,
    pub(crate) reply: Option<Reply>,
}

/// Cookies for the response, good for a moment only.
pub(crate) struct Reply {
    cookies: SetCookies,
    since: DateTime<Utc>,
    within: Duration,
}

/// How soon a response must start to remove cookies. A slower one could remove those of a sign-in made meanwhile.
const REMOVAL_WINDOW: Duration = Duration::from_secs(10);

impl Reply {
    /// Adds the cookies to a response that starts at `now`, unless they are no longer good or the handler knew better: it may have signed
    /// the user in or out meanwhile.
    pub(crate) fn send(self, now: DateTime<Utc>, headers: &mut HeaderMap) {
        if self.cookies.any_in(headers) {
            return;
        }
        if within_grace(self.since, now, self.within) {
            self.cookies.append_to(headers);
        } else {
            tracing::warn!("a response was too slow to carry session cookies");
        }
    }
}

impl From<Outcome> for Examined {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, reply: None }
    }
}

impl From<Refusal> for Examined {
    fn from(refusal: Refusal) -> Self {
        Outcome::Refused(refusal, None).into()
    }
}

/// Finds out who sent a request.
pub(crate) async fn examine(config: &Config, context: &Arc<RequestContext>, request: &Parts) -> Examined {
    if let Some(origin) = &config.origin {
        match DpopToken::read(&request.headers) {
            Err(error) => return Refusal::Bearer(error).into(),
            Ok(Some(token)) => return authenticate_bound(config, context, origin, &token, request).await.into(),
            Ok(None) => {}
        }
    }
    match BearerToken::read(&request.headers) {
        Err(error) => Refusal::Bearer(error).into(),
        Ok(Some(token)) => authenticate(config, context, token.expose(), Credential::Bearer).await.into(),
        Ok(None) => match &config.browser {
            Some(browser) => examine_cookies(config, browser, context, request).await,
            None => Refusal::NoCredential.into(),
        },
    }
}

/// A token with the scheme `DPoP`: bound to a key, or refused.
async fn authenticate_bound(
    config: &Config,
    context: &Arc<RequestContext>,
    origin: &str,
    token: &DpopToken<'_>,
    request: &Parts,
) -> Outcome {
    let mut shown = RequestContext::clone(context);
    let target = format!("{origin}{}", request.uri.path());
    shown.proof = token.proof().map(|text| Arc::new(PresentedProof::new(text, request.method.as_str(), target)));
    match authenticate(config, &Arc::new(shown), token.expose(), Credential::Dpop).await {
        Outcome::SignedIn(current) if !matches!(current.authenticated().binding(), Some(Binding::Dpop(_))) => {
            let error = Error::from(ErrorKind::InvalidToken(Rejection::WrongPossessor));
            Outcome::Refused(Refusal::Session(error), Some(Credential::Dpop))
        }
        outcome => outcome,
    }
}

async fn examine_cookies(
    config: &Config,
    browser: &Browser,
    context: &Arc<RequestContext>,
    request: &Parts,
) -> Examined {
    let access = browser.cookies.access_token(&request.headers);
    let renewal = if renews(config, request) { browser.cookies.refresh_token(&request.headers) } else { Ok(None) };
    if matches!((access, renewal), (Ok(None), Ok(None))) {
        return Refusal::NoCredential.into();
    }
    if let Err(error) = browser.refuse_other_sites(&request.method, &request.headers) {
        return Refusal::CrossSite(error).into();
    }
    let outcome = match access {
        Ok(Some(token)) => authenticate(config, context, token, Credential::Cookie).await,
        Ok(None) => Outcome::Refused(Refusal::NoCredential, None),
        Err(error) => return spoilt(config, browser, error),
    };
    match renewal {
        Ok(Some(token)) if may_be_renewed(&outcome) => renew(config, browser, context, token).await,
        Err(error) if may_be_renewed(&outcome) => spoilt(config, browser, error),
        _ => outcome.into(),
    }
}

/// Whether this request may use up a refresh token. Without a grace no response could start in time to hand over the next.
fn renews(config: &Config, request: &Parts) -> bool {
    !config.manager.policy().refresh_grace.is_zero() && (config.pages)(request)
}

fn may_be_renewed(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Refused(Refusal::NoCredential, _) => true,
        // A key that was revoked, or has been gone for long, made no better a token than one that is over.
        Outcome::Refused(Refusal::Session(error), _) => {
            matches!(error.kind(), ErrorKind::InvalidToken(Rejection::Expired | Rejection::UnknownKey))
        }
        _ => false,
    }
}

async fn renew(config: &Config, browser: &Browser, context: &Arc<RequestContext>, token: &str) -> Examined {
    let refreshed = match config.manager.refresh(token, context).await {
        Ok(refreshed) => refreshed,
        Err(error) => {
            // A superseded token is the trace of a re-authentication elsewhere in this browser: its cookies may have arrived meanwhile.
            let gone = is_definitive(error.kind()) && error.kind() != ErrorKind::Superseded;
            let reply = gone.then(|| removal(config, browser));
            return Examined { outcome: Outcome::Refused(Refusal::Session(error), Some(Credential::Cookie)), reply };
        }
    };
    let reply = match browser.cookies.set(&refreshed.tokens) {
        Ok(cookies) => Some(Reply {
            cookies,
            since: refreshed.snapshot.control.rotated_at,
            within: config.manager.policy().refresh_grace,
        }),
        Err(error) => {
            tracing::error!(%error, "the tokens of a session fit in no cookie");
            None
        }
    };
    let outcome = authenticate(config, context, refreshed.tokens.access.expose(), Credential::Cookie).await;
    Examined { outcome, reply }
}

async fn authenticate(config: &Config, context: &Arc<RequestContext>, token: &str, credential: Credential) -> Outcome {
    match config.manager.authenticate(token, context).await {
        Ok(authenticated) => Outcome::SignedIn(CurrentSession::new(
            config.manager.clone(),
            Arc::clone(context),
            authenticated,
            credential,
        )),
        Err(error) => {
            if !is_definitive(error.kind()) {
                tracing::warn!(%error, "a request could not be authenticated");
            }
            Outcome::Refused(Refusal::Session(error), Some(credential))
        }
    }
}

/// A cookie that cannot be ours: refused, and removed so that the next request is a clean one.
fn spoilt(config: &Config, browser: &Browser, error: CookieError) -> Examined {
    let reply = Some(removal(config, browser));
    Examined { outcome: Outcome::Refused(Refusal::Cookie(error), Some(Credential::Cookie)), reply }
}

fn removal(config: &Config, browser: &Browser) -> Reply {
    Reply { cookies: browser.cookies.clear(), since: config.manager.clock().now(), within: REMOVAL_WINDOW }
}
