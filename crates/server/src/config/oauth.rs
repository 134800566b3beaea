//! Who may ask about tokens: `[oauth.clients.ID]`, the clients of the endpoints for revocation and introspection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::providers::{ClientSecret, is_key};

/// By id, which is what the client sends.
pub(crate) type OAuthClients = BTreeMap<String, OAuthClient>;

/// The shortest secret. Programs remember it, so that it can be random.
const SHORTEST_SECRET: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OAuth {
    pub(crate) clients: OAuthClients,
}

/// A program that may ask whose a token is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OAuthClient {
    pub(crate) secret: ClientSecret,
}

/// What must be otherwise, each with its key.
pub(super) fn faults(clients: &OAuthClients) -> Vec<String> {
    let faults = |(id, client): (&String, &OAuthClient)| {
        let key = format!("oauth.clients.{id}");
        let rules = [
            (!is_key(id), format!("`{key}` must have an id of 1 to 32 lower-case letters, digits, - and _")),
            (
                client.secret.expose().len() < SHORTEST_SECRET,
                // A masked one, as it is printed, is too short as well.
                format!("`{key}.secret` must have at least {SHORTEST_SECRET} bytes; make it at random"),
            ),
        ];
        rules.into_iter().filter(|rule| rule.0).map(|(_, fault)| fault).collect::<Vec<_>>()
    };
    clients.iter().flat_map(faults).collect()
}
