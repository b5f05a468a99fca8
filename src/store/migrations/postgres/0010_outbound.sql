-- Mail that leaves. `content`: under which number its pieces lie (NULL: its own). `told`: what is shown of it (JSON).
-- `tried_at`: since when it is tried to send it; `drafting_at`: since when a draft may exist; `leaving_at`: since when it may have left; `left_at`: Exchange said that it
-- took it; `slot_at`: when its turn to leave is. `draft_files`: what was attached to the draft when it was made.
CREATE TABLE submissions (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    mailbox BIGINT NOT NULL REFERENCES mailboxes (id),
    state TEXT NOT NULL DEFAULT 'queued',
    origin TEXT NOT NULL,
    submitted_by TEXT COLLATE "C" NOT NULL,
    accepted_at BIGINT NOT NULL,
    send_at BIGINT,
    ended_at BIGINT,
    sent_at BIGINT,
    subject TEXT NOT NULL,
    told TEXT NOT NULL,
    recipients BIGINT NOT NULL,
    size BIGINT NOT NULL,
    content BIGINT,
    message_id TEXT NOT NULL,
    sent_message_id TEXT,
    conversation_id TEXT,
    thread TEXT,
    answers TEXT,
    draft_id TEXT,
    draft_files BIGINT,
    tried_at BIGINT,
    drafting_at BIGINT,
    leaving_at BIGINT,
    left_at BIGINT,
    slot_at BIGINT,
    save_copy BIGINT NOT NULL,
    calls_back BIGINT NOT NULL DEFAULT 0,
    code TEXT,
    reason TEXT
);
CREATE INDEX submissions_of_mailbox ON submissions (mailbox, number);
-- By its Message-ID a mail is found again in the mailbox, so no two may have the same.
CREATE UNIQUE INDEX submissions_message_id ON submissions (message_id);
CREATE INDEX submissions_sent_message_id ON submissions (sent_message_id) WHERE sent_message_id IS NOT NULL;
CREATE INDEX submissions_open ON submissions (mailbox, state) WHERE state IN ('queued', 'sending');
CREATE INDEX submissions_slots ON submissions (mailbox, slot_at, recipients) WHERE slot_at IS NOT NULL AND state <> 'cancelled';
CREATE INDEX submissions_to_tidy ON submissions (ended_at) WHERE ended_at IS NOT NULL;

-- Files that are attached to the draft by themselves.
CREATE TABLE submission_files (
    number BIGINT NOT NULL REFERENCES submissions (number),
    n BIGINT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    cid TEXT,
    is_inline BIGINT NOT NULL,
    size BIGINT NOT NULL,
    session_url TEXT,
    attached_at BIGINT,
    PRIMARY KEY (number, n)
);

-- The mail (file -1) and its files, in pieces. Those that were stored before their submission lie under minus the number of
-- their stage.
CREATE TABLE submission_pieces (
    number BIGINT NOT NULL,
    file BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (number, file, seq)
);
CREATE TABLE submission_stages (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL
);

-- A key of one submitter names one submission, of which this is the fingerprint.
CREATE TABLE submission_keys (
    submitted_by TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    submission TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (submitted_by, key)
);
CREATE INDEX submission_keys_of ON submission_keys (submission);

-- What is told of final states, and until when it was not taken.
CREATE TABLE submission_callbacks (
    id TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL REFERENCES submissions (number),
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    accepted_at BIGINT,
    attempt BIGINT,
    took_ms BIGINT,
    discarded_at BIGINT,
    discarded_by TEXT,
    discard_reason TEXT
);
CREATE INDEX submission_callbacks_of ON submission_callbacks (number);

-- Recipients it came back from.
CREATE TABLE submission_bounces (
    number BIGINT NOT NULL REFERENCES submissions (number),
    recipient TEXT NOT NULL,
    action TEXT NOT NULL,
    status TEXT,
    diagnostic TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (number, recipient)
);

-- Mail hardly compresses (base64); spare the time.
ALTER TABLE submission_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- What an answer to a mail is made of (JSON; NULL: nobody said, or it is gone with the record).
ALTER TABLE messages ADD COLUMN answering TEXT;
