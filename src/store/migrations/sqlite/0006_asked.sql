-- When a call for this interaction was begun whose outcome is not known (NULL: none was); the other side's id of the
-- conversation it was put into.
ALTER TABLE deliveries ADD COLUMN asked_at INTEGER;
ALTER TABLE deliveries ADD COLUMN conversation TEXT;
