-- What is known of a mail and stands in none of its stored bytes (JSON; NULL: nothing).
ALTER TABLE messages ADD COLUMN beside TEXT;
