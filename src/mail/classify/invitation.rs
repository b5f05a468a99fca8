//! Invitations and the answers to them (RFC 5546, RFC 6047).
//!
//! A calendar file somebody attaches to a letter is an attachment; a mail that *is* a meeting says a method.

use super::Verdict;
use super::clues::Clues;
use crate::mail::facts::Kind;
use crate::mail::structure::Part;

/// Methods of meetings between people (RFC 5546 §1.4). PUBLISH is how tickets and newsletters hand out dates.
const METHODS: &[&str] = &["request", "reply", "cancel", "counter", "declinecounter", "add", "refresh"];
/// A calendar says its method before its first event.
const HEAD: usize = 4 * 1024;

pub(super) fn look(clues: &Clues<'_>) -> Option<Verdict> {
    let calendars = || clues.parts().filter(|it| it.kind() == "text/calendar");
    if let Some(method) = calendars().filter(|it| is_shown(it)).find_map(|it| method(it, clues.raw)) {
        return Verdict::of(Kind::Calendar, vec![format!("calendar: {method}")]);
    }
    // Exchange marks meetings by their class, with a part or without.
    let is_meeting = clues.word("content-class").is_some_and(|it| it == "urn:content-classes:calendarmessage");
    if is_meeting {
        return Verdict::of(Kind::Calendar, vec!["content-class: calendarmessage".to_owned()]);
    }
    None
}

fn is_shown(part: &Part) -> bool {
    part.disposition.as_deref() != Some("attachment")
}

fn method(part: &Part, raw: &[u8]) -> Option<&'static str> {
    let known = |text: &str| METHODS.iter().find(|it| it.eq_ignore_ascii_case(text.trim())).copied();
    if let Some(said) = part.content_type.parameter("method") {
        return known(said);
    }
    let written = part.written(raw);
    let head = part.encoding.decode(&written[..written.len().min(HEAD)]);
    let head = String::from_utf8_lossy(&head);
    let said = head.lines().filter_map(|it| it.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("method"));
    said.and_then(|(_, value)| known(value))
}
