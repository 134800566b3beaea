-- Sessions: the reference schema of session-manager-storage-sqlx for the mapping in `sessions/parts.rs`, in MySQL and MariaDB.

CREATE TABLE `sessions` (
    `id` BINARY(16) NOT NULL PRIMARY KEY,
    `user_id` VARBINARY(128) NOT NULL,
    `created_at` DATETIME(3) NOT NULL,
    `expires_at` DATETIME(3) NOT NULL,
    `idle_expires_at` DATETIME(3) NOT NULL,
    `last_activity` DATETIME(3) NOT NULL,
    `generation` BIGINT NOT NULL,
    `floor` BIGINT NOT NULL,
    `seed` VARBINARY(32) NOT NULL,
    `rotated_at` DATETIME(3) NOT NULL,
    `previous_rotated_at` DATETIME(3) NOT NULL,
    `version` BIGINT NOT NULL,
    `revoked_at` DATETIME(3),
    `revoked_reason` TEXT,
    `revoked_by` TEXT,
    `details` JSON NOT NULL,
    `user_incarnation` BIGINT,
    `user_version` BIGINT,
    `global_incarnation` BIGINT,
    `global_version` BIGINT,
    `ip_address` VARBINARY(45),
    `user_agent` TEXT,
    `device_info` TEXT,
    `device_name` TEXT,
    `application` TEXT,
    `is_trusted` BOOLEAN NOT NULL,
    `trusted_until` DATETIME(3),
    `external_issuer` VARBINARY(255),
    `external_sid` VARBINARY(255),
    `device_kind` VARBINARY(32) NOT NULL,
    `country` VARBINARY(64),
    `city` VARBINARY(255)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX `sessions_user` ON `sessions` (`user_id`, `created_at`, `id`);
CREATE INDEX `sessions_created` ON `sessions` (`created_at`, `id`);
CREATE INDEX `sessions_expires` ON `sessions` (`expires_at`);
CREATE INDEX `sessions_idle` ON `sessions` (`idle_expires_at`);
CREATE INDEX `sessions_revoked` ON `sessions` (`revoked_at`);
CREATE INDEX `sessions_external` ON `sessions` (`external_issuer`, `external_sid`);

CREATE TABLE `session_epochs` (
    `subject` VARBINARY(128) NOT NULL PRIMARY KEY,
    `incarnation` BIGINT NOT NULL,
    `version` BIGINT NOT NULL,
    `grace_until` DATETIME(3),
    `rotated_at` DATETIME(3),
    `seq` BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE `session_once` (
    `once_key` VARBINARY(64) NOT NULL PRIMARY KEY,
    `until` DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX `session_once_until` ON `session_once` (`until`);

CREATE TABLE `session_feed` (
    `seq` BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    `subject` VARBINARY(64) NOT NULL,
    `phase` VARBINARY(16) NOT NULL,
    `announced_at` DATETIME(3) NOT NULL,
    `mark` BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX `session_feed_at` ON `session_feed` (`announced_at`);
CREATE INDEX `session_feed_mark` ON `session_feed` (`mark`, `seq`);
