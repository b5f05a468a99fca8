//! A digest of what is the same in two mailboxes' copies of one mail, and differs where a Message-ID is used again.
//!
//! Transport leaves its marks in headers, names of people are rewritten from address books, and parts are wrapped
//! anew; so only addresses, subject, date, decoded text and decoded attachments count.

use aws_lc_rs::digest::{Context, SHA256};

use super::addresses::{Mailbox, fold};
use super::attachment::Origin;
use super::parse::Mail;
use crate::model::ids::hex;

/// SHA-256 of the content of a mail, in hexadecimal. Message-ID is not part of it.
pub fn content_digest(mail: &Mail) -> String {
    let mut digest = Digest(Context::new(&SHA256));
    for list in [&mail.from, &mail.to, &mail.cc] {
        digest.count(list.len());
        list.iter().for_each(|it| digest.text(&address(it)));
    }
    digest.text(mail.sent_at.as_deref().or_else(|| mail.fields.value("date")).unwrap_or_default());
    digest.text(&fold(mail.subject.as_deref().unwrap_or_default()));
    digest.text(if mail.text_is_derived {
        ""
    } else {
        mail.text.as_ref().map(|it| it.sha256.as_str()).unwrap_or_default()
    });
    digest.text(mail.html.as_ref().map(|it| it.original.sha256.as_str()).unwrap_or_default());
    // Files in the cloud are told by Graph and not by the mail.
    let of_mail = mail.attachments.iter().filter(|it| it.origin != Origin::Reference);
    let mut attached: Vec<&str> = of_mail.map(|it| it.sha256.as_str()).collect();
    attached.sort_unstable();
    digest.count(attached.len());
    attached.into_iter().for_each(|it| digest.text(it));
    hex(digest.0.finish().as_ref())
}

fn address(mailbox: &Mailbox) -> String {
    match (&mailbox.name, mailbox.email.as_str()) {
        (Some(name), "") => name.to_lowercase(),
        (_, email) => email.to_lowercase(),
    }
}

struct Digest(Context);

impl Digest {
    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }
}
