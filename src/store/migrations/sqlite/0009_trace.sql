-- What a mail is found by and what is said of it: its subject, what kind of mail it is, how many deliveries it has.
-- NULL: nobody said, or it is gone with the record.
ALTER TABLE messages ADD COLUMN subject TEXT;
ALTER TABLE messages ADD COLUMN kind TEXT;
ALTER TABLE messages ADD COLUMN fan_out INTEGER;
CREATE INDEX messages_message_id ON messages (internet_message_id) WHERE internet_message_id IS NOT NULL;
-- The messages of a mailbox by the time they came.
CREATE INDEX messages_received ON messages (mailbox, (COALESCE(received_at, found_at)), id);
-- The last audit: when, and how many messages it could not account for.
ALTER TABLE mailboxes ADD COLUMN audited_at INTEGER;
ALTER TABLE mailboxes ADD COLUMN unaccounted INTEGER;
