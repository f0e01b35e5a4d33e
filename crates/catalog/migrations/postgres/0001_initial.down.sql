DROP TABLE settings;
DROP TABLE idempotency;
DROP TABLE partitions;
DROP TABLE segments;
