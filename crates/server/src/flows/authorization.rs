//! The authorisation of a connection: looked at, renewed, given back. How one comes about is in `connecting`.

use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use session_manager_http::{Problem, ProblemType, RETRY_AFTER_OUTAGE};
use session_manager_middleware_axum::CurrentSession;
use utoipa::ToSchema;

use super::connections::{no_such_connection, own_connection};
use crate::app::App;
use crate::problem::Rejection;
use crate::providers::{self, Connection, Grant, ProviderFailure, Status};

/// How a connection is authorised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Authorization {
    pub(crate) status: Status,
    /// The end of the access token, where the provider said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "date-time", required = false)]
    pub(crate) expires_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub(crate) scope: Option<String>,
}

impl Authorization {
    pub(super) fn active(scope: Option<String>, expires_at: Option<DateTime<Utc>>) -> Self {
        Self { status: Status::Active, expires_at, scope }
    }
}

/// How a connection is authorised.
///
/// # Errors
/// 401 when the account is gone or disabled; 404 for what is unknown, another user's or no id at all.
pub(crate) async fn authorization(app: &App, session: &CurrentSession, id: &str) -> Result<Authorization, Rejection> {
    let (_, connection) = own_connection(app, session, id).await?;
    let grant = app.providers().connections().grant(connection.id).await?;
    Ok(match grant {
        Some(Grant { scope, expires_at, .. }) => Authorization::active(scope, expires_at),
        None => Authorization { status: connection.status, expires_at: None, scope: None },
    })
}

/// Has the provider renew the tokens of a connection.
///
/// # Behaviour
/// - Of several that come at once one asks the provider, and all get what it gave.
/// - It goes on when the request is given up: what a provider gave in exchange for a refresh token that is good once must not be lost.
///
/// # Errors
/// Those of [`authorization`], 404 also for a connection that is not authorised; 409 where the provider gave nothing to renew by; 502 when the
/// provider refuses, or cannot be reached; 503 while another server asks it.
pub(crate) async fn refresh_authorization(
    app: &App,
    session: &CurrentSession,
    id: &str,
) -> Result<Authorization, Rejection> {
    let (_, connection) = own_connection(app, session, id).await?;
    let seen = app.providers().connections().grant(connection.id).await?.ok_or_else(not_authorised)?;
    let inner = app.clone();
    to_the_end(app, async move { renew(&inner, &connection, &seen).await }).await
}

/// Gives the authorisation of a connection back: the provider is told, and the tokens are erased whatever it says.
///
/// # Errors
/// Those of [`authorization`]. One that is not authorised is no error: it is as was asked for.
pub(crate) async fn end_authorization(app: &App, session: &CurrentSession, id: &str) -> Result<(), Rejection> {
    let (_, connection) = own_connection(app, session, id).await?;
    give_back(app, connection, |app, connection| async move {
        app.providers().connections().disconnected(connection.id, app.now()).await
    })
    .await
}

/// Erases, and then tells the provider of the tokens that there were.
pub(super) async fn give_back<T, F>(
    app: &App,
    connection: Connection,
    erase: impl FnOnce(App, Connection) -> F + Send + 'static,
) -> Result<T, Rejection>
where
    T: Send + 'static,
    F: Future<Output = Result<T, providers::Fault>> + Send,
{
    let inner = app.clone();
    let work = async move {
        let _turn = inner.providers().turn(connection.id).await;
        // What cannot be decrypted any more cannot be given back, and must be possible to erase.
        let tokens = match inner.providers().connections().tokens(connection.id).await {
            Err(providers::Fault::Vault(error)) => {
                tracing::error!(%error, "the tokens of a connection cannot be given back");
                None
            }
            read => read?,
        };
        let erased = erase(inner.clone(), connection.clone()).await?;
        let provider = inner.providers().registry().find(&connection.provider_key);
        if let (Some((tokens, _)), Some(endpoints)) = (tokens, provider.and_then(|provider| provider.endpoints())) {
            endpoints.revoke(inner.providers().http(), &tokens).await;
        }
        Ok(erased)
    };
    to_the_end(app, work).await
}

async fn renew(app: &App, connection: &Connection, seen: &Grant) -> Result<Authorization, Rejection> {
    let _turn = app.providers().turn(connection.id).await;
    let connections = app.providers().connections();
    let Some((old, generation)) = connections.tokens(connection.id).await? else {
        // They were there a moment ago: whoever had the turn before heard that the provider takes them no longer, or they were given back.
        let found = connections.find_any(connection.id).await?.ok_or_else(no_such_connection)?;
        let expired = found.status == Status::Expired;
        return Err(if expired { ProviderFailure::Grant.into() } else { not_authorised() });
    };
    if generation != seen.generation {
        return Ok(Authorization::active(old.scope, old.expires_at));
    }
    let refresh = old.refresh.as_ref().ok_or_else(not_refreshable)?;
    let provider = app.providers().registry().find(&connection.provider_key);
    let endpoints = provider.and_then(|provider| provider.endpoints()).ok_or(ProviderFailure::Refused)?;
    if !connections.claim(connection.id, generation, app.now()).await? {
        return Err(Problem::of(ProblemType::Unavailable).with_retry_after(RETRY_AFTER_OUTAGE).into());
    }
    match endpoints.refresh(app.providers().http(), &old, refresh, app.now()).await {
        Ok(new) => {
            if connections.renewed(connection.id, generation, &new, app.now()).await? {
                return Ok(Authorization::active(new.scope, new.expires_at));
            }
            // Another server erased them meanwhile.
            endpoints.revoke(app.providers().http(), &new).await;
            Err(not_authorised())
        }
        Err(failure) => {
            if failure == ProviderFailure::Grant {
                connections.expired(connection.id, generation, app.now()).await?;
            } else {
                connections.release(connection.id, generation).await?;
            }
            tracing::warn!(provider = connection.provider_key, %failure, "tokens could not be renewed");
            Err(failure.into())
        }
    }
}

/// Does the work even when the request is given up in its middle.
pub(super) async fn to_the_end<T: Send + 'static>(
    app: &App,
    work: impl Future<Output = Result<T, Rejection>> + Send + 'static,
) -> Result<T, Rejection> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let work = async move {
        // Nobody may be listening any more.
        let _ = tell.send(work.await);
    };
    app.providers().background().spawn(work).await;
    told.await.unwrap_or_else(|_| Err(ProblemType::Internal.into()))
}

fn not_authorised() -> Rejection {
    Problem::of(ProblemType::NotFound).with_detail("the connection is not authorised").into()
}

fn not_refreshable() -> Rejection {
    Rejection::new(StatusCode::CONFLICT, "not-refreshable", "Not refreshable")
        .detail("the provider gave nothing to renew the authorisation by; authorise the connection anew")
}
