-- What a dead replica held is found without reading every job there is.
CREATE INDEX jobs_of_holder ON jobs (holder) WHERE holder IS NOT NULL AND leased_until IS NOT NULL;
