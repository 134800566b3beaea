-- Accounts of the reference service in PostgreSQL: what the migrations of SQLite make, in one. Times are whole milliseconds since 1970-01-01
-- UTC. Texts that are compared are compared by their bytes, whatever the database's own collation is.

-- Before the address is confirmed, name and password are those of its latest registration, and nobody can sign in with them.
CREATE TABLE users (
    id                text COLLATE "C" NOT NULL PRIMARY KEY,  -- UUIDv7, hyphenated
    email             text COLLATE "C" NOT NULL UNIQUE,       -- normalised: trimmed, lower case
    name              text             NOT NULL,
    password_hash     text             NOT NULL,              -- PHC string, Argon2id
    role              text COLLATE "C" NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    email_verified_at bigint,
    disabled_at       bigint,
    created_at        bigint           NOT NULL,
    updated_at        bigint           NOT NULL
);

CREATE INDEX users_unconfirmed ON users (created_at) WHERE email_verified_at IS NULL;

-- One row, locked by whoever confirms an address while the first account of all becomes the administrator.
CREATE TABLE first_account (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1)
);

INSERT INTO first_account (id) VALUES (1);

-- Single-use tokens sent by mail; only their SHA-256 is kept. A 'verify' token holds what its own registration chose.
CREATE TABLE mail_tokens (
    hash          bytea            NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    user_id       text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose       text COLLATE "C" NOT NULL CHECK (purpose IN ('verify', 'reset', 'email-change')),
    name          text             CHECK ((name IS NOT NULL) = (purpose = 'verify')),
    password_hash text             CHECK ((password_hash IS NOT NULL) = (purpose = 'verify')),
    new_email     text COLLATE "C" CHECK ((new_email IS NOT NULL) = (purpose = 'email-change')),
    expires_at    bigint           NOT NULL,
    used_at       bigint
);

CREATE INDEX mail_tokens_user ON mail_tokens (user_id, purpose);
CREATE INDEX mail_tokens_expiry ON mail_tokens (expires_at);

-- Failed sign-ins. `account` is the SHA-256 of the normalised address that was typed, whether or not such an account exists. `origin` is an
-- address block (/24, /48), a known device, or '*' for the account as a whole.
CREATE TABLE login_failures (
    account         bytea            NOT NULL CHECK (length(account) = 32),
    origin          text COLLATE "C" NOT NULL,
    count           bigint           NOT NULL,
    last_failure_at bigint           NOT NULL,
    locked_until    bigint,
    PRIMARY KEY (account, origin)
);

CREATE INDEX login_failures_age ON login_failures (last_failure_at);

CREATE TABLE known_devices (
    user_id    text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash       bytea            NOT NULL CHECK (length(hash) = 32),
    first_seen bigint           NOT NULL,
    last_seen  bigint           NOT NULL,
    PRIMARY KEY (user_id, hash)
);

-- Why everybody's tokens were rotated, and by whom.
CREATE TABLE global_rotations (
    incarnation text COLLATE "C" NOT NULL,  -- sessions in memory begin another one with each process, and with it version 1 again
    version     bigint           NOT NULL,  -- the one that the rotation began
    reason      text             NOT NULL,
    rotated_by  text COLLATE "C" NOT NULL,  -- the administrator's id, which outlives the account
    rotated_at  bigint           NOT NULL,
    PRIMARY KEY (incarnation, version)
);

-- 'pending' was never authorised, 'active' has tokens, of 'expired' the provider would not renew them, of 'disconnected' they were given back.
CREATE TABLE provider_connections (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,  -- UUIDv7, hyphenated
    user_id      text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider_key text COLLATE "C" NOT NULL,              -- of the configuration
    alias        text COLLATE "C" NOT NULL,
    status       text COLLATE "C" NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'expired', 'disconnected')),
    created_at   bigint           NOT NULL,
    updated_at   bigint           NOT NULL,
    UNIQUE (user_id, alias)
);

CREATE INDEX provider_connections_age ON provider_connections (user_id, created_at);

-- What the provider gave. The tokens are encrypted with a key of the key file, which their first bytes name, for this connection and this
-- column; elsewhere they cannot be decrypted.
CREATE TABLE provider_tokens (
    connection_id text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES provider_connections (id) ON DELETE CASCADE,
    access_token  bytea            NOT NULL,
    refresh_token bytea,
    scope         text,
    expires_at    bigint,           -- of the access token, as far as the provider said
    generation    bigint NOT NULL,  -- counts what the provider gave
    claimed_until bigint            -- a server is asking the provider for newer ones
);

-- Authorisations under way, one a connection. Of the state that travels through the browser only the SHA-256 is kept. The row is removed by its
-- use.
CREATE TABLE provider_authorizations (
    connection_id text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES provider_connections (id) ON DELETE CASCADE,
    state_hash    bytea            NOT NULL UNIQUE CHECK (length(state_hash) = 32),
    user_id       text COLLATE "C" NOT NULL,
    session_id    text COLLATE "C" NOT NULL,  -- the session that asked, which must still live
    by_browser    boolean          NOT NULL,
    verifier      bytea            NOT NULL,  -- of PKCE, encrypted as the tokens are
    expires_at    bigint           NOT NULL
);

CREATE INDEX provider_authorizations_expiry ON provider_authorizations (expires_at);

-- How far this database is. Each data folder has a number of it in a file; where a file is ahead, the database is from a backup.
CREATE TABLE backup_mark (
    id          bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    value       bigint NOT NULL,
    restored_at bigint             -- when it was last seen to be from a backup, in milliseconds since 1970-01-01 UTC
);

INSERT INTO backup_mark (id, value) VALUES (1, 0);
