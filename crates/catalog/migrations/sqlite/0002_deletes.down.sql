DROP TABLE segment_deletes;
DROP TABLE deletes;
