-- What users granted for their mailboxes: one row a mailbox. The generation grows with every change, so that of two who
-- replace the token one is told that he was too late. The token is sealed with the key that is named beside it.
CREATE TABLE grants (
    mailbox INTEGER NOT NULL PRIMARY KEY REFERENCES mailboxes (id),
    generation INTEGER NOT NULL,
    token BLOB NOT NULL,
    sealed TEXT NOT NULL,
    scopes TEXT NOT NULL,
    signed_in_as TEXT NOT NULL,
    signed_in_at INTEGER NOT NULL,
    rotated_at INTEGER NOT NULL,
    refused_at INTEGER,
    refused_reason TEXT
) STRICT;
