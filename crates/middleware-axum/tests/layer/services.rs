//! Services that are no axum router: other bodies, no extractors.

use std::convert::Infallible;

use http::{Request, Response};
use session_manager_middleware_axum::{RequestSession, RequireSession, SessionLayer};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::harness::{Harness, answer, bearer, request};

async fn greet(request: Request<u32>) -> Result<Response<Vec<u8>>, Infallible> {
    let state = request.extensions().get::<RequestSession>().unwrap();
    let name =
        state.optional().map(|session| session.map_or("nobody".to_owned(), |session| session.user_id().to_string()));
    Ok(Response::new(format!("{} {}", request.body(), name.unwrap()).into_bytes()))
}

#[tokio::test]
async fn any_body_will_do() {
    let harness = Harness::new();
    let bearer = bearer(&harness.login().await.tokens);
    let service = SessionLayer::new(harness.manager.clone()).layer(service_fn(greet));
    let signed_in = Request::builder().header("authorization", &bearer).body(7).unwrap();
    assert_eq!(service.clone().oneshot(signed_in).await.unwrap().into_body(), b"7 alice");
    assert_eq!(service.oneshot(Request::new(8)).await.unwrap().into_body(), b"8 nobody");
}

#[tokio::test]
async fn a_session_can_be_required_and_the_refusal_answered_in_any_form() {
    let harness = Harness::new();
    let bearer = bearer(&harness.login().await.tokens);
    let service = ServiceBuilder::new()
        .layer(SessionLayer::new(harness.manager.clone()))
        .layer(RequireSession::answering(|rejection| {
            Response::builder().header("grpc-status", "16").body(rejection.to_string().into_bytes()).unwrap()
        }))
        .service(service_fn(greet));
    let signed_in = Request::builder().header("authorization", &bearer).body(7).unwrap();
    assert_eq!(service.clone().oneshot(signed_in).await.unwrap().into_body(), b"7 alice");
    let refused = service.oneshot(Request::new(8)).await.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "16");
    assert_eq!(refused.into_body(), b"the request carries no credential");
}

#[tokio::test]
async fn an_axum_router_can_require_it_too() {
    let harness = Harness::new();
    let bearer = bearer(&harness.login().await.tokens);
    let app = axum::Router::new()
        .route("/", axum::routing::get(|| async { "in" }))
        .route_layer(RequireSession::new())
        .layer(SessionLayer::new(harness.manager.clone()));
    let refused = answer(app.clone(), request("GET", "/", &[])).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (401, "unauthenticated"));
    assert_eq!(answer(app.clone(), request("GET", "/", &[("authorization", &bearer)])).await.body, "in");
    harness.storage.inner().outage();
    assert_eq!(answer(app, request("GET", "/", &[("authorization", &bearer)])).await.status, 503);
}
