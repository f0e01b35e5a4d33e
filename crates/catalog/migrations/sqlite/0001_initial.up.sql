-- Segments that readers see.
CREATE TABLE segments (
    id               TEXT    NOT NULL PRIMARY KEY,
    tenant           TEXT    NOT NULL,
    path             TEXT    NOT NULL UNIQUE,
    rows             INTEGER NOT NULL CHECK (rows > 0),
    bytes            INTEGER NOT NULL CHECK (bytes > 0),
    min_timestamp_ns INTEGER NOT NULL,
    max_timestamp_ns INTEGER NOT NULL CHECK (max_timestamp_ns >= min_timestamp_ns),
    -- [{"name": …, "type": …}, …]
    columns          TEXT    NOT NULL,
    -- xxh3-64 of the object, as the signed integer of the same bits.
    checksum         INTEGER NOT NULL,
    level            INTEGER NOT NULL,
    created_at_ns    INTEGER NOT NULL
) STRICT;

CREATE INDEX segments_by_tenant_and_time ON segments (tenant, max_timestamp_ns);

-- How far each partition of the queue is in segments.
CREATE TABLE partitions (
    name      TEXT    NOT NULL PRIMARY KEY,
    watermark INTEGER NOT NULL CHECK (watermark >= 0)
) STRICT;

-- Answers given to requests with an idempotency key.
CREATE TABLE idempotency (
    tenant         TEXT    NOT NULL,
    key            TEXT    NOT NULL,
    fingerprint    BLOB    NOT NULL CHECK (length(fingerprint) = 16),
    answer         BLOB    NOT NULL,
    received_at_ns INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_time ON idempotency (received_at_ns);

-- Values that are made once and kept, such as the key that seals cursors.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
