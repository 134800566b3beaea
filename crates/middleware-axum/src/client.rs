//! Who sent a request: address, user agent and request id.

use std::net::{IpAddr, SocketAddr};

use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};
use http::{Extensions, request::Parts};
use session_manager_core::{ClientInfo, Presence, RequestContext};
use session_manager_http::{request_id, user_agent};

use crate::config::Config;

/// What the operations of this request are told of its client.
pub(crate) fn context_of(config: &Config, request: &Parts) -> RequestContext {
    let peer = (config.peer)(&request.extensions).or(config.fallback_peer);
    let mut client = ClientInfo::new();
    client.ip_address = peer.map(|peer| config.addresses.resolve(peer, &request.headers).ip);
    client.user_agent = user_agent(&request.headers);
    let mut context = RequestContext::from_client(client);
    context.request_id = request_id(&request.headers).map(str::to_owned);
    if (config.background)(request) {
        context.presence = Presence::Background;
    }
    context
}

/// The peer that axum's `into_make_service_with_connect_info` left, or in tests its stand-in.
pub(crate) fn connected_peer(extensions: &Extensions) -> Option<IpAddr> {
    let real = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    real.or_else(|| extensions.get::<MockConnectInfo<SocketAddr>>().map(|MockConnectInfo(peer)| peer.ip()))
}
