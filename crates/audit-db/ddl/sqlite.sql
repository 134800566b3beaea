-- The reference schema for SQLite, with a chain: what `reference_ddl` prints.
-- For the application's own migrations; no crate runs it.

CREATE TABLE "session_audit" (
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
CREATE INDEX "session_audit_at" ON "session_audit" ("at", "id");
CREATE INDEX "session_audit_user" ON "session_audit" ("user_id", "at", "id");
CREATE INDEX "session_audit_session" ON "session_audit" ("session_id", "at", "id");
CREATE INDEX "session_audit_kind" ON "session_audit" ("kind", "at", "id");
CREATE INDEX "session_audit_actor" ON "session_audit" ("actor");
CREATE UNIQUE INDEX "session_audit_seq" ON "session_audit" ("seq");

CREATE TABLE "session_audit_chain" (
    "mark" TEXT NOT NULL PRIMARY KEY,
    "seq" INTEGER NOT NULL,
    "mac" BLOB NOT NULL,
    "proof" BLOB NOT NULL
) STRICT;
