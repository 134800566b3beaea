-- The audit trail: the reference schema of session-manager-audit-db for the mapping in `sessions/parts.rs`, in PostgreSQL.

CREATE TABLE "session_events" (
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
CREATE INDEX "session_events_at" ON "session_events" ("at", "id");
CREATE INDEX "session_events_user" ON "session_events" ("user_id", "at", "id");
CREATE INDEX "session_events_session" ON "session_events" ("session_id", "at", "id");
CREATE INDEX "session_events_kind" ON "session_events" ("kind", "at", "id");
CREATE INDEX "session_events_actor" ON "session_events" ("actor");
CREATE UNIQUE INDEX "session_events_seq" ON "session_events" ("seq");

CREATE TABLE "session_event_chain" (
    "mark" text COLLATE "C" NOT NULL PRIMARY KEY,
    "seq" bigint NOT NULL,
    "mac" bytea NOT NULL,
    "proof" bytea NOT NULL
);
