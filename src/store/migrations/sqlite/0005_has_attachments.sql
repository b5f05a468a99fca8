-- Whether the mailbox lists attachments of a message that are not shown in its text (0 or 1; NULL: nobody said).
ALTER TABLE messages ADD COLUMN has_attachments INTEGER;
