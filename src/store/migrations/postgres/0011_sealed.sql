-- The key that these bytes are sealed with, by its name (NULL: they are not sealed).
ALTER TABLE contents ADD COLUMN sealed TEXT;
ALTER TABLE submission_pieces ADD COLUMN sealed TEXT;
CREATE INDEX contents_sealed ON contents (sealed) WHERE sealed IS NOT NULL;
CREATE INDEX submission_pieces_sealed ON submission_pieces (sealed) WHERE sealed IS NOT NULL;

-- The keys that bridges on this store seal with, and when one last said so.
CREATE TABLE seals (
    key TEXT NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL
);
