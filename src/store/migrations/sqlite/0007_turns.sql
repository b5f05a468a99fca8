-- Where the mails of a conversation go to a route one after the other: the conversation a delivery belongs to and its place
-- there, which is when its mail was received, then its number (NULL: it waits for nobody). `aside_at`: since when it
-- waits for its turn (NULL: it does not wait).
ALTER TABLE jobs ADD COLUMN thread TEXT;
ALTER TABLE jobs ADD COLUMN received_at INTEGER;
ALTER TABLE jobs ADD COLUMN message INTEGER;
ALTER TABLE jobs ADD COLUMN aside_at INTEGER;
CREATE INDEX jobs_in_line ON jobs (thread, lane, received_at, message) WHERE thread IS NOT NULL;
CREATE INDEX jobs_in_hand ON jobs (thread, lane) WHERE thread IS NOT NULL AND leased_until IS NOT NULL;

-- Mail of a conversation that was found and is not fetched yet.
CREATE INDEX messages_to_fetch ON messages (mailbox, conversation_id) WHERE state = 'found';

-- Interactions that were parked. `named_by`: the next of their conversation and route, which says that they are missing.
CREATE TABLE gaps (
    interaction_id TEXT NOT NULL PRIMARY KEY,
    lane TEXT NOT NULL,
    thread TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    message INTEGER NOT NULL,
    parked_at INTEGER NOT NULL,
    named_by TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX gaps_in_line ON gaps (thread, lane, received_at, message) WHERE named_by IS NULL;
CREATE INDEX gaps_named ON gaps (named_by) WHERE named_by IS NOT NULL;
CREATE INDEX gaps_to_tidy ON gaps (parked_at);
-- What an interaction says is missing before it, decided when it was first taken out (JSON; NULL: nothing).
ALTER TABLE deliveries ADD COLUMN gap TEXT;
