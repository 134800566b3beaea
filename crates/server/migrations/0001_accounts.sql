-- Accounts of the reference service. Times are whole milliseconds since 1970-01-01 UTC.

-- Before the address is confirmed, name and password are those of its latest registration, and nobody can sign in with them.
CREATE TABLE users (
    id                TEXT    NOT NULL PRIMARY KEY,  -- UUIDv7, hyphenated
    email             TEXT    NOT NULL UNIQUE,       -- normalised: trimmed, lower case
    name              TEXT    NOT NULL,
    password_hash     TEXT    NOT NULL,              -- PHC string, Argon2id
    role              TEXT    NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    email_verified_at INTEGER,
    disabled_at       INTEGER,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;

CREATE INDEX users_unconfirmed ON users (created_at) WHERE email_verified_at IS NULL;

-- Single-use tokens sent by mail; only their SHA-256 is kept. A 'verify' token holds what its own registration chose, so that
-- of several registrations of one address the link that is opened decides which one counts.
CREATE TABLE mail_tokens (
    hash          BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    user_id       TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose       TEXT    NOT NULL CHECK (purpose IN ('verify', 'reset', 'email-change')),
    name          TEXT             CHECK ((name IS NOT NULL) = (purpose = 'verify')),
    password_hash TEXT             CHECK ((password_hash IS NOT NULL) = (purpose = 'verify')),
    new_email     TEXT             CHECK ((new_email IS NOT NULL) = (purpose = 'email-change')),
    expires_at    INTEGER NOT NULL,
    used_at       INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX mail_tokens_user ON mail_tokens (user_id, purpose);
CREATE INDEX mail_tokens_expiry ON mail_tokens (expires_at);

-- Failed sign-ins. `account` is the SHA-256 of the normalised address that was typed, whether or not such an account exists:
-- people type passwords into the address field. `origin` is an address block (/24, /48), a known device, or '*' for the
-- account as a whole.
CREATE TABLE login_failures (
    account         BLOB    NOT NULL CHECK (length(account) = 32),
    origin          TEXT    NOT NULL,
    count           INTEGER NOT NULL,
    last_failure_at INTEGER NOT NULL,
    locked_until    INTEGER,
    PRIMARY KEY (account, origin)
) STRICT, WITHOUT ROWID;

CREATE INDEX login_failures_age ON login_failures (last_failure_at);

CREATE TABLE known_devices (
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32),
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;
