-- The reference schema for MySQL and MariaDB, with a chain: what `reference_ddl` prints.
-- For the application's own migrations; no crate runs it.

CREATE TABLE `session_audit` (
    `id` BINARY(16) NOT NULL PRIMARY KEY,
    `kind` VARBINARY(32) NOT NULL,
    `at` DATETIME(3) NOT NULL,
    `session_id` BINARY(16),
    `user_id` VARBINARY(128),
    `actor` VARBINARY(136),
    `ip_address` LONGTEXT,
    `user_agent` LONGTEXT,
    `device_name` LONGTEXT,
    `application` LONGTEXT,
    `hints` LONGTEXT,
    `request_id` LONGTEXT,
    `reason` LONGTEXT,
    `details` LONGTEXT,
    `seq` BIGINT NOT NULL,
    `mac` VARBINARY(96) NOT NULL,
    `commitments` VARBINARY(96) NOT NULL,
    `subject_salt` VARBINARY(96),
    `client_salt` VARBINARY(96),
    `text_salt` VARBINARY(96)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX `session_audit_at` ON `session_audit` (`at`, `id`);
CREATE INDEX `session_audit_user` ON `session_audit` (`user_id`, `at`, `id`);
CREATE INDEX `session_audit_session` ON `session_audit` (`session_id`, `at`, `id`);
CREATE INDEX `session_audit_kind` ON `session_audit` (`kind`, `at`, `id`);
CREATE INDEX `session_audit_actor` ON `session_audit` (`actor`);
CREATE UNIQUE INDEX `session_audit_seq` ON `session_audit` (`seq`);

CREATE TABLE `session_audit_chain` (
    `mark` VARBINARY(64) NOT NULL PRIMARY KEY,
    `seq` BIGINT NOT NULL,
    `mac` VARBINARY(96) NOT NULL,
    `proof` VARBINARY(96) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
