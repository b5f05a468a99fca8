-- Mail that leaves. `content`: under which number its pieces lie (NULL: its own). `told`: what is shown of it (JSON).
-- `tried_at`: since when it is tried to send it; `drafting_at`: since when a draft may exist; `leaving_at`: since when it may have left; `left_at`: Exchange said that it
-- took it; `slot_at`: when its turn to leave is. `draft_files`: what was attached to the draft when it was made.
CREATE TABLE submissions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
    state TEXT NOT NULL DEFAULT 'queued',
    origin TEXT NOT NULL,
    submitted_by TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    send_at INTEGER,
    ended_at INTEGER,
    sent_at INTEGER,
    subject TEXT NOT NULL,
    told TEXT NOT NULL,
    recipients INTEGER NOT NULL,
    size INTEGER NOT NULL,
    content INTEGER,
    message_id TEXT NOT NULL,
    sent_message_id TEXT,
    conversation_id TEXT,
    thread TEXT,
    answers TEXT,
    draft_id TEXT,
    draft_files INTEGER,
    tried_at INTEGER,
    drafting_at INTEGER,
    leaving_at INTEGER,
    left_at INTEGER,
    slot_at INTEGER,
    save_copy INTEGER NOT NULL,
    calls_back INTEGER NOT NULL DEFAULT 0,
    code TEXT,
    reason TEXT
) STRICT;
CREATE INDEX submissions_of_mailbox ON submissions (mailbox, number);
-- By its Message-ID a mail is found again in the mailbox, so no two may have the same.
CREATE UNIQUE INDEX submissions_message_id ON submissions (message_id);
CREATE INDEX submissions_sent_message_id ON submissions (sent_message_id) WHERE sent_message_id IS NOT NULL;
CREATE INDEX submissions_open ON submissions (mailbox, state) WHERE state IN ('queued', 'sending');
CREATE INDEX submissions_slots ON submissions (mailbox, slot_at, recipients) WHERE slot_at IS NOT NULL AND state <> 'cancelled';
CREATE INDEX submissions_to_tidy ON submissions (ended_at) WHERE ended_at IS NOT NULL;

-- Files that are attached to the draft by themselves.
CREATE TABLE submission_files (
    number INTEGER NOT NULL REFERENCES submissions (number),
    n INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    cid TEXT,
    is_inline INTEGER NOT NULL,
    size INTEGER NOT NULL,
    session_url TEXT,
    attached_at INTEGER,
    PRIMARY KEY (number, n)
) STRICT, WITHOUT ROWID;

-- The mail (file -1) and its files, in pieces. Those that were stored before their submission lie under minus the number of
-- their stage.
CREATE TABLE submission_pieces (
    number INTEGER NOT NULL,
    file INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (number, file, seq)
) STRICT;
CREATE TABLE submission_stages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL
) STRICT;

-- A key of one submitter names one submission, of which this is the fingerprint.
CREATE TABLE submission_keys (
    submitted_by TEXT NOT NULL,
    key TEXT NOT NULL,
    submission TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (submitted_by, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX submission_keys_of ON submission_keys (submission);

-- What is told of final states, and until when it was not taken.
CREATE TABLE submission_callbacks (
    id TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL REFERENCES submissions (number),
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    accepted_at INTEGER,
    attempt INTEGER,
    took_ms INTEGER,
    discarded_at INTEGER,
    discarded_by TEXT,
    discard_reason TEXT
) STRICT;
CREATE INDEX submission_callbacks_of ON submission_callbacks (number);

-- Recipients it came back from.
CREATE TABLE submission_bounces (
    number INTEGER NOT NULL REFERENCES submissions (number),
    recipient TEXT NOT NULL,
    action TEXT NOT NULL,
    status TEXT,
    diagnostic TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (number, recipient)
) STRICT, WITHOUT ROWID;

-- What an answer to a mail is made of (JSON; NULL: nobody said, or it is gone with the record).
ALTER TABLE messages ADD COLUMN answering TEXT;
