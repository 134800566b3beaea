-- How far this database is. The data folder has the same number in a file; where the file is ahead, the database is from a backup.

CREATE TABLE backup_mark (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    value       INTEGER NOT NULL,
    restored_at INTEGER             -- when it was last seen to be from a backup, in milliseconds since 1970-01-01 UTC
) STRICT;

INSERT INTO backup_mark (id, value) VALUES (1, 0);
