-- Deletes by query: what was asked, and what became of it.
CREATE TABLE deletes (
    id              TEXT    NOT NULL PRIMARY KEY,
    tenant          TEXT    NOT NULL,
    -- The question whose records go, as JSON.
    predicate       TEXT    NOT NULL,
    requested_at_ns INTEGER NOT NULL,
    -- When the last of its segments was rewritten.
    finished_at_ns  INTEGER,
    segments        INTEGER NOT NULL CHECK (segments >= 0),
    rows_deleted    INTEGER NOT NULL CHECK (rows_deleted >= 0)
) STRICT;

CREATE INDEX deletes_by_tenant ON deletes (tenant, id);

-- Segments from which a delete's records are still to be taken; until then readers leave them out.
CREATE TABLE segment_deletes (
    segment   TEXT NOT NULL,
    delete_id TEXT NOT NULL,
    PRIMARY KEY (segment, delete_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX segment_deletes_by_delete ON segment_deletes (delete_id);
