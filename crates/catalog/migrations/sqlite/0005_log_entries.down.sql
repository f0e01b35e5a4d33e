-- Records are in tables only where the database is Postgres. Both databases have the same versions.
SELECT 1;
