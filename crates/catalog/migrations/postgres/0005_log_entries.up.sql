-- The logs themselves, where store.kind is "postgres": one row a record. docs/stores.md is about this table.
CREATE TABLE log_entries (
    tenant       TEXT     COLLATE "C" NOT NULL,
    -- Nanoseconds since 1970, UTC. The view log_records has it as a timestamp.
    timestamp_ns BIGINT   NOT NULL,
    level        TEXT     COLLATE "C",
    service      TEXT     COLLATE "C",
    host         TEXT     COLLATE "C",
    message      TEXT     COLLATE "C",
    trace_id     TEXT     COLLATE "C",
    span_id      TEXT     COLLATE "C",
    stream       TEXT     COLLATE "C",
    -- All other fields. Numbers with a decimal point are floats, others integers.
    attributes   JSONB,
    -- The words of the message in lower case, as Logmill cuts them; `*` stands for any word where they are too many.
    words        TSVECTOR,
    -- Values that these types cannot hold (such as U+0000 in text), as JSON; what stands in their columns is for people.
    exact        BYTEA,
    -- The position in the queue. Readers leave out what they have from there.
    sequence     BIGINT   NOT NULL
) PARTITION BY RANGE (timestamp_ns);

CREATE INDEX log_entries_by_tenant_and_time ON log_entries (tenant, timestamp_ns);
CREATE INDEX log_entries_by_time ON log_entries USING brin (timestamp_ns);
CREATE INDEX log_entries_by_word ON log_entries USING gin (words);
-- A hash, as a trace may have a longer name than a btree takes.
CREATE INDEX log_entries_by_trace ON log_entries USING hash (trace_id);

-- Days have partitions of their own, log_entries_yyyy_mm_dd, made when their first record comes. Here is what is of no
-- such day.
CREATE TABLE log_entries_other PARTITION OF log_entries DEFAULT;

CREATE VIEW log_records AS
    SELECT tenant, to_timestamp(timestamp_ns / 1000000000.0) AS "time", level, service, host, message, trace_id, span_id,
           stream, attributes, words, timestamp_ns
    FROM log_entries;
