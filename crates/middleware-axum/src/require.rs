//! A layer that turns away requests without a session before they reach the service.

use std::task::{Context, Poll};

use axum::response::{IntoResponse, Response as AxumResponse};
use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use tower::{Layer, Service};

use crate::rejection::{Refusal, SessionRejection};
use crate::state::RequestSession;

/// A tower layer that serves signed-in requests only. It stands behind a [`SessionLayer`](crate::SessionLayer).
///
/// ```
/// use axum::{Router, routing::get};
/// use session_manager_middleware_axum::{RequireSession, SessionLayer};
///
/// fn account(sessions: SessionLayer) -> Router {
///     let routes = Router::new().route("/account", get(|| async { "yours alone" }));
///     routes.route_layer(RequireSession::new()).layer(sessions)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RequireSession<F = fn(SessionRejection) -> AxumResponse> {
    answer: F,
}

/// A service behind [`RequireSession`].
#[derive(Clone, Copy, Debug)]
pub struct RequireSessionService<S, F> {
    inner: S,
    answer: F,
}

impl RequireSession {
    /// Answers with problem details.
    pub fn new() -> Self {
        Self { answer: IntoResponse::into_response }
    }

    /// Answers in another form: with a redirect to the sign-in page, or with a gRPC status.
    pub const fn answering<F, B>(answer: F) -> RequireSession<F>
    where
        F: Fn(SessionRejection) -> Response<B>,
    {
        RequireSession { answer }
    }
}

impl Default for RequireSession {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, F: Clone> Layer<S> for RequireSession<F> {
    type Service = RequireSessionService<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireSessionService { inner, answer: self.answer.clone() }
    }
}

impl<S, F, RequestBody, ResponseBody> Service<Request<RequestBody>> for RequireSessionService<S, F>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    F: Fn(SessionRejection) -> Response<ResponseBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let state = request.extensions().get::<RequestSession>();
        let current = state.map(RequestSession::current);
        match current.unwrap_or_else(|| Err(SessionRejection::new(Refusal::NotConfigured, None))) {
            Ok(_) => Either::Right(self.inner.call(request)),
            Err(rejection) => Either::Left(ready(Ok((self.answer)(rejection)))),
        }
    }
}
