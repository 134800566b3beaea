//! How a connection gets its authorisation: the way to the provider and back.
//!
//! The way back comes through a browser, and whoever can make a browser open an address can send it there. RFC 9700 wants it bound to who
//! began. Here that is a session: with a session cookie the browser must carry it on the way back. A program has no way to put its bearer
//! token into the browser; there the state is what counts, and a browser that is not signed in is asked first, with the account named.

use http::StatusCode;
use session_manager_core::UserId;
use session_manager_middleware_axum::{Credential, CurrentSession};

use super::authorization::{Authorization, to_the_end};
use super::connections::{not_configured, own_connection};
use super::profile::open_account;
use crate::app::App;
use crate::problem::Rejection;
use crate::providers::{AuthorizationRequest, Connection, Pending, ProviderFailure, ProviderType};

/// The way to the provider.
#[derive(Clone)]
pub(crate) struct Departure {
    pub(crate) request: AuthorizationRequest,
    pub(crate) state: String,
}

/// What came back from a provider. `Debug` hides it.
#[derive(Clone, Default)]
pub(crate) struct Arrival {
    /// The part of the address: a connection's id or a provider's key.
    pub(crate) place: String,
    pub(crate) state: String,
    pub(crate) code: Option<String>,
    /// Why there is no code.
    pub(crate) error: Option<String>,
    /// Who answers (RFC 9207).
    pub(crate) issuer: Option<String>,
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arrival(***)")
    }
}

/// As whom a request from the provider arrives.
#[derive(Clone, Debug)]
pub(crate) enum Traveller {
    /// With a session.
    Session(CurrentSession),
    /// With nothing; also a browser with the cookie of a session that ended long ago.
    Unknown,
}

/// What a browser that is not signed in is asked before the connection is authorised.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) provider: String,
    pub(crate) alias: String,
    pub(crate) email: String,
}

/// Begins the authorisation of a connection.
///
/// # Errors
/// 400 for a provider that cannot be connected to any more; 401 when the account is gone or disabled; 404 for what is unknown, another user's
/// or no id at all.
pub(crate) async fn begin_authorization(app: &App, session: &CurrentSession, id: &str) -> Result<Departure, Rejection> {
    let (user, connection) = own_connection(app, session, id).await?;
    let provider = app.providers().registry().find(&connection.provider_key);
    let endpoints = provider.and_then(ProviderType::endpoints).ok_or_else(not_configured)?;
    let by_browser = session.credential() == Credential::Cookie;
    let connections = app.providers().connections();
    let begun = connections.begin(connection.id, user.id, session.session_id(), by_browser, app.now()).await?;
    let request = endpoints.request(&begun);
    Ok(Departure { request, state: begun.state })
}

/// What is to be asked in the browser first; nothing where there is nothing to ask, also because the state is not good.
///
/// # Errors
/// The storage fails.
pub(crate) async fn question(
    app: &App,
    arrival: &Arrival,
    traveller: &Traveller,
) -> Result<Option<Question>, Rejection> {
    if !matches!(traveller, Traveller::Unknown) || arrival.code.is_none() {
        return Ok(None);
    }
    let Some(pending) = app.providers().connections().look(&arrival.state, app.now()).await? else { return Ok(None) };
    match admitted(app, &pending, arrival, traveller).await? {
        Some((connection, provider)) => {
            let user = UserId::parse(&pending.user.to_string())?;
            let email = open_account(app, &user).await?.email.as_str().to_owned();
            Ok(Some(Question { provider: provider.name, alias: connection.alias, email }))
        }
        None => Ok(None),
    }
}

/// Ends the authorisation of a connection: the state is used up, the code exchanged, and the tokens are stored.
///
/// # Errors
/// 400 for a state that is unknown, used, too old or another session's, for a provider that says no or is not the one that was asked, and for
/// a code that it does not take; 502 when it cannot be reached or makes no sense.
///
/// # Security
/// The state is looked at before anything else, and used up whatever comes of it.
pub(crate) async fn finish_authorization(
    app: &App,
    arrival: Arrival,
    traveller: &Traveller,
) -> Result<(Connection, Authorization), Rejection> {
    let pending = app.providers().connections().take(&arrival.state, app.now()).await?.ok_or_else(invalid_state)?;
    let (connection, provider) = admitted(app, &pending, &arrival, traveller).await?.ok_or_else(invalid_state)?;
    let endpoints = provider.endpoints().ok_or_else(not_configured)?;
    if !endpoints.is_issuer(arrival.issuer.as_deref()) {
        tracing::warn!(provider = provider.key, "an answer names another issuer than the one that was asked");
        return Err(bad("wrong-issuer", "Wrong issuer", "the answer does not come from the provider that was asked"));
    }
    if arrival.error.is_some() {
        return Err(bad(
            "authorization-denied",
            "Authorisation denied",
            "the provider did not authorise the connection",
        ));
    }
    let code = arrival.code.filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| bad("no-code", "No code", "the provider sent no code"))?;
    let inner = app.clone();
    let work = async move {
        let authorization = exchange(&inner, (&pending, &connection), &provider, code).await?;
        Ok((connection, authorization))
    };
    to_the_end(app, work).await
}

/// The connection and the provider of a state, if whoever arrives with it may end the authorisation.
async fn admitted(
    app: &App,
    pending: &Pending,
    arrival: &Arrival,
    traveller: &Traveller,
) -> Result<Option<(Connection, ProviderType)>, Rejection> {
    let may = match traveller {
        Traveller::Session(current) => current.session_id() == pending.session,
        // A program cannot make the browser carry its token.
        Traveller::Unknown => !pending.by_browser && lives(app, pending).await?,
    };
    if !may {
        return Ok(None);
    }
    let Some(connection) = app.providers().connections().find(pending.user, pending.connection).await? else {
        return Ok(None);
    };
    let here = arrival.place == connection.provider_key || arrival.place.parse() == Ok(connection.id);
    let provider = app.providers().registry().find(&connection.provider_key).cloned();
    Ok(provider.filter(|_| here).map(|provider| (connection, provider)))
}

/// Whether the session that began lives, and its account is open.
async fn lives(app: &App, pending: &Pending) -> Result<bool, Rejection> {
    let user = UserId::parse(&pending.user.to_string())?;
    let view = app.sessions().manager().get(Some(&user), pending.session).await?;
    let open = open_account(app, &user).await;
    match open {
        Ok(_) => Ok(view.is_some_and(|view| view.state.is_live())),
        Err(rejection) if rejection.problem().status() == StatusCode::UNAUTHORIZED => Ok(false),
        Err(rejection) => Err(rejection),
    }
}

async fn exchange(
    app: &App,
    (pending, connection): (&Pending, &Connection),
    provider: &ProviderType,
    code: String,
) -> Result<Authorization, Rejection> {
    let endpoints = provider.endpoints().ok_or_else(not_configured)?;
    let _turn = app.providers().turn(pending.connection).await;
    let http = app.providers().http();
    let tokens = endpoints.exchange(http, code, &pending.verifier, app.now()).await.map_err(|failure| {
        tracing::warn!(provider = provider.key, %failure, "a code could not be exchanged");
        match failure {
            ProviderFailure::Grant => bad("code-refused", "Code refused", "the provider does not accept the code"),
            failure => failure.into(),
        }
    })?;
    if !app.providers().connections().authorised(connection, &tokens, app.now()).await? {
        // It was removed or disconnected meanwhile. Nobody will need the tokens.
        endpoints.revoke(http, &tokens).await;
        return Err(invalid_state());
    }
    Ok(Authorization::active(tokens.scope, tokens.expires_at))
}

fn invalid_state() -> Rejection {
    bad("invalid-state", "Invalid state", "this authorisation is over, or it was begun elsewhere; begin it again")
}

fn bad(slug: &str, title: &'static str, detail: &'static str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, slug, title).detail(detail)
}
