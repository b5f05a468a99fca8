-- When Entra is asked again about a sign-in that it does not take; NULL: not before somebody has signed in.
ALTER TABLE grants ADD COLUMN ask_again_at BIGINT;
-- Sign-ins at the browser that are under way, for whichever replica the browser comes to. Of ticket, state and cookie only
-- hashes; the verifier is sealed with the key that is named beside it, and goes with the first who comes back.
CREATE TABLE browser_sign_ins (
    ticket TEXT NOT NULL PRIMARY KEY,
    mailbox BIGINT NOT NULL REFERENCES mailboxes (id),
    begun_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    state TEXT,
    cookie TEXT,
    redirect TEXT,
    verifier BYTEA,
    sealed TEXT,
    taken_at BIGINT,
    ended_at BIGINT,
    signed_in_as TEXT,
    failed TEXT
);
CREATE UNIQUE INDEX browser_sign_ins_state ON browser_sign_ins (state) WHERE state IS NOT NULL;
CREATE INDEX browser_sign_ins_mailbox ON browser_sign_ins (mailbox);
CREATE INDEX browser_sign_ins_to_tidy ON browser_sign_ins (expires_at);
