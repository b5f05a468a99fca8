-- Who works on this database, seen every few seconds. `parts`: sums of what each was configured with (JSON);
-- `configured_at`: since when it works with that.
CREATE TABLE replicas (
    number BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    configured_at BIGINT NOT NULL,
    parts TEXT NOT NULL
);
-- The replica that holds the lease (NULL: nobody said).
ALTER TABLE jobs ADD COLUMN holder BIGINT;
