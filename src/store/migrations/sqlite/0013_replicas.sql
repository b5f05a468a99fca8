-- Who works on this database, seen every few seconds. `parts`: sums of what each was configured with (JSON);
-- `configured_at`: since when it works with that.
CREATE TABLE replicas (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    configured_at INTEGER NOT NULL,
    parts TEXT NOT NULL
) STRICT;
-- The replica that holds the lease (NULL: nobody said).
ALTER TABLE jobs ADD COLUMN holder INTEGER;
