DROP TABLE job_runs;
DROP TABLE members;
DROP TABLE leases;
DROP TABLE obsolete_objects;
DROP TABLE removed_segments;
ALTER TABLE partitions DROP COLUMN version;
DROP INDEX segments_by_version;
ALTER TABLE segments DROP COLUMN version;
DROP TABLE catalog_state;
