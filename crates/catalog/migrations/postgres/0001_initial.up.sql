-- Names are compared byte by byte whatever the database's locale, as in SQLite.

-- Segments that readers see.
CREATE TABLE segments (
    id               TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    tenant           TEXT   COLLATE "C" NOT NULL,
    path             TEXT   COLLATE "C" NOT NULL UNIQUE,
    rows             BIGINT NOT NULL CHECK (rows > 0),
    bytes            BIGINT NOT NULL CHECK (bytes > 0),
    min_timestamp_ns BIGINT NOT NULL,
    max_timestamp_ns BIGINT NOT NULL CHECK (max_timestamp_ns >= min_timestamp_ns),
    -- [{"name": …, "type": …}, …]
    columns          TEXT   NOT NULL,
    -- xxh3-64 of the object, as the signed integer of the same bits.
    checksum         BIGINT NOT NULL,
    level            BIGINT NOT NULL,
    created_at_ns    BIGINT NOT NULL
);

CREATE INDEX segments_by_tenant_and_time ON segments (tenant, max_timestamp_ns);

-- How far each partition of the queue is in segments.
CREATE TABLE partitions (
    name      TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    watermark BIGINT NOT NULL CHECK (watermark >= 0)
);

-- Answers given to requests with an idempotency key.
CREATE TABLE idempotency (
    tenant         TEXT   COLLATE "C" NOT NULL,
    key            TEXT   COLLATE "C" NOT NULL,
    fingerprint    BYTEA  NOT NULL CHECK (length(fingerprint) = 16),
    answer         BYTEA  NOT NULL,
    received_at_ns BIGINT NOT NULL,
    PRIMARY KEY (tenant, key)
);

CREATE INDEX idempotency_by_time ON idempotency (received_at_ns);

-- Values that are made once and kept, such as the key that seals cursors.
CREATE TABLE settings (
    name  TEXT  COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);
