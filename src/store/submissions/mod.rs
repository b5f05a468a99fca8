//! Submissions: mail that leaves, from the moment it is accepted until it is sent, failed or cancelled.
//!
//! Where a submission stands is written in its own row, step by step; its Send job only says when to go on.

pub(super) mod bounces;
pub(super) mod callbacks;
pub(super) mod cancel;
pub(super) mod ledger;
mod open;
pub(super) mod pieces;
pub(super) mod read;
pub(super) mod slots;
pub(super) mod stages;
pub(super) mod steps;
pub(super) mod submit;
pub(super) mod tidy;
pub(super) mod trail;

pub use bounces::{Bounce, Tie};
pub use callbacks::Callback;
pub use cancel::Cancelled;
pub use ledger::Ledger;
pub use open::OpenSubmissions;
pub use read::{Submission, SubmissionFile, SubmissionFilter, Waits};
pub use slots::Slot;
pub use steps::{Step, Then};
pub use submit::{NewFile, NewSubmission, Submitted};
pub use trail::Trail;

/// The mail itself among the pieces; its files count from nought.
const MAIL: i64 = -1;

/// A number of ours that is never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
