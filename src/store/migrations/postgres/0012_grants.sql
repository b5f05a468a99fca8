-- What users granted for their mailboxes: one row a mailbox. The generation grows with every change, so that of two who
-- replace the token one is told that he was too late. The token is sealed with the key that is named beside it.
CREATE TABLE grants (
    mailbox BIGINT NOT NULL PRIMARY KEY REFERENCES mailboxes (id),
    generation BIGINT NOT NULL,
    token BYTEA NOT NULL,
    sealed TEXT NOT NULL,
    scopes TEXT NOT NULL,
    signed_in_as TEXT NOT NULL,
    signed_in_at BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    refused_at BIGINT,
    refused_reason TEXT
);
