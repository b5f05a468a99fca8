//! Reports that say what they are: multipart/report (RFC 6522) on delivery, on reading, on abuse.
//!
//! The report must be the mail itself. One that lies inside a person's mail is what that person writes about.

use super::Verdict;
use super::clues::{Clues, Sender};
use super::{original, undelivered};
use crate::mail::facts::Kind;
use crate::mail::structure::Part;

const RECEIPT: &[&str] = &["message/disposition-notification", "message/global-disposition-notification"];

pub(super) fn look(clues: &Clues<'_>) -> Option<Verdict> {
    let report = report(clues);
    let kind = report.and_then(|it| it.content_type.parameter("report-type")).map(token).filter(|it| !it.is_empty());
    let named = |known: &str| kind.as_deref() == Some(known);
    let has = |kinds: &[&str]| (report.is_some() || clues.is_by_machine()) && clues.part(kinds).is_some();
    let mut reasons: Vec<String> = kind.iter().map(|it| format!("report-type: {it}")).collect();
    if named("feedback-report") || has(&["message/feedback-report"]) || is_complaint(clues) {
        reasons.push("feedback report".to_owned());
        return Verdict::of(Kind::Bulk, reasons);
    }
    let is_receipt = clues.word("content-class").is_some_and(|it| it == "urn:content-classes:mdn");
    if named("disposition-notification") || has(RECEIPT) || is_receipt {
        reasons.extend(is_receipt.then(|| "content-class: mdn".to_owned()));
        reasons.extend(disposition(clues));
        if reasons.is_empty() {
            reasons.push("disposition-notification part".to_owned());
        }
        return Verdict::of(Kind::Mdn, reasons);
    }
    let has_status = report.is_some() && undelivered::status_part(clues).is_some();
    if named("delivery-status") || has_status {
        reasons.extend(has_status.then(|| "delivery-status part".to_owned()));
        reasons.extend(clues.auto_submitted_reason());
        return Some(Verdict { kind: Kind::Dsn, reasons, dsn: Some(undelivered::read(clues)) });
    }
    // Reports on encryption (RFC 8460) and others: for programs to read.
    kind.and_then(|_| Verdict::of(Kind::Bulk, reasons))
}

/// The report, where the mail is one. A gateway or a list may have put another multipart around it; a person too, so
/// that one counts only where no person sent it.
fn report<'a>(clues: &Clues<'a>) -> Option<&'a Part> {
    let is_report = |it: &Part| it.kind() == "multipart/report";
    // A report whose boundary never comes has no parts, and still says what it is.
    let whole =
        clues.mail.parts.first().filter(|it| is_report(it) || it.content_type.parameter("report-type").is_some());
    let is_by_machine = clues.is_by_machine() || clues.sender == Sender::Postmaster;
    whole.or_else(|| is_by_machine.then(|| clues.parts().find(|it| is_report(it))).flatten())
}

/// Outlook.com writes no ARF: it encloses the mail somebody complained about, with a field of its own at its head.
fn is_complaint(clues: &Clues<'_>) -> bool {
    let enclosed = || clues.parts().filter(|it| original::is_enclosed(it));
    clues.subject.starts_with("complaint about message from ")
        && enclosed().any(|it| original::fields(it, clues.raw).first("x-hmxmroriginalrecipient").is_some())
}

/// What was done with the mail (RFC 8098 §3.2.6).
fn disposition(clues: &Clues<'_>) -> Option<String> {
    const KNOWN: &[&str] = &["displayed", "deleted", "dispatched", "processed", "denied", "failed"];
    const LONGEST: usize = 16 * 1024;
    let part = clues.part(RECEIPT)?;
    let written = part.written(clues.raw);
    let bytes = part.encoding.decode(&written[..written.len().min(LONGEST)]);
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let value = text.lines().find_map(|it| it.strip_prefix("disposition:"))?;
    let word = token(value.rsplit(';').next()?);
    KNOWN.contains(&word.as_str()).then(|| format!("disposition: {word}"))
}

/// The leading word of a value, in lower case.
fn token(value: &str) -> String {
    let value = value.trim().to_ascii_lowercase();
    value.chars().take_while(|it| it.is_ascii_alphanumeric() || *it == '-').take(40).collect()
}
