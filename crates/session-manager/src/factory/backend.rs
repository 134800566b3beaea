//! The token backend.

use std::sync::Arc;

use session_manager_core::{Result, SessionBackend};

use super::config::{Backend, Config};
use super::resources::Resources;

pub(super) fn backend(config: &Config, resources: &mut Resources) -> Result<Arc<dyn SessionBackend>> {
    match config.backend {
        Backend::Jwt => jwt(config, resources),
        Backend::Opaque => opaque(config, resources),
    }
}

#[cfg(feature = "backend-jwt")]
fn jwt(config: &Config, resources: &mut Resources) -> Result<Arc<dyn SessionBackend>> {
    let mut builder = resources.jwt.take().ok_or_else(|| super::missing("backend", "jwt", "jwt"))?;
    if let Some(issuer) = &config.jwt.issuer {
        builder = builder.issuer(issuer);
    }
    if let Some(audience) = &config.jwt.audience {
        builder = builder.audience(audience);
    }
    if let Some(client_id) = &config.jwt.client_id {
        builder = builder.client_id(client_id);
    }
    Ok(Arc::new(builder.build()?))
}

#[cfg(not(feature = "backend-jwt"))]
fn jwt(_: &Config, _: &mut Resources) -> Result<Arc<dyn SessionBackend>> {
    Err(super::not_compiled("backend", "jwt", "backend-jwt"))
}

#[cfg(feature = "backend-opaque")]
fn opaque(config: &Config, resources: &mut Resources) -> Result<Arc<dyn SessionBackend>> {
    use session_manager_backend_opaque::OpaqueBackend;
    use session_manager_core::token::ReferenceTokens;

    let keys = resources.refresh_keys.take().ok_or_else(|| super::missing("backend", "opaque", "refresh_keys"))?;
    let backend = OpaqueBackend::builder(ReferenceTokens::new(keys));
    Ok(Arc::new(backend.access_token_lifetime(config.policy.access_token_lifetime).build()?))
}

#[cfg(not(feature = "backend-opaque"))]
fn opaque(_: &Config, _: &mut Resources) -> Result<Arc<dyn SessionBackend>> {
    Err(super::not_compiled("backend", "opaque", "backend-opaque"))
}
