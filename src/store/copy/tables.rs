//! What a store consists of: every table, in an order in which rows find what they refer to.
//!
//! A test holds this list against the tables themselves, so that none is ever forgotten.

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// What its rows are known by, in this order.
    pub key: &'static [&'static str],
    /// Whether the key is a number that the database gives out and never gives out twice.
    pub is_numbered: bool,
}

const fn numbered(name: &'static str, key: &'static [&'static str]) -> Table {
    Table { name, key, is_numbered: true }
}

const fn keyed(name: &'static str, key: &'static [&'static str]) -> Table {
    Table { name, key, is_numbered: false }
}

/// What is copied.
pub const COPIED: &[Table] = &[
    keyed("secrets", &["name"]),
    keyed("seals", &["key"]),
    numbered("mailboxes", &["id"]),
    keyed("grants", &["mailbox"]),
    numbered("messages", &["id"]),
    keyed("contents", &["message", "seq"]),
    keyed("deliveries", &["message", "route"]),
    keyed("threads", &["id"]),
    keyed("thread_keys", &["key"]),
    keyed("rates", &["key", "minute"]),
    keyed("gaps", &["interaction_id"]),
    numbered("attempts", &["id"]),
    numbered("submissions", &["number"]),
    keyed("submission_files", &["number", "n"]),
    keyed("submission_pieces", &["number", "file", "seq"]),
    numbered("submission_stages", &["number"]),
    keyed("submission_keys", &["submitted_by", "key"]),
    keyed("submission_callbacks", &["id"]),
    keyed("submission_bounces", &["number", "recipient"]),
    numbered("jobs", &["id"]),
];

/// What belongs to one database and its processes: who works on it, browsers that are expected back within minutes, which
/// steps its tables took, that a copy into it is not finished.
pub const NOT_COPIED: &[&str] = &["replicas", "silences", "browser_sign_ins", "_sqlx_migrations", super::MARK];
