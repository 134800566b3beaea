//! The service that the layer makes: examine, serve, and send the cookies while they are still true.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tower::{Layer, Service};

use crate::client::context_of;
use crate::config::{Config, SessionLayer};
use crate::credential::examine;
use crate::state::RequestSession;

/// A service behind a [`SessionLayer`].
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, config: Arc::clone(self.config()) }
    }
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for SessionService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>> + Clone + Send + 'static,
    S::Future: Send,
    RequestBody: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        // The one that was polled ready is the one to call; its clone may not be.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let config = Arc::clone(&self.config);
        async move {
            let (mut parts, body) = request.into_parts();
            let context = Arc::new(context_of(&config, &parts));
            let examined = examine(&config, &context, &parts).await;
            parts.extensions.insert(RequestSession::new(Arc::clone(&config), context, examined.outcome));
            let mut response = inner.call(Request::from_parts(parts, body)).await?;
            if let Some(reply) = examined.reply {
                reply.send(config.manager.clock().now(), response.headers_mut());
            }
            Ok(response)
        }
        .boxed()
    }
}

impl<S> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").finish_non_exhaustive()
    }
}
