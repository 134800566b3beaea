-- The reference schema for PostgreSQL, with a chain: what `reference_ddl` prints.
-- For the application's own migrations; no crate runs it.

CREATE TABLE "session_audit" (
    "id" uuid NOT NULL PRIMARY KEY,
    "kind" text COLLATE "C" NOT NULL,
    "at" timestamptz(3) NOT NULL,
    "session_id" uuid,
    "user_id" text COLLATE "C",
    "actor" text COLLATE "C",
    "ip_address" inet,
    "user_agent" text,
    "device_name" text,
    "application" text,
    "hints" text,
    "request_id" text,
    "reason" text,
    "details" text,
    "seq" bigint NOT NULL,
    "mac" bytea NOT NULL,
    "commitments" bytea NOT NULL,
    "subject_salt" bytea,
    "client_salt" bytea,
    "text_salt" bytea
);
CREATE INDEX "session_audit_at" ON "session_audit" ("at", "id");
CREATE INDEX "session_audit_user" ON "session_audit" ("user_id", "at", "id");
CREATE INDEX "session_audit_session" ON "session_audit" ("session_id", "at", "id");
CREATE INDEX "session_audit_kind" ON "session_audit" ("kind", "at", "id");
CREATE INDEX "session_audit_actor" ON "session_audit" ("actor");
CREATE UNIQUE INDEX "session_audit_seq" ON "session_audit" ("seq");

CREATE TABLE "session_audit_chain" (
    "mark" text COLLATE "C" NOT NULL PRIMARY KEY,
    "seq" bigint NOT NULL,
    "mac" bytea NOT NULL,
    "proof" bytea NOT NULL
);
