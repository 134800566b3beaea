-- Sessions: the reference schema of session-manager-storage-sqlx for the mapping in `sessions/parts.rs`. Times are whole milliseconds since
-- 1970-01-01 UTC.

CREATE TABLE "sessions" (
    "id" BLOB NOT NULL PRIMARY KEY,
    "user_id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "expires_at" INTEGER NOT NULL,
    "idle_expires_at" INTEGER NOT NULL,
    "last_activity" INTEGER NOT NULL,
    "generation" INTEGER NOT NULL,
    "floor" INTEGER NOT NULL,
    "seed" BLOB NOT NULL,
    "rotated_at" INTEGER NOT NULL,
    "previous_rotated_at" INTEGER NOT NULL,
    "version" INTEGER NOT NULL,
    "revoked_at" INTEGER,
    "revoked_reason" TEXT,
    "revoked_by" TEXT,
    "details" TEXT NOT NULL,
    "user_incarnation" INTEGER,
    "user_version" INTEGER,
    "global_incarnation" INTEGER,
    "global_version" INTEGER,
    "ip_address" TEXT,
    "user_agent" TEXT,
    "device_info" TEXT,
    "device_name" TEXT,
    "application" TEXT,
    "is_trusted" INTEGER NOT NULL,
    "trusted_until" INTEGER,
    "external_issuer" TEXT,
    "external_sid" TEXT,
    "device_kind" TEXT NOT NULL,
    "country" TEXT,
    "city" TEXT
) STRICT;
CREATE INDEX "sessions_user" ON "sessions" ("user_id", "created_at" DESC, "id" DESC);
CREATE INDEX "sessions_created" ON "sessions" ("created_at" DESC, "id" DESC);
CREATE INDEX "sessions_expires" ON "sessions" ("expires_at");
CREATE INDEX "sessions_idle" ON "sessions" ("idle_expires_at");
CREATE INDEX "sessions_revoked" ON "sessions" ("revoked_at") WHERE "revoked_at" IS NOT NULL;
CREATE INDEX "sessions_external" ON "sessions" ("external_issuer", "external_sid") WHERE "external_sid" IS NOT NULL;

CREATE TABLE "session_epochs" (
    "subject" TEXT NOT NULL PRIMARY KEY,
    "incarnation" INTEGER NOT NULL,
    "version" INTEGER NOT NULL,
    "grace_until" INTEGER,
    "rotated_at" INTEGER,
    "seq" INTEGER NOT NULL
) STRICT;

CREATE TABLE "session_once" (
    "once_key" TEXT NOT NULL PRIMARY KEY,
    "until" INTEGER NOT NULL
) STRICT;
CREATE INDEX "session_once_until" ON "session_once" ("until");
