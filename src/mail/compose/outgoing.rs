//! A mail as it will leave: what its draft is made of, and what is attached to that draft. The same bytes every time.

use bytes::Bytes;

use super::mime::{mime, ways};
use super::submission::{File, Submission, Way, message_id};
use crate::mail::addresses::Mailbox;

/// A mail ready to be stored and sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its Message-ID, without `<` and `>`.
    pub message_id: String,
    /// What the draft is made of, Bcc in its header; at most what one request to Graph carries.
    pub mime: Bytes,
    /// What is attached to the draft by itself.
    pub files: Vec<File>,
    /// From.
    pub from: Mailbox,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Who gets it unseen.
    pub bcc: Vec<Mailbox>,
    /// The subject.
    pub subject: String,
    /// In-Reply-To, without `<` and `>`.
    pub in_reply_to: Vec<String>,
    /// References, oldest first, without `<` and `>`.
    pub references: Vec<String>,
}

impl Outgoing {
    /// A submission that was checked, written out.
    pub fn written(submission: &Submission) -> Self {
        let apart = |(file, way): (&File, Way)| (way != Way::WithMail).then(|| file.clone());
        Self {
            message_id: message_id(&submission.id, &submission.from),
            mime: mime(submission),
            files: submission.attachments.iter().zip(ways(submission)).filter_map(apart).collect(),
            from: submission.from.clone(),
            to: submission.to.clone(),
            cc: submission.cc.clone(),
            bcc: submission.bcc.clone(),
            subject: submission.subject.clone(),
            in_reply_to: submission.in_reply_to.clone(),
            references: submission.references.clone(),
        }
    }

    /// How many get it.
    pub fn recipients(&self) -> usize {
        self.to.len() + self.cc.len() + self.bcc.len()
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("size", &self.mime.len()).field("files", &self.files).finish_non_exhaustive()
    }
}
