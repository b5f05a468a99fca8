//! What somebody wants sent: plain values, in contract §5's words.

use bytes::Bytes;

use crate::mail::addresses::Mailbox;
use crate::mail::attachment::Disposition;
use crate::model::clock::UnixMillis;

/// The field by which a mail of ours, and a bounce of it, is known as a submission's.
pub const SUBMISSION_FIELD: &str = "X-Mailspan-Submission-Id";

/// One outbound mail.
#[derive(Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its id; the Message-ID is made of it.
    pub id: String,
    /// When it was accepted: the mail's date.
    pub date: UnixMillis,
    /// Who it is from.
    pub from: Mailbox,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Who gets it without being named in it.
    pub bcc: Vec<Mailbox>,
    /// Where answers go, where not to `from`.
    pub reply_to: Vec<Mailbox>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: Option<String>,
    /// The HTML.
    pub html: Option<String>,
    /// What is attached.
    pub attachments: Vec<File>,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// The mail it answers, without `<` and `>`.
    pub in_reply_to: Vec<String>,
    /// The mails before it in the conversation, oldest first, without `<` and `>`.
    pub references: Vec<String>,
    /// Whether a program wrote it.
    pub automatic: Automatic,
}

/// Whether a program wrote a mail, which must then get no automatic answer (RFC 3834 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Automatic {
    /// A person wrote it.
    #[default]
    No,
    /// A program wrote it unasked.
    Generated,
    /// A program answered.
    Replied,
}

/// A file that is attached.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its media type, perhaps with parameters.
    pub kind: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes. They may be left out of a file that does not travel with the mail ([`super::ways`]).
    pub content: Bytes,
    /// The id by which HTML shows it, without `<` and `>`.
    pub cid: Option<String>,
    /// A file of its own, or shown in the text.
    pub disposition: Disposition,
}

/// How an attachment reaches Exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Within the mail.
    WithMail,
    /// Attached to the draft in one request.
    OneRequest,
    /// Attached to the draft through an upload session; in one request if that is refused as too small.
    Session,
}

impl File {
    /// Whether HTML shows it, so that it belongs beside the HTML.
    pub fn is_shown(&self) -> bool {
        self.cid.is_some() && self.disposition == Disposition::Inline
    }
}

/// The Message-ID of a submission, without `<` and `>`: the same whenever it is written.
pub fn message_id(id: &str, from: &Mailbox) -> String {
    let domain = from.email.rsplit_once('@').map(|(_, domain)| domain).filter(|it| it.is_ascii() && !it.is_empty());
    format!("{id}@{}", domain.unwrap_or("mailspan.invalid"))
}

impl std::fmt::Debug for Submission {
    /// Nothing of what people write to each other.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("id", &self.id)
            .field("recipients", &(self.to.len() + self.cc.len() + self.bcc.len()))
            .field("attachments", &self.attachments)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("kind", &self.kind).field("size", &self.size).finish_non_exhaustive()
    }
}
