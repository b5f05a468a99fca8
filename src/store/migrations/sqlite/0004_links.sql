-- Until when content is kept although every route has accepted it: links to it were handed out.
ALTER TABLE messages ADD COLUMN content_until INTEGER;
-- Where the attachments stand in the content (JSON; NULL: nobody links to them).
ALTER TABLE messages ADD COLUMN places TEXT;
DROP INDEX messages_with_content;
CREATE INDEX messages_with_content ON messages (id)
    WHERE state = 'delivered' AND content_dropped_at IS NULL AND content_until IS NULL;
CREATE INDEX messages_content_until ON messages (content_until)
    WHERE content_until IS NOT NULL AND content_dropped_at IS NULL;
-- Random keys, made once and shared by all replicas.
CREATE TABLE IF NOT EXISTS secrets (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT;
