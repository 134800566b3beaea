-- The announcements of ended sessions, for `verification.mode = feed`: the reference schema of session-manager-storage-sqlx. Times are whole
-- milliseconds since 1970-01-01 UTC.

CREATE TABLE "session_feed" (
    "seq" INTEGER PRIMARY KEY AUTOINCREMENT,
    "subject" TEXT NOT NULL,
    "phase" TEXT NOT NULL,
    "announced_at" INTEGER NOT NULL
) STRICT;
CREATE INDEX "session_feed_at" ON "session_feed" ("announced_at");
