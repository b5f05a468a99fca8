-- Attempts that did not succeed, under the key of their job (`code` NULL: one that did, before its delivery was replayed).
CREATE TABLE attempts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    at BIGINT NOT NULL,
    took_ms BIGINT NOT NULL,
    code TEXT,
    reason TEXT,
    answer TEXT
);
CREATE INDEX attempts_of_job ON attempts (key, id);
-- Why the last attempt failed, or why the job is parked.
ALTER TABLE jobs ADD COLUMN code TEXT;
CREATE INDEX jobs_parked_key ON jobs (key) WHERE parked_at IS NOT NULL;

-- The attempt that was accepted and how long it took; who decided that the route needs it no more, when and why.
ALTER TABLE deliveries ADD COLUMN attempt BIGINT;
ALTER TABLE deliveries ADD COLUMN took_ms BIGINT;
ALTER TABLE deliveries ADD COLUMN discarded_at BIGINT;
ALTER TABLE deliveries ADD COLUMN discarded_by TEXT;
ALTER TABLE deliveries ADD COLUMN discard_reason TEXT;

-- Since when nothing is done in the mailbox and who wants it so; from when on a person wants it swept.
ALTER TABLE mailboxes ADD COLUMN paused_at BIGINT;
ALTER TABLE mailboxes ADD COLUMN paused_by TEXT;
ALTER TABLE mailboxes ADD COLUMN sweep_since BIGINT;
