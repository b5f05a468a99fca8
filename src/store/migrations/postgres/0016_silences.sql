-- For how long each replica was silent while another watched. `seen_at`: what it showed last, by its own clock;
-- `looked_at`: when somebody last looked, by the database's clock.
CREATE TABLE silences (
    number BIGINT NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL,
    looked_at BIGINT NOT NULL,
    silent_ms BIGINT NOT NULL
);
