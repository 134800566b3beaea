-- The audit trail: the reference schema of session-manager-audit-db for the mapping in `sessions/parts.rs`, in MySQL and MariaDB.

CREATE TABLE `session_events` (
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
CREATE INDEX `session_events_at` ON `session_events` (`at`, `id`);
CREATE INDEX `session_events_user` ON `session_events` (`user_id`, `at`, `id`);
CREATE INDEX `session_events_session` ON `session_events` (`session_id`, `at`, `id`);
CREATE INDEX `session_events_kind` ON `session_events` (`kind`, `at`, `id`);
CREATE INDEX `session_events_actor` ON `session_events` (`actor`);
CREATE UNIQUE INDEX `session_events_seq` ON `session_events` (`seq`);

CREATE TABLE `session_event_chain` (
    `mark` VARBINARY(64) NOT NULL PRIMARY KEY,
    `seq` BIGINT NOT NULL,
    `mac` VARBINARY(96) NOT NULL,
    `proof` VARBINARY(96) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
