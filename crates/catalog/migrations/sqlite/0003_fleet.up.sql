-- What many processes need to work on one catalog. Times are this database's clock.

-- One row. Each transaction that changes what readers see takes the next version before anything else. This lock puts
-- those transactions in a row, so that nobody sees a version before all that are smaller.
CREATE TABLE catalog_state (
    one             INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    version         INTEGER NOT NULL,
    -- The last version that changed which deletes are still to be applied.
    deletes_version INTEGER NOT NULL,
    -- Removals up to this version are not remembered any more.
    pruned_version  INTEGER NOT NULL
) STRICT;

INSERT INTO catalog_state (one, version, deletes_version, pruned_version) VALUES (1, 1, 1, 1);

ALTER TABLE segments ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
CREATE INDEX segments_by_version ON segments (version);

ALTER TABLE partitions ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

-- Segments that were removed lately, for those who follow.
CREATE TABLE removed_segments (
    segment       TEXT    NOT NULL PRIMARY KEY,
    version       INTEGER NOT NULL,
    removed_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX removed_segments_by_version ON removed_segments (version);
CREATE INDEX removed_segments_by_time ON removed_segments (removed_at_ms);

-- Objects of removed segments that readers elsewhere may still hold.
CREATE TABLE obsolete_objects (
    path     TEXT    NOT NULL PRIMARY KEY,
    since_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX obsolete_objects_by_time ON obsolete_objects (since_ms);

-- Rows stay when a lease is released, because epochs must never go back.
CREATE TABLE leases (
    name          TEXT    NOT NULL PRIMARY KEY,
    -- NULL: released.
    holder        TEXT,
    epoch         INTEGER NOT NULL CHECK (epoch > 0),
    expires_at_ms INTEGER NOT NULL
) STRICT;

-- Processes that are there.
CREATE TABLE members (
    id            TEXT    NOT NULL PRIMARY KEY,
    role          TEXT    NOT NULL,
    -- JSON.
    description   TEXT    NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT;

-- The last run of each background job.
CREATE TABLE job_runs (
    name           TEXT    NOT NULL PRIMARY KEY,
    holder         TEXT    NOT NULL,
    started_at_ns  INTEGER NOT NULL,
    finished_at_ns INTEGER NOT NULL,
    outcome        TEXT    NOT NULL,
    detail         TEXT    NOT NULL
) STRICT;
