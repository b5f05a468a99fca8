//! What a mail is recognised by when its submitter hands it in again under the same key: everything he said.

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Value, json};

use super::{Offer, Offered};
use crate::mail::compose::{File, Submission};
use crate::model::ids::{hex, sha256_hex};

/// A hash over what the submitter said. `digests` are those of the files, in their order.
pub(super) fn fingerprint(offer: &Offer, digests: &[String]) -> String {
    let mail = match &offer.mail {
        Offered::Written(submission, _) => written(submission, digests),
        Offered::Raw { mail, sender, recipients } => {
            json!({ "raw": sha256_hex(mail), "sender": sender, "recipients": recipients })
        }
    };
    let said = json!({
        "mail": mail,
        "send_at": offer.send_at,
        "save": offer.save_to_sent_items,
        "metadata": offer.metadata,
        "answers": offer.answers.as_ref().map(|it| (&it.mailbox, &it.immutable_id)),
    });
    sha256_hex(said.to_string().as_bytes())
}

fn written(it: &Submission, digests: &[String]) -> Value {
    let file = |(file, digest): (&File, &String)| json!([file.name, file.kind, file.cid, file.disposition, digest]);
    json!({
        "people": (&it.from, &it.to, &it.cc, &it.bcc, &it.reply_to),
        "subject": it.subject,
        "text": it.text,
        "html": it.html,
        "files": it.attachments.iter().zip(digests).map(file).collect::<Vec<_>>(),
        "headers": it.headers,
        "in_reply_to": it.in_reply_to,
        "references": it.references,
        "automatic": format!("{:?}", it.automatic),
    })
}

/// A hash over content that comes in portions.
pub(super) struct Digest(Context);

impl Digest {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn end(self) -> String {
        hex(self.0.finish().as_ref())
    }
}
