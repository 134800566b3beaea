-- Why everybody's tokens were rotated, and by whom: the sessions' own record holds only the version and the time. Times are whole milliseconds
-- since 1970-01-01 UTC.

CREATE TABLE global_rotations (
    incarnation TEXT    NOT NULL,  -- sessions in memory begin another one with each process, and with it version 1 again
    version     INTEGER NOT NULL,  -- the one that the rotation began
    reason      TEXT    NOT NULL,
    rotated_by  TEXT    NOT NULL,  -- the administrator's id, which outlives the account
    rotated_at  INTEGER NOT NULL,
    PRIMARY KEY (incarnation, version)
) STRICT, WITHOUT ROWID;
