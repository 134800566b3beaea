//! Connections of users to providers of others, by OAuth 2.0: what they are, how they are stored, and how we talk to the providers.
//!
//! Time is always an argument. Who may do what is in `flows`.

mod authorization;
mod connection;
mod http_client;
mod listing;
mod oauth;
mod registry;
mod revocation;
mod store;
mod tokens;
mod turns;
mod vault;

pub(crate) use authorization::{Begun, Pending};
pub(crate) use connection::{Alias, Connection, Status};
pub(crate) use listing::{Order, PageQuery, Sort};
pub(crate) use oauth::{AuthorizationRequest, ProviderFailure};
pub(crate) use registry::{ProviderType, Registry};
pub(crate) use store::{Connections, NotCreated, NotRenamed};
pub(crate) use tokens::{Grant, Tokens};

use crate::background::Background;
use crate::config::{PublicUrl, Settings};
use crate::exit::StartError;
use crate::keys::Keys;
use crate::random::NoRandomness;
use crate::sql::{Overtaken, Pool};
use http_client::HttpClient;
use turns::{Turn, Turns};
use uuid::Uuid;
use vault::{Vault, VaultError};

/// The providers and the connections to them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    registry: Registry,
    connections: Connections,
    turns: Turns,
    http: HttpClient,
    background: Background,
}

/// Something that is nobody's mistake: storage, keys, randomness. Answered with 5xx; holds no secret in its `Display`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the storage of the connections failed")]
    Storage(#[from] sqlx::Error),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl Overtaken for Fault {
    fn is_overtaken(&self) -> bool {
        if let Self::Storage(error) = self { error.is_overtaken() } else { false }
    }
}

impl Providers {
    /// The configured providers, on a migrated database.
    ///
    /// # Errors
    /// An address that cannot be used, and the system's certificates where a provider needs them.
    pub(crate) fn new(
        settings: &Settings,
        public_url: &PublicUrl,
        pool: &Pool,
        keys: &Keys,
    ) -> Result<Self, StartError> {
        let vault = Vault::new(keys.provider_keys()).map_err(|error| {
            let remedy = "Restore the key file from the backup.";
            StartError::environment("the tokens of providers cannot be encrypted", error.to_string(), remedy)
        })?;
        let registry = Registry::new(&settings.providers, public_url)?;
        let http = HttpClient::new(registry.needs_tls())?;
        Ok(Self {
            registry,
            connections: Connections::new(pool.clone(), vault),
            turns: Turns::default(),
            http,
            background: Background::default(),
        })
    }

    /// What can be connected to.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What is connected.
    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// How providers are reached.
    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Where what was begun with a provider is brought to its end. It is apart from the service's own: a provider that does not answer must
    /// not keep anybody from signing in.
    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    /// Waits until nothing else in this process changes the tokens of a connection, and keeps it so.
    pub(crate) async fn turn(&self, connection: Uuid) -> Turn {
        self.turns.take(connection).await
    }

    /// How many have the connection's turn, or wait for it.
    #[cfg(test)]
    pub(crate) fn waiting(&self, connection: Uuid) -> usize {
        self.turns.waiting(connection)
    }
}
