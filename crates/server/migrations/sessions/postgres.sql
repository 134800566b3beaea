-- Sessions: the reference schema of session-manager-storage-sqlx for the mapping in `sessions/parts.rs`, in PostgreSQL.

CREATE TABLE "sessions" (
    "id" uuid NOT NULL PRIMARY KEY,
    "user_id" text COLLATE "C" NOT NULL,
    "created_at" timestamptz(3) NOT NULL,
    "expires_at" timestamptz(3) NOT NULL,
    "idle_expires_at" timestamptz(3) NOT NULL,
    "last_activity" timestamptz(3) NOT NULL,
    "generation" bigint NOT NULL,
    "floor" bigint NOT NULL,
    "seed" bytea NOT NULL,
    "rotated_at" timestamptz(3) NOT NULL,
    "previous_rotated_at" timestamptz(3) NOT NULL,
    "version" bigint NOT NULL,
    "revoked_at" timestamptz(3),
    "revoked_reason" text,
    "revoked_by" text,
    "details" jsonb NOT NULL,
    "user_incarnation" bigint,
    "user_version" bigint,
    "global_incarnation" bigint,
    "global_version" bigint,
    "ip_address" inet,
    "user_agent" text,
    "device_info" text,
    "device_name" text,
    "application" text,
    "is_trusted" boolean NOT NULL,
    "trusted_until" timestamptz(3),
    "external_issuer" text COLLATE "C",
    "external_sid" text COLLATE "C",
    "device_kind" text COLLATE "C" NOT NULL,
    "country" text COLLATE "C",
    "city" text COLLATE "C"
);
CREATE INDEX "sessions_user" ON "sessions" ("user_id", "created_at" DESC, "id" DESC);
CREATE INDEX "sessions_created" ON "sessions" ("created_at" DESC, "id" DESC);
CREATE INDEX "sessions_expires" ON "sessions" ("expires_at");
CREATE INDEX "sessions_idle" ON "sessions" ("idle_expires_at");
CREATE INDEX "sessions_revoked" ON "sessions" ("revoked_at") WHERE "revoked_at" IS NOT NULL;
CREATE INDEX "sessions_external" ON "sessions" ("external_issuer", "external_sid") WHERE "external_sid" IS NOT NULL;

CREATE TABLE "session_epochs" (
    "subject" text COLLATE "C" NOT NULL PRIMARY KEY,
    "incarnation" bigint NOT NULL,
    "version" bigint NOT NULL,
    "grace_until" timestamptz(3),
    "rotated_at" timestamptz(3),
    "seq" bigint NOT NULL
);

CREATE TABLE "session_once" (
    "once_key" text COLLATE "C" NOT NULL PRIMARY KEY,
    "until" timestamptz(3) NOT NULL
);
CREATE INDEX "session_once_until" ON "session_once" ("until");

CREATE TABLE "session_feed" (
    "seq" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "subject" text COLLATE "C" NOT NULL,
    "phase" text COLLATE "C" NOT NULL,
    "announced_at" timestamptz(3) NOT NULL,
    "mark" xid8 NOT NULL
);
CREATE INDEX "session_feed_at" ON "session_feed" ("announced_at");
CREATE INDEX "session_feed_mark" ON "session_feed" ("mark", "seq");
