//! A mail out of raw bytes. It never fails: what cannot be read stays empty, and the mail says why.
//!
//! Nothing is decided here about routes or threads; the raw bytes stay the truth, and attachments are read from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::addresses::{self, Mailbox, fold};
use super::attachment::{self, Attachment, Disposition};
use super::beside::CloudFile;
use super::body::{self, Bodies, Body, Html};
use super::facts::Calendar;
use super::header::Fields;
use super::security::{self, Security};
use super::structure::{self, Part, Structure};
use super::tnef::{self, Unpacked};
use super::{calendar, caught, html, privacy, uuencode};
use crate::model::address::Address;

/// What HTML holds where Outlook attached a file in the cloud: its own mark, or a link to OneDrive or SharePoint.
const CLOUDS: [&str; 4] = ["OwaReferenceAttachment", ".sharepoint.com/", "//1drv.ms/", "//onedrive.live.com/"];
/// A preview is at most this many letters.
const PREVIEW: usize = 256;

/// How urgent the sender says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Importance {
    /// Can wait.
    Low,
    /// As any other.
    #[default]
    Normal,
    /// Urgent.
    High,
}

/// A header field, decoded and unfolded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HeaderText {
    /// The name as it is written.
    pub name: String,
    /// The value as text.
    pub value: String,
}

/// A mail. Lists are empty and values `None` where the mail has nothing, or nothing legible.
#[derive(Clone, Default)]
pub struct Mail {
    /// Message-ID, without `<` and `>`.
    pub message_ids: Vec<String>,
    /// In-Reply-To.
    pub in_reply_to: Vec<String>,
    /// References, oldest first.
    pub references: Vec<String>,
    /// From.
    pub from: Vec<Mailbox>,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Bcc, where the header has it.
    pub bcc: Vec<Mailbox>,
    /// Reply-To.
    pub reply_to: Vec<Mailbox>,
    /// Sender.
    pub sender: Option<Mailbox>,
    /// The subject as text.
    pub subject: Option<String>,
    /// Date, in RFC 3339 with the sender's offset.
    pub sent_at: Option<String>,
    /// Size of the raw mail in bytes.
    pub size: u64,
    /// How urgent the sender says it is.
    pub importance: Importance,
    /// The beginning of the text, white space folded.
    pub preview: String,
    /// The text.
    pub text: Option<Body>,
    /// Whether the text had to be made from HTML.
    pub text_is_derived: bool,
    /// The HTML, as written and made safe.
    pub html: Option<Html>,
    /// What is attached, in the order of the mail.
    pub attachments: Vec<Attachment>,
    /// All header fields in their order, as they are written but unfolded.
    pub fields: Fields,
    /// All parts in their order; the mail itself is the first.
    pub parts: Vec<Part>,
    /// The meeting it is about.
    pub calendar: Option<Calendar>,
    /// Protection that can be seen from the outside.
    pub security: Security,
    /// What was wrong with it, in words.
    pub problems: Vec<&'static str>,
}

impl fmt::Debug for Mail {
    /// Nothing of what people wrote to each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("size", &self.size)
            .field("parts", &self.parts.len())
            .field("attachments", &self.attachments.len())
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

/// Reads a mail. Never fails and never panics.
pub fn parse(raw: &[u8]) -> Mail {
    caught(|| read(raw)).unwrap_or_else(|| Mail {
        size: raw.len() as u64,
        problems: vec!["the parser refused it"],
        ..Mail::default()
    })
}

fn read(raw: &[u8]) -> Mail {
    let Structure { fields, parts, chosen, mut problems } = structure::read(raw);
    let mut bodies = body::read(&parts, &chosen, raw);
    let mut wrapped = Wrapped { in_text: std::mem::take(&mut bodies.files), ..Wrapped::default() };
    for (index, mut unpacked) in chosen.attached.iter().filter_map(|&it| Some((it, unpacked(&parts[it], raw)?))) {
        problems.append(&mut unpacked.problems);
        if bodies.is_blank() {
            bodies = body::of_unpacked(unpacked.text.take(), unpacked.html.take());
        }
        wrapped.in_tnef.insert(index, unpacked.files);
    }
    let Bodies { text, text_is_derived, html, .. } = bodies;
    if html.as_ref().is_some_and(|it| !html::is_affordable(&it.original.value)) {
        problems.push("the HTML is built to exhaust its reader");
    }
    let attachments = attachments(&parts, &chosen.attached, wrapped, html.as_ref(), raw);
    let mut mail = Mail {
        message_ids: addresses::message_ids(&fields, "message-id"),
        in_reply_to: addresses::message_ids(&fields, "in-reply-to"),
        references: addresses::message_ids(&fields, "references"),
        from: addresses::list(&fields, "from"),
        to: addresses::list(&fields, "to"),
        cc: addresses::list(&fields, "cc"),
        bcc: addresses::list(&fields, "bcc"),
        reply_to: addresses::list(&fields, "reply-to"),
        sender: addresses::list(&fields, "sender").into_iter().next(),
        subject: fields.first("subject").map(|it| it.text().replace(['\r', '\n', '\0'], " ")),
        sent_at: fields.value("date").and_then(addresses::date),
        size: raw.len() as u64,
        importance: importance(&fields),
        preview: text.as_ref().map(|it| preview(&it.value)).unwrap_or_default(),
        calendar: calendar::find(&parts, raw),
        security: security::look(&parts, text.as_ref().map(|it| it.value.as_str()), raw),
        text,
        text_is_derived,
        html,
        attachments,
        fields,
        parts,
        problems,
    };
    if mail.sent_at.is_none() && mail.fields.first("date").is_some() {
        mail.problems.push("the date is no date");
    }
    mail
}

/// Files that are no parts, by the part that holds them.
#[derive(Default)]
struct Wrapped {
    in_text: BTreeMap<usize, Vec<uuencode::File>>,
    in_tnef: BTreeMap<usize, Vec<tnef::File>>,
}

fn unpacked(part: &Part, raw: &[u8]) -> Option<Unpacked> {
    security::is_tnef(part).then(|| tnef::unpack(&part.decoded(raw).into_owned().into())).flatten()
}

fn attachments(
    parts: &[Part],
    attached: &[usize],
    mut wrapped: Wrapped,
    html: Option<&Html>,
    raw: &[u8],
) -> Vec<Attachment> {
    let referenced = html.map(|it| html::content_ids(&it.original.value)).unwrap_or_default();
    let kind_of_parent = |part: &Part| part.parent.map_or("", |it| parts[it].kind());
    let attached: BTreeSet<usize> = attached.iter().copied().collect();
    let mut found = Vec::with_capacity(attached.len());
    for index in attached.iter().copied().chain(wrapped.in_text.keys().copied()).collect::<BTreeSet<_>>() {
        let part = &parts[index];
        if attached.contains(&index) {
            found.push(attachment::read(part, kind_of_parent(part), &referenced, raw));
        }
        found.extend(attachment::of_text(&part.id, wrapped.in_text.remove(&index).unwrap_or_default()));
        if let Some(files) = wrapped.in_tnef.remove(&index) {
            found.last_mut().into_iter().for_each(|wrapper| wrapper.is_wrapper = true);
            found.extend(attachment::of_tnef(&part.id, files, &referenced));
        }
    }
    found
}

fn preview(text: &str) -> String {
    // White space can only shrink, so a few times the length is enough to look at.
    let head = &text[..text.floor_char_boundary(PREVIEW * 16)];
    let folded = fold(head);
    match folded.char_indices().nth(PREVIEW) {
        Some((end, _)) => folded[..end].trim_end().to_owned(),
        None => folded,
    }
}

fn importance(fields: &Fields) -> Importance {
    let word = |name| fields.value(name).map(str::to_ascii_lowercase).unwrap_or_default();
    for name in ["importance", "x-msmail-priority"] {
        match word(name).as_str() {
            "high" => return Importance::High,
            "low" => return Importance::Low,
            "normal" => return Importance::Normal,
            _ => {}
        }
    }
    match (word("x-priority").chars().next(), word("priority").as_str()) {
        (Some('1' | '2'), _) | (_, "urgent") => Importance::High,
        (Some('4' | '5'), _) | (_, "non-urgent") => Importance::Low,
        _ => Importance::Normal,
    }
}

impl Mail {
    /// To then Cc, as routes match them. What is no address is skipped.
    pub fn recipients(&self) -> Vec<Address> {
        self.to.iter().chain(&self.cc).filter_map(|it| Address::parse(&it.email).ok()).collect()
    }

    /// Whether the mail holds what a mailbox would list as attached: a signature, a wrapping or the parts of a report as
    /// well, but no image that stands in its text.
    pub fn holds_files(&self) -> bool {
        let is_image = |it: &Attachment| it.disposition == Disposition::Inline && it.kind.starts_with("image/");
        self.attachments.iter().any(|it| !is_image(it) || it.is_file())
    }

    /// Whether its HTML points to where files in the cloud lie, as it does where Outlook attached one.
    pub fn points_to_cloud(&self) -> bool {
        let html = self.html.as_ref().map(|it| it.original.value.as_str()).unwrap_or_default();
        CLOUDS.iter().any(|it| html.contains(it))
    }

    /// Adds the files in the cloud that Graph lists as attached.
    pub fn attach(&mut self, files: &[CloudFile]) {
        self.attachments.extend(attachment::of_cloud(files));
    }

    /// From, as routes match it.
    pub fn senders(&self) -> Vec<Address> {
        self.from.iter().filter_map(|it| Address::parse(&it.email).ok()).collect()
    }

    /// Whether it has attachments that are not part of its text.
    pub fn has_attachments(&self) -> bool {
        self.attachments.iter().any(Attachment::is_file)
    }

    /// The header fields in their order, decoded; those that must not be passed on are left out.
    pub fn headers(&self) -> impl Iterator<Item = HeaderText> {
        let shown = self.fields.0.iter().filter(|field| !privacy::is_hidden(&field.name));
        shown.map(|field| HeaderText { name: field.name.clone(), value: field.text() })
    }
}
