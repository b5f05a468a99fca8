-- For how long each replica was silent while another watched. `seen_at`: what it showed last, by its own clock;
-- `looked_at`: when somebody last looked, by the database's clock.
CREATE TABLE silences (
    number INTEGER PRIMARY KEY,
    seen_at INTEGER NOT NULL,
    looked_at INTEGER NOT NULL,
    silent_ms INTEGER NOT NULL
) STRICT;
