CREATE TABLE jobs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Compared byte by byte, as SQLite compares them.
    lane TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    attempt BIGINT NOT NULL DEFAULT 0,
    fence BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT NOT NULL,
    leased_until BIGINT,
    again_at BIGINT,
    created_at BIGINT NOT NULL,
    last_error TEXT,
    parked_at BIGINT
);
CREATE UNIQUE INDEX jobs_living_key ON jobs (key) WHERE parked_at IS NULL;
CREATE INDEX jobs_living_lane ON jobs (lane, due_at, id) WHERE parked_at IS NULL;
CREATE INDEX jobs_parked ON jobs (lane, id) WHERE parked_at IS NOT NULL;

CREATE TABLE mailboxes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    address TEXT NOT NULL,
    folder TEXT,
    started_at BIGINT NOT NULL,
    cursor TEXT,
    cursor_kind TEXT,
    first_round_at BIGINT,
    resync_since BIGINT,
    swept_until BIGINT,
    subscription_id TEXT,
    subscription_expires_at BIGINT,
    subscription_url TEXT,
    client_state TEXT,
    push_state TEXT NOT NULL DEFAULT 'polling',
    push_reason TEXT,
    last_notification_at BIGINT,
    last_sync_at BIGINT
);

CREATE TABLE messages (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mailbox BIGINT NOT NULL REFERENCES mailboxes (id),
    immutable_id TEXT NOT NULL,
    found_at BIGINT NOT NULL,
    found_by TEXT NOT NULL,
    received_at BIGINT,
    conversation_id TEXT,
    internet_message_id TEXT,
    state TEXT NOT NULL DEFAULT 'found',
    state_reason TEXT,
    base_key TEXT,
    copy BIGINT,
    size BIGINT,
    sha256 TEXT,
    accepted_at BIGINT,
    finished_at BIGINT,
    mark TEXT NOT NULL DEFAULT 'never',
    marked_at BIGINT,
    content_dropped_at BIGINT,
    tidied_at BIGINT
);
CREATE UNIQUE INDEX messages_known ON messages (mailbox, immutable_id);
CREATE UNIQUE INDEX messages_copies ON messages (base_key, mailbox, copy) WHERE base_key IS NOT NULL;
CREATE INDEX messages_to_mark ON messages (mailbox, id) WHERE mark = 'due';
CREATE INDEX messages_with_content ON messages (id) WHERE state = 'delivered' AND content_dropped_at IS NULL;
CREATE INDEX messages_to_tidy ON messages (finished_at) WHERE finished_at IS NOT NULL AND tidied_at IS NULL;

CREATE TABLE contents (
    message BIGINT NOT NULL REFERENCES messages (id),
    seq BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (message, seq)
);

CREATE TABLE deliveries (
    message BIGINT NOT NULL REFERENCES messages (id),
    route TEXT NOT NULL,
    interaction_id TEXT NOT NULL,
    facts TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    accepted_at BIGINT,
    PRIMARY KEY (message, route)
);
CREATE INDEX deliveries_interaction ON deliveries (interaction_id);

-- A queue turns over all the time: vacuum by number of dead rows, not by a part of the table, and leave room in its pages.
ALTER TABLE jobs SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000);
ALTER TABLE messages SET (fillfactor = 80);
-- Mail hardly compresses (base64); spare the time.
ALTER TABLE contents ALTER COLUMN bytes SET STORAGE EXTERNAL;
