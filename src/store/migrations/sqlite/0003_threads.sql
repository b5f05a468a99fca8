-- Random keys, each made once. `thread`: the names of conversations.
CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Conversations. `merged_into`: a later mail showed that it is part of an older one. `last`: by route, the interaction
-- that was accepted last and when (JSON).
CREATE TABLE threads (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    merged_into TEXT,
    last TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX threads_to_tidy ON threads (seen_at);

-- What belongs to a conversation, under hashes: mails, and who takes part in a conversation of Exchange. `carried_by`: the
-- mail that has this Message-ID, by a hash of its sender and date; NULL while others only name it.
CREATE TABLE thread_keys (
    key BLOB NOT NULL PRIMARY KEY,
    thread TEXT NOT NULL,
    basis TEXT NOT NULL,
    carried_by TEXT,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_keys_to_tidy ON thread_keys (seen_at);

-- How many mails came, by whom and whereto, minute by minute: what the loop breaker counts.
CREATE TABLE rates (
    key TEXT NOT NULL,
    minute INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (key, minute)
) STRICT, WITHOUT ROWID;
CREATE INDEX rates_to_tidy ON rates (minute);

ALTER TABLE messages ADD COLUMN thread_id TEXT;
ALTER TABLE messages ADD COLUMN thread_is_new INTEGER;
ALTER TABLE messages ADD COLUMN thread_basis TEXT;
CREATE INDEX messages_of_thread ON messages (thread_id) WHERE thread_id IS NOT NULL;

-- The interaction of this conversation and route before this one; why the loop breaker holds it (NULL: it does not).
ALTER TABLE deliveries ADD COLUMN previous TEXT;
ALTER TABLE deliveries ADD COLUMN held TEXT;
