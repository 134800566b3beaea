-- The audit trail: the reference schema of session-manager-audit-db for the mapping in `sessions/parts.rs`. Times are whole milliseconds since
-- 1970-01-01 UTC.

CREATE TABLE "session_events" (
    "id" BLOB NOT NULL PRIMARY KEY,
    "kind" TEXT NOT NULL,
    "at" INTEGER NOT NULL,
    "session_id" BLOB,
    "user_id" TEXT,
    "actor" TEXT,
    "ip_address" TEXT,
    "user_agent" TEXT,
    "device_name" TEXT,
    "application" TEXT,
    "hints" TEXT,
    "request_id" TEXT,
    "reason" TEXT,
    "details" TEXT,
    "seq" INTEGER NOT NULL,
    "mac" BLOB NOT NULL,
    "commitments" BLOB NOT NULL,
    "subject_salt" BLOB,
    "client_salt" BLOB,
    "text_salt" BLOB
) STRICT;
CREATE INDEX "session_events_at" ON "session_events" ("at", "id");
CREATE INDEX "session_events_user" ON "session_events" ("user_id", "at", "id");
CREATE INDEX "session_events_session" ON "session_events" ("session_id", "at", "id");
CREATE INDEX "session_events_kind" ON "session_events" ("kind", "at", "id");
CREATE INDEX "session_events_actor" ON "session_events" ("actor");
CREATE UNIQUE INDEX "session_events_seq" ON "session_events" ("seq");

CREATE TABLE "session_event_chain" (
    "mark" TEXT NOT NULL PRIMARY KEY,
    "seq" INTEGER NOT NULL,
    "mac" BLOB NOT NULL,
    "proof" BLOB NOT NULL
) STRICT;
