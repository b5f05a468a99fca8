//! Mail that leaves: a submission is checked before it is accepted, and written as Graph takes it.
//!
//! The same submission always gives the same bytes, so whoever writes it a second time, after a crash, writes the same
//! mail with the same Message-ID. What Graph cannot carry is refused with its place and a sentence.

mod answering;
mod check;
mod encode;
mod json;
mod mime;
mod names;
mod outgoing;
mod parameter;
mod raw;
mod reply;
mod subject;
mod submission;
mod words;

pub use self::answering::Answering;
pub use self::check::{Limits, Problem, check};
pub use self::json::graph_message;
pub use self::mime::{mime, ways};
pub use self::names::ascii;
pub use self::outgoing::Outgoing;
pub use self::raw::{Raw, author, own_message_id, raw};
pub use self::reply::{Answered, Reply, ReplyAll};
pub use self::subject::answering;
pub use self::submission::{Automatic, File, SUBMISSION_FIELD, Submission, Way, message_id};
