-- Connections of users to providers of others, by OAuth 2.0. Times are whole milliseconds since 1970-01-01 UTC.

-- 'pending' was never authorised, 'active' has tokens, of 'expired' the provider would not renew them, of 'disconnected' they were given back.
CREATE TABLE provider_connections (
    id           TEXT    NOT NULL PRIMARY KEY,  -- UUIDv7, hyphenated
    user_id      TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider_key TEXT    NOT NULL,              -- of the configuration
    alias        TEXT    NOT NULL,
    status       TEXT    NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'expired', 'disconnected')),
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (user_id, alias)
) STRICT;

CREATE INDEX provider_connections_age ON provider_connections (user_id, created_at);

-- What the provider gave. The tokens are encrypted with a key of the key file, which their first bytes name, for this connection and this
-- column; elsewhere they cannot be decrypted.
CREATE TABLE provider_tokens (
    connection_id TEXT    NOT NULL PRIMARY KEY REFERENCES provider_connections (id) ON DELETE CASCADE,
    access_token  BLOB    NOT NULL,
    refresh_token BLOB,
    scope         TEXT,
    expires_at    INTEGER,           -- of the access token, as far as the provider said
    generation    INTEGER NOT NULL,  -- counts what the provider gave
    claimed_until INTEGER            -- a server is asking the provider for newer ones
) STRICT, WITHOUT ROWID;

-- Authorisations under way, one a connection. Of the state that travels through the browser only the SHA-256 is kept. The row is removed by its
-- use.
CREATE TABLE provider_authorizations (
    connection_id TEXT    NOT NULL PRIMARY KEY REFERENCES provider_connections (id) ON DELETE CASCADE,
    state_hash    BLOB    NOT NULL UNIQUE CHECK (length(state_hash) = 32),
    user_id       TEXT    NOT NULL,
    session_id    TEXT    NOT NULL,  -- the session that asked, which must still live
    by_browser    INTEGER NOT NULL CHECK (by_browser IN (0, 1)),
    verifier      BLOB    NOT NULL,  -- of PKCE, encrypted as the tokens are
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX provider_authorizations_expiry ON provider_authorizations (expires_at);
