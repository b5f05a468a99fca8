//! The fields of a delivery report (RFC 3464, RFC 6533): groups of them, one for the mail and one a recipient.
//!
//! Of several recipients the worst decides, and among equals the first: one address that failed is what must be seen.

use std::sync::LazyLock;

use regex::Regex;

/// What a report says of one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Recipient {
    pub(super) action: Option<String>,
    pub(super) status: Option<String>,
    pub(super) address: Option<String>,
    /// What the other system said.
    pub(super) diagnostic: Option<String>,
}

/// What a report says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// The recipient that decides.
    pub(super) worst: Recipient,
    /// Every recipient it speaks of, in its order.
    pub(super) recipients: Vec<Recipient>,
    /// X-Original-Message-ID, which some write among the fields of the mail.
    pub(super) message_id: Option<String>,
}

/// Reads the groups of a report. `None` when it says nothing of any recipient.
pub(super) fn read(text: &str) -> Option<Status> {
    let mut recipients: Vec<Recipient> = Vec::new();
    let mut message_id = None;
    let mut group = Group::default();
    for line in unfolded(text) {
        let Some((name, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                recipients.extend(std::mem::take(&mut group).recipient());
            }
            continue;
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name == "final-recipient" && group.last.is_some() {
            // The blank line between two recipients is missing.
            recipients.extend(std::mem::take(&mut group).recipient());
        }
        match name.as_str() {
            "final-recipient" => group.last = address(value),
            "original-recipient" => group.first = group.first.take().or_else(|| address(value)),
            "x-actual-recipient" => group.actual = address(value),
            "action" => group.action = action(value),
            "status" => group.status = code(value),
            "diagnostic-code" => {
                group.diagnostic = group.diagnostic.take().or_else(|| code_in(value));
                group.said = group.said.take().or_else(|| said(value));
            }
            "x-original-message-id" => message_id = Some(value.trim_matches(['<', '>']).to_owned()),
            _ => {}
        }
    }
    recipients.extend(group.recipient());
    let mut worst = recipients.first()?;
    for next in &recipients {
        if badness(next) > badness(worst) {
            worst = next;
        }
    }
    Some(Status { worst: worst.clone(), recipients, message_id })
}

#[derive(Default)]
struct Group {
    first: Option<String>,
    last: Option<String>,
    actual: Option<String>,
    action: Option<String>,
    status: Option<String>,
    diagnostic: Option<String>,
    said: Option<String>,
}

impl Group {
    fn recipient(self) -> Option<Recipient> {
        let Self { first, last, actual, action, status, diagnostic, said } = self;
        // Where the last system knows the recipient by another name than an address, the first may have one.
        let addresses = [last, first, actual];
        let address = addresses.iter().flatten().find(|it| it.contains('@')).or(addresses.iter().flatten().next());
        let says_something = address.is_some() || action.is_some();
        says_something.then(|| {
            let status = status.or(diagnostic);
            let action = action.or_else(|| status.as_deref().map(action_of).map(str::to_owned));
            Recipient { action, status, address: address.cloned(), diagnostic: said }
        })
    }
}

fn badness(it: &Recipient) -> u8 {
    match it.action.as_deref() {
        Some("failed") => 3,
        Some("delayed") => 2,
        Some(_) => 1,
        None => 0,
    }
}

/// Lines with their continuations; a line that is blank stays one.
fn unfolded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) && !line.trim().is_empty() && !last.trim().is_empty() => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// `rfc822; user@example.net`: what is behind the type, without its wrapping. `None` when nothing is.
fn address(value: &str) -> Option<String> {
    let (kind, address) = value.split_once(';').unwrap_or(("", value));
    let address = address.trim().trim_matches(['<', '>', '"', '\'']).trim();
    let address = if kind.trim().eq_ignore_ascii_case("utf-8") { unescaped(address) } else { address.to_owned() };
    (!address.is_empty()).then_some(address)
}

/// `smtp; 550 5.1.1 No such user`: what is behind the type. `None` when nothing is.
fn said(value: &str) -> Option<String> {
    let is_type = |it: &str| !it.is_empty() && it.trim().chars().all(|it| it.is_ascii_alphanumeric() || it == '-');
    let said = value.split_once(';').filter(|(kind, _)| is_type(kind)).map_or(value, |(_, said)| said).trim();
    (!said.is_empty()).then(|| said.to_owned())
}

/// `\x{FC}` as RFC 6533 §3 writes letters that are not ASCII.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let letter = after.split_once('}').and_then(|(hex, after)| {
            let letter = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).filter(|it| !it.is_control())?;
            Some((letter, after))
        });
        match letter {
            Some((letter, after)) => {
                out.push(letter);
                rest = after;
            }
            None => {
                out.push_str("\\x{");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The action by its name in RFC 3464 §2.3.3; `None` for a word that is none.
fn action(value: &str) -> Option<String> {
    let word: String = value.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    let known = match word.as_str() {
        "failed" | "failure" | "fail" | "expired" => "failed",
        "delayed" | "delay" | "deferred" => "delayed",
        "delivered" => "delivered",
        "relayed" => "relayed",
        "expanded" => "expanded",
        _ => return None,
    };
    Some(known.to_owned())
}

/// What a status means where no action stands beside it (RFC 3463 §3.1).
pub(super) fn action_of(status: &str) -> &'static str {
    match status.as_bytes().first() {
        Some(b'2') => "delivered",
        Some(b'4') => "delayed",
        _ => "failed",
    }
}

/// `5.1.1 (no such user)` and `smtp; 5.1.1`: the code in a field that is one.
fn code(value: &str) -> Option<String> {
    let text = value.trim_start_matches(|c: char| !c.is_ascii_digit());
    CODE.as_ref()?.captures(text).filter(|it| it.get(0).is_some_and(|it| it.start() == 0)).map(|it| it[1].to_owned())
}

static CODE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"([245]\.\d{1,3}\.\d{1,3})(?:[^\d.]|\.?$|\.\s)").ok());

/// Enhanced codes (RFC 3463) as servers write them into sentences: behind a reply code, a `#`, a bracket or a name.
/// Addresses and versions look alike, so a code that stands by itself does not count.
static CODE_IN_TEXT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let before =
        r"(?:\b[245]\d\d[-\s:]{1,3}|#|status(?:[ -]?code)?\s*[:=]?\s*|code\s*[:=]?\s*|error\s*[:=]?\s*|<|\(|\[|^\s*)";
    Regex::new(&format!(r"(?im){before}#?([245]\.\d{{1,3}}\.\d{{1,3}})(?:[^\d.]|\.?$|\.\s)")).ok()
});

/// The first enhanced code in a text.
pub(super) fn code_in(text: &str) -> Option<String> {
    CODE_IN_TEXT.as_ref()?.captures(text).map(|it| it[1].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(text: &str) -> [Option<String>; 3] {
        let Recipient { action, status, address, .. } = read(text).unwrap_or_default().worst;
        [action, status, address]
    }

    #[test]
    fn a_report_is_read_as_its_writers_write_it() {
        for (text, expected) in [
            (
                "Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; a@x.de\nAction: failed\nStatus: 5.1.1\n",
                ["failed", "5.1.1", "a@x.de"],
            ),
            // Folded, with comments, in other cases, without the blank line behind the fields of the mail.
            (
                "Reporting-MTA: dns; mx\nFINAL-RECIPIENT: RFC822;\n  <a@x.de>\naction: Failed (really)\nStatus: 5.1.1 (bad)",
                ["failed", "5.1.1", "a@x.de"],
            ),
            // The worst of several, and the first of the worst.
            (
                "A: b\n\nFinal-Recipient: rfc822; a@x.de\nAction: delivered\nStatus: 2.0.0\n\n\
                 Final-Recipient: rfc822; b@x.de\nAction: failed\nStatus: 5.2.2\n\n\
                 Final-Recipient: rfc822; c@x.de\nAction: failed\nStatus: 5.1.1\n",
                ["failed", "5.2.2", "b@x.de"],
            ),
            // No blank line between recipients.
            (
                "Final-Recipient: rfc822; a@x.de\nAction: delayed\nStatus: 4.4.1\n\
                 Final-Recipient: rfc822; b@x.de\nAction: failed\nStatus: 5.4.1\n",
                ["failed", "5.4.1", "b@x.de"],
            ),
            // Only the original recipient; the status is in the diagnosis.
            (
                "Original-Recipient: <a@x.de>\nAction: failed\nDiagnostic-Code: smtp; 550 5.1.1 <a@x.de>... unknown\n",
                ["failed", "5.1.1", "a@x.de"],
            ),
            // A recipient of another system; the original one has an address.
            (
                "Original-Recipient: rfc822;a@x.de\nFinal-Recipient: x-local;uuid-1\nAction: failed\nStatus: 5.0.0",
                ["failed", "5.0.0", "a@x.de"],
            ),
            // Actions that are none, and none at all.
            ("Final-Recipient: rfc822; a@x.de\nStatus: 4.4.7", ["delayed", "4.4.7", "a@x.de"]),
            ("Final-Recipient: rfc822; a@x.de\nAction: exploded\nStatus: 5.3.0", ["failed", "5.3.0", "a@x.de"]),
            (
                "Final-Recipient: utf-8; gr\\x{FC}n@x.de\nAction: failed\nStatus: 5.1.1",
                ["failed", "5.1.1", "grün@x.de"],
            ),
            (
                "Final-Recipient: utf-8; a\\x{zz}@x.de\nAction: failed\nStatus: 5.1.1",
                ["failed", "5.1.1", "a\\x{zz}@x.de"],
            ),
        ] {
            assert_eq!(worst(text), expected.map(|it| Some(it.to_owned())), "{text}");
        }
        for text in ["", "\n\n", "Reporting-MTA: dns; mx\n\nHello\n", "just text"] {
            assert_eq!(read(text), None, "{text}");
        }
        let with_id = "X-Original-Message-ID: <m@x.de>\n\nFinal-Recipient: rfc822; a@x.de\nAction: failed";
        assert_eq!(read(with_id).unwrap().message_id.as_deref(), Some("m@x.de"));
    }

    #[test]
    fn a_code_in_a_sentence_is_told_from_addresses_and_versions() {
        for (text, expected) in [
            ("550 5.1.1 <a@x.de>... User unknown", Some("5.1.1")),
            ("Remote host said: 550-5.7.606 Access denied", Some("5.7.606")),
            ("cannot connect. (#4.4.1)", Some("4.4.1")),
            ("Status: 5.0.0.", Some("5.0.0")),
            ("host mx [192.0.2.5]: 452 4.2.2 full", Some("4.2.2")),
            ("host 5.1.1.7 refused", None),
            ("[5.1.1.7] refused", None),
            ("sent by Exim 4.9.4", None),
            ("1.5.1.1", None),
            ("nothing", None),
        ] {
            assert_eq!(code_in(text).as_deref(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_read(text in "((Final-Recipient|Action|Status|X)?[:;< ]{0,2}(rfc822;|\\\\x\\{|5\\.1\\.1|failed|[a-zü@}\n \t]){0,8}\n?){0,8}") {
            let _ = read(&text);
            let _ = code_in(&text);
        }
    }
}
