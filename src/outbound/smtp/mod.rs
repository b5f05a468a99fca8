//! The submission listener (RFC 6409): users hand in mail over SMTP, and 250 means that it is on disk.
//!
//! Every mail goes the way of [`super::Outbound::accept`]. A session is a state machine without I/O (`session`); its
//! driver (`connection`) reads, writes, encrypts and asks.

mod content;
mod envelope;
mod guard;
mod login;
mod reply;
mod session;
