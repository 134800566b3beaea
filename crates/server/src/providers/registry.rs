//! The providers that there are, ready to be talked to.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::oauth::Endpoints;
use crate::config::{self, PublicUrl};
use crate::exit::StartError;

/// The configured providers, in the order of their keys. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Registry(Arc<[ProviderType]>);

/// A provider, as everybody may see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ProviderType {
    pub(crate) key: String,
    pub(crate) name: String,
    /// Whether it can be connected to.
    pub(crate) configured: bool,
    /// What is asked for.
    pub(crate) scopes: Vec<String>,
    #[serde(skip)]
    endpoints: Option<Endpoints>,
}

impl Registry {
    pub(super) fn new(providers: &config::Providers, public_url: &PublicUrl) -> Result<Self, StartError> {
        let of = |(key, provider): (&String, &config::Provider)| {
            let endpoints = Endpoints::new(key, provider, public_url).map_err(|why| {
                let what = format!("`providers.{key}` cannot be used");
                StartError::config(what, why, "Correct the configuration and start again.")
            })?;
            Ok(ProviderType {
                key: key.clone(),
                name: provider.name.clone(),
                configured: endpoints.is_some(),
                scopes: provider.scopes.clone(),
                endpoints,
            })
        };
        providers.iter().map(of).collect::<Result<_, StartError>>().map(Self)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[ProviderType] {
        &self.0
    }

    /// The one with this key.
    pub(crate) fn find(&self, key: &str) -> Option<&ProviderType> {
        self.0.iter().find(|provider| provider.key == key)
    }

    /// Where browsers are sent to.
    pub(crate) fn origins(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|provider| Some(provider.endpoints()?.origin()))
    }

    /// Whether any of them is reached by https.
    pub(super) fn needs_tls(&self) -> bool {
        self.0.iter().filter_map(ProviderType::endpoints).any(Endpoints::needs_tls)
    }
}

impl ProviderType {
    /// How it is talked to, if it can be connected to.
    pub(crate) fn endpoints(&self) -> Option<&Endpoints> {
        self.endpoints.as_ref()
    }
}
