-- Ids of jobs are never used twice (AUTOINCREMENT): a claim outlives its job.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    lane TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    leased_until INTEGER,
    again_at INTEGER,
    created_at INTEGER NOT NULL,
    last_error TEXT,
    parked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX jobs_living_key ON jobs (key) WHERE parked_at IS NULL;
CREATE INDEX jobs_living_lane ON jobs (lane, due_at, id) WHERE parked_at IS NULL;
CREATE INDEX jobs_parked ON jobs (lane, id) WHERE parked_at IS NOT NULL;

CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    address TEXT NOT NULL,
    folder TEXT,
    started_at INTEGER NOT NULL,
    cursor TEXT,
    cursor_kind TEXT,
    first_round_at INTEGER,
    resync_since INTEGER,
    swept_until INTEGER,
    subscription_id TEXT,
    subscription_expires_at INTEGER,
    subscription_url TEXT,
    client_state TEXT,
    push_state TEXT NOT NULL DEFAULT 'polling',
    push_reason TEXT,
    last_notification_at INTEGER,
    last_sync_at INTEGER
) STRICT;

CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
    immutable_id TEXT NOT NULL,
    found_at INTEGER NOT NULL,
    found_by TEXT NOT NULL,
    received_at INTEGER,
    conversation_id TEXT,
    internet_message_id TEXT,
    state TEXT NOT NULL DEFAULT 'found',
    state_reason TEXT,
    base_key TEXT,
    copy INTEGER,
    size INTEGER,
    sha256 TEXT,
    accepted_at INTEGER,
    finished_at INTEGER,
    mark TEXT NOT NULL DEFAULT 'never',
    marked_at INTEGER,
    content_dropped_at INTEGER,
    tidied_at INTEGER
) STRICT;
CREATE UNIQUE INDEX messages_known ON messages (mailbox, immutable_id);
CREATE UNIQUE INDEX messages_copies ON messages (base_key, mailbox, copy) WHERE base_key IS NOT NULL;
CREATE INDEX messages_to_mark ON messages (mailbox, id) WHERE mark = 'due';
CREATE INDEX messages_with_content ON messages (id) WHERE state = 'delivered' AND content_dropped_at IS NULL;
CREATE INDEX messages_to_tidy ON messages (finished_at) WHERE finished_at IS NOT NULL AND tidied_at IS NULL;

CREATE TABLE contents (
    message INTEGER NOT NULL REFERENCES messages (id),
    seq INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (message, seq)
) STRICT;

CREATE TABLE deliveries (
    message INTEGER NOT NULL REFERENCES messages (id),
    route TEXT NOT NULL,
    interaction_id TEXT NOT NULL,
    facts TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    accepted_at INTEGER,
    PRIMARY KEY (message, route)
) STRICT;
CREATE INDEX deliveries_interaction ON deliveries (interaction_id);
