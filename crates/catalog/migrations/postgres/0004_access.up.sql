-- Tenants that requests with credentials may be for.
CREATE TABLE tenants (
    name                 TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    created_at_ns        BIGINT NOT NULL,
    disabled_at_ns       BIGINT,
    -- These take the place of the server's own retention settings; NULL leaves them.
    retention_max_age_ms BIGINT CHECK (retention_max_age_ms >= 0),
    retention_max_bytes  BIGINT CHECK (retention_max_bytes >= 0),
    -- {"ingest_bytes_per_second": …, …}; what is not named has no bound.
    quotas               TEXT   NOT NULL
);

-- The tenant of requests that name none, and those who have records already.
INSERT INTO tenants (name, created_at_ns, quotas)
SELECT name, extract(epoch FROM now())::bigint * 1000000000, '{}'
FROM (SELECT 'default' AS name UNION SELECT tenant FROM segments) AS known;

CREATE TABLE api_keys (
    id              TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    -- BLAKE3 of the whole key; the key itself is not kept.
    hash            BYTEA  NOT NULL CHECK (length(hash) = 32),
    -- A tenant's name, or * for all.
    tenant          TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    -- ingest,query,admin
    scopes          TEXT   NOT NULL,
    created_at_ns   BIGINT NOT NULL,
    expires_at_ns   BIGINT,
    last_used_at_ns BIGINT,
    revoked_at_ns   BIGINT
);

CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);

-- Who did what; newest last.
CREATE TABLE audit (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ns          BIGINT NOT NULL,
    actor          TEXT   NOT NULL,
    tenant         TEXT,
    action         TEXT   NOT NULL,
    target         TEXT   NOT NULL,
    -- JSON.
    detail         TEXT   NOT NULL,
    remote_address TEXT,
    request_id     TEXT,
    -- ok, or the code of the error.
    outcome        TEXT   NOT NULL
);

CREATE INDEX audit_by_tenant ON audit (tenant, id);
CREATE INDEX audit_by_time ON audit (at_ns);
