DROP VIEW log_records;
DROP TABLE log_entries;
