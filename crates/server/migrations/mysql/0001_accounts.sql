-- Accounts of the reference service in MySQL and MariaDB: what the migrations of SQLite make, in one. Times are whole milliseconds since
-- 1970-01-01 UTC. Texts are compared by their bytes, whatever the database's own collation is, but for blanks at the end, which none of those
-- that are compared has.

-- Before the address is confirmed, name and password are those of its latest registration, and nobody can sign in with them.
CREATE TABLE users (
    id                VARCHAR(36)  NOT NULL PRIMARY KEY,  -- UUIDv7, hyphenated
    email             VARCHAR(254) NOT NULL UNIQUE,       -- normalised: trimmed, lower case
    name              TEXT         NOT NULL,
    password_hash     TEXT         NOT NULL,              -- PHC string, Argon2id
    role              VARCHAR(16)  NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    email_verified_at BIGINT,
    disabled_at       BIGINT,
    created_at        BIGINT       NOT NULL,
    updated_at        BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX users_unconfirmed ON users (email_verified_at, created_at);

-- One row, locked by whoever confirms an address while the first account of all becomes the administrator.
CREATE TABLE first_account (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO first_account (id) VALUES (1);

-- Single-use tokens sent by mail; only their SHA-256 is kept. A 'verify' token holds what its own registration chose.
CREATE TABLE mail_tokens (
    hash          BINARY(32)   NOT NULL PRIMARY KEY,
    user_id       VARCHAR(36)  NOT NULL,
    purpose       VARCHAR(16)  NOT NULL CHECK (purpose IN ('verify', 'reset', 'email-change')),
    name          TEXT,
    password_hash TEXT,
    new_email     VARCHAR(254),
    expires_at    BIGINT       NOT NULL,
    used_at       BIGINT,
    CHECK ((name IS NOT NULL) = (purpose = 'verify')),
    CHECK ((password_hash IS NOT NULL) = (purpose = 'verify')),
    CHECK ((new_email IS NOT NULL) = (purpose = 'email-change')),
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX mail_tokens_user ON mail_tokens (user_id, purpose);
CREATE INDEX mail_tokens_expiry ON mail_tokens (expires_at);

-- Failed sign-ins. `account` is the SHA-256 of the normalised address that was typed, whether or not such an account exists. `origin` is an
-- address block (/24, /48), a known device, or '*' for the account as a whole.
CREATE TABLE login_failures (
    account         BINARY(32)   NOT NULL,
    origin          VARCHAR(64)  NOT NULL,
    count           BIGINT       NOT NULL,
    last_failure_at BIGINT       NOT NULL,
    locked_until    BIGINT,
    PRIMARY KEY (account, origin)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX login_failures_age ON login_failures (last_failure_at);

CREATE TABLE known_devices (
    user_id    VARCHAR(36)  NOT NULL,
    hash       BINARY(32)   NOT NULL,
    first_seen BIGINT       NOT NULL,
    last_seen  BIGINT       NOT NULL,
    PRIMARY KEY (user_id, hash),
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Why everybody's tokens were rotated, and by whom.
CREATE TABLE global_rotations (
    incarnation VARCHAR(20)  NOT NULL,  -- sessions in memory begin another one with each process, and with it version 1 again
    version     BIGINT       NOT NULL,  -- the one that the rotation began
    reason      TEXT         NOT NULL,
    rotated_by  VARCHAR(36)  NOT NULL,  -- the administrator's id, which outlives the account
    rotated_at  BIGINT       NOT NULL,
    PRIMARY KEY (incarnation, version)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- 'pending' was never authorised, 'active' has tokens, of 'expired' the provider would not renew them, of 'disconnected' they were given back.
CREATE TABLE provider_connections (
    id           VARCHAR(36)  NOT NULL PRIMARY KEY,  -- UUIDv7, hyphenated
    user_id      VARCHAR(36)  NOT NULL,
    provider_key VARCHAR(64)  NOT NULL,              -- of the configuration
    alias        VARCHAR(100) NOT NULL,
    status       VARCHAR(16)  NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'expired', 'disconnected')),
    created_at   BIGINT       NOT NULL,
    updated_at   BIGINT       NOT NULL,
    UNIQUE (user_id, alias),
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX provider_connections_age ON provider_connections (user_id, created_at);

-- What the provider gave. The tokens are encrypted with a key of the key file, which their first bytes name, for this connection and this
-- column; elsewhere they cannot be decrypted.
CREATE TABLE provider_tokens (
    connection_id VARCHAR(36)  NOT NULL PRIMARY KEY,
    access_token  MEDIUMBLOB   NOT NULL,
    refresh_token MEDIUMBLOB,
    scope         TEXT,
    expires_at    BIGINT,           -- of the access token, as far as the provider said
    generation    BIGINT       NOT NULL,  -- counts what the provider gave
    claimed_until BIGINT,  -- a server is asking the provider for newer ones
    FOREIGN KEY (connection_id) REFERENCES provider_connections (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Authorisations under way, one a connection. Of the state that travels through the browser only the SHA-256 is kept. The row is removed by its
-- use.
CREATE TABLE provider_authorizations (
    connection_id VARCHAR(36)  NOT NULL PRIMARY KEY,
    state_hash    BINARY(32)   NOT NULL UNIQUE,
    user_id       VARCHAR(36)  NOT NULL,
    session_id    VARCHAR(36)  NOT NULL,  -- the session that asked, which must still live
    by_browser    BOOLEAN      NOT NULL,
    verifier      MEDIUMBLOB   NOT NULL,  -- of PKCE, encrypted as the tokens are
    expires_at    BIGINT       NOT NULL,
    FOREIGN KEY (connection_id) REFERENCES provider_connections (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX provider_authorizations_expiry ON provider_authorizations (expires_at);

-- How far this database is. Each data folder has a number of it in a file; where a file is ahead, the database is from a backup.
CREATE TABLE backup_mark (
    id          BIGINT       NOT NULL PRIMARY KEY CHECK (id = 1),
    value       BIGINT       NOT NULL,
    restored_at BIGINT             -- when it was last seen to be from a backup, in milliseconds since 1970-01-01 UTC
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO backup_mark (id, value) VALUES (1, 0);
