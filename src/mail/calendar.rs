//! The meeting a mail is about: out of its `text/calendar` part (RFC 5545, RFC 5546).
//!
//! Of a calendar only what an interaction shows is read, line by line and forgiving; nothing is accepted or answered.

use super::addresses::Mailbox;
use super::body;
use super::charset;
use super::facts::Calendar;
use super::structure::Part;
use super::zones::{self, Observance};

/// A meeting with its attachments inside may be long; what is shown stands before them.
const LONGEST: usize = 1 << 20;
/// Observances of a time zone that are looked at; a zone has two, and some more for its past.
const MOST_OBSERVANCES: usize = 200;

/// The meeting in the parts of a mail. Of several calendars the first that says what to do with it counts.
pub fn find(parts: &[Part], raw: &[u8]) -> Option<Calendar> {
    let calendars = parts.iter().filter(|it| is_calendar(it) && !it.is_multipart());
    let mut first = None;
    for part in calendars {
        let method = part.content_type.parameter("method");
        let Some(found) = read(&body::text_of(part, raw), method) else { continue };
        if found.method.is_some() {
            return Some(found);
        }
        first.get_or_insert(found);
    }
    first
}

fn is_calendar(part: &Part) -> bool {
    matches!(part.kind(), "text/calendar" | "application/ics" | "text/x-vcalendar" | "application/x-ics")
        || part.kind() == "application/octet-stream"
            && part.name.as_deref().is_some_and(|it| it.to_ascii_lowercase().ends_with(".ics"))
}

/// Reads a calendar. `method` is what the content type says. `None`: no meeting is in it.
pub fn read(text: &str, method: Option<&str>) -> Option<Calendar> {
    let mut reading = Reading::default();
    for line in unfolded(&text[..text.floor_char_boundary(LONGEST)]) {
        reading.line(&line);
    }
    reading.leave();
    let Event { uid, sequence, start, organizer, .. } = reading.meeting?;
    let start = start.and_then(|it| it.written(&reading.zones));
    let method = reading.method.or_else(|| method.and_then(keyword));
    Some(Calendar { method, uid, sequence, start, organizer })
}

/// Lines as they were before they were folded.
fn unfolded(text: &str) -> impl Iterator<Item = String> {
    let mut lines = text.split('\n').map(|it| it.strip_suffix('\r').unwrap_or(it)).peekable();
    std::iter::from_fn(move || {
        let mut line = lines.next()?.to_owned();
        while let Some(more) = lines.next_if(|it| it.starts_with([' ', '\t'])) {
            line.push_str(&more[1..]);
        }
        Some(line)
    })
}

#[derive(Debug, Default)]
struct Reading {
    method: Option<String>,
    /// The components that are open.
    open: Vec<String>,
    event: Event,
    /// The meeting itself, not one of its days that is different.
    meeting: Option<Event>,
    zones: Vec<(String, Vec<Observance>)>,
    observances: usize,
}

#[derive(Debug, Default, Clone)]
struct Event {
    uid: Option<String>,
    sequence: Option<u32>,
    start: Option<Start>,
    organizer: Option<Mailbox>,
    is_one_day_of_it: bool,
}

#[derive(Debug, Clone)]
struct Start {
    value: String,
    zone: Option<String>,
}

impl Start {
    /// As RFC 3339 writes it: a moment with its offset, or the day of what takes all day. `None` for a time whose zone
    /// nobody knows.
    fn written(&self, zones: &[(String, Vec<Observance>)]) -> Option<String> {
        let value = self.value.trim();
        if let Some(utc) = value.strip_suffix(['Z', 'z']) {
            return Some(format!("{}Z", zones::local(utc)?.strftime("%Y-%m-%dT%H:%M:%S")));
        }
        if value.len() == 8 {
            return zones::day(value).map(|it| it.to_string());
        }
        let (local, zone) = (zones::local(value)?, self.zone.as_deref()?);
        let observances = zones.iter().find(|it| it.0 == zone).map(|it| it.1.as_slice());
        zones::offset(zone, local, observances.unwrap_or_default()).and_then(|it| zones::rfc3339(local, it))
    }
}

impl Reading {
    fn line(&mut self, line: &str) {
        let Some(Property { name, parameters, value }) = parts_of(line) else { return };
        match (name.as_str(), self.open.last().map(String::as_str)) {
            ("BEGIN", _) => self.enter(value.trim().to_ascii_uppercase()),
            ("END", Some(_)) => self.leave(),
            ("METHOD", Some("VCALENDAR") | None) => self.method = self.method.take().or_else(|| keyword(value)),
            (_, Some("VEVENT" | "VTODO")) => self.event(&name, &parameters, value),
            ("TZID", Some("VTIMEZONE")) => {
                if let Some(zone) = self.zones.last_mut() {
                    zone.0 = value.trim().to_owned();
                }
            }
            (_, Some("STANDARD" | "DAYLIGHT")) => {
                if let Some(observance) = self.zones.last_mut().and_then(|it| it.1.last_mut()) {
                    observance.read(&name, value);
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, component: String) {
        match component.as_str() {
            "VEVENT" | "VTODO" => self.event = Event::default(),
            "VTIMEZONE" => self.zones.push(Default::default()),
            "STANDARD" | "DAYLIGHT" if self.observances < MOST_OBSERVANCES => {
                self.observances += 1;
                if let Some(zone) = self.zones.last_mut() {
                    zone.1.push(Observance::default());
                }
            }
            _ => {}
        }
        self.open.push(component);
    }

    fn leave(&mut self) {
        if matches!(self.open.pop().as_deref(), Some("VEVENT" | "VTODO")) {
            let event = std::mem::take(&mut self.event);
            if self.meeting.as_ref().is_none_or(|it| it.is_one_day_of_it && !event.is_one_day_of_it) {
                self.meeting = Some(event);
            }
        }
    }

    fn event(&mut self, name: &str, parameters: &[(String, String)], value: &str) {
        let parameter = |name: &str| parameters.iter().find(|it| it.0 == name).map(|it| it.1.clone());
        let event = &mut self.event;
        match name {
            "UID" => event.uid = Some(unescaped(value)).filter(|it| !it.is_empty()),
            "SEQUENCE" => event.sequence = value.trim().parse().ok(),
            "DTSTART" => event.start = Some(Start { value: value.to_owned(), zone: parameter("TZID") }),
            "RECURRENCE-ID" => event.is_one_day_of_it = true,
            "ORGANIZER" => {
                let address = value.trim();
                let is_mailto = address.get(..7).is_some_and(|it| it.eq_ignore_ascii_case("mailto:"));
                let email = if is_mailto { decoded(&address[7..]) } else { address.to_owned() };
                let email = parameter("EMAIL").filter(|_| !email.contains('@')).unwrap_or(email);
                // Exchange writes `invalid:nomail` where it knows none.
                let email = if email.contains('@') { email } else { String::new() };
                let name = parameter("CN").map(|it| super::addresses::fold(&it)).filter(|it| !it.is_empty());
                event.organizer = (name.is_some() || !email.is_empty()).then_some(Mailbox { name, email });
            }
            _ => {}
        }
    }
}

/// A line: `NAME;PARAMETER=value;…:value`.
struct Property<'a> {
    name: String,
    parameters: Vec<(String, String)>,
    value: &'a str,
}

/// The first colon outside of quotation marks parts a line.
fn parts_of(line: &str) -> Option<Property<'_>> {
    let mut is_quoted = false;
    let colon = line.bytes().position(|byte| {
        is_quoted ^= byte == b'"';
        byte == b':' && !is_quoted
    })?;
    let (head, value) = (&line[..colon], &line[colon + 1..]);
    let mut pieces = Vec::new();
    let mut start = 0;
    for (at, byte) in head.bytes().enumerate() {
        is_quoted ^= byte == b'"';
        if byte == b';' && !is_quoted {
            pieces.push(&head[start..at]);
            start = at + 1;
        }
    }
    pieces.push(&head[start..]);
    let mut pieces = pieces.into_iter();
    let name = pieces.next()?.trim().to_ascii_uppercase();
    let parameter = |it: &str| {
        let (name, value) = it.split_once('=')?;
        Some((name.trim().to_ascii_uppercase(), without_carets(value.trim().trim_matches('"'))))
    };
    Some(Property { name, parameters: pieces.filter_map(parameter).collect(), value })
}

/// RFC 6868: how a parameter writes quotation marks and line ends.
fn without_carets(value: &str) -> String {
    value.replace("^'", "\"").replace("^n", "\n").replace("^^", "^")
}

/// RFC 5545 §3.3.11.
fn unescaped(value: &str) -> String {
    let value = value.trim();
    let mut out = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => out.extend(letters.next().map(|it| if it == 'n' || it == 'N' { '\n' } else { it })),
            (letter, _) => out.push(letter),
        }
    }
    out
}

fn decoded(address: &str) -> String {
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(address.trim()).collect();
    charset::unlabelled(&bytes).into_owned()
}

fn keyword(value: &str) -> Option<String> {
    let word = value.trim().to_ascii_uppercase();
    (!word.is_empty() && word.len() <= 40 && word.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-'))
        .then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(event: &str) -> Option<Calendar> {
        read(&format!("BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\n{event}\nEND:VEVENT\nEND:VCALENDAR\n"), None)
    }

    fn start(event: &str) -> Option<String> {
        calendar(event).unwrap().start
    }

    #[test]
    fn a_meeting_is_read_as_programs_write_it() {
        let text = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VTIMEZONE\r\nTZID:UTC\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\nUID:0400\r\n 00\\,8200\r\n\
            SEQUENCE:2\r\nORGANIZER;CN=\"Lindner; Eva: IT\";SENT-BY=\"mailto:x@y.z\":MAILTO:eva@example.net\r\n\
            BEGIN:VALARM\r\nUID:of the alarm\r\nEND:VALARM\r\nDTSTART;TZID=UTC:20261121T100000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
        let meeting = read(text, Some("publish")).unwrap();
        assert_eq!(meeting.method.as_deref(), Some("REQUEST"));
        assert_eq!((meeting.uid.as_deref(), meeting.sequence), (Some("040000,8200"), Some(2)));
        assert_eq!(meeting.start.as_deref(), Some("2026-11-21T10:00:00+00:00"));
        let organizer = Mailbox { name: Some("Lindner; Eva: IT".into()), email: "eva@example.net".into() };
        assert_eq!(meeting.organizer, Some(organizer));
        assert_eq!(read("BEGIN:VEVENT\nUID:x", Some("Reply")).unwrap().method.as_deref(), Some("REPLY"));
        for none in ["", "BEGIN:VCALENDAR\nEND:VCALENDAR", "BEGIN:VTIMEZONE\nEND:VTIMEZONE", "no calendar: at all"] {
            assert_eq!(read(none, Some("REQUEST")), None, "{none}");
        }
    }

    #[test]
    fn a_start_is_a_moment_a_day_or_nothing() {
        for (written, moment) in [
            ("DTSTART:20261121T100000Z", Some("2026-11-21T10:00:00Z")),
            ("DTSTART;TZID=Europe/Berlin:20261121T100000", Some("2026-11-21T10:00:00+01:00")),
            ("DTSTART;TZID=W. Europe Standard Time:20260721T100000", Some("2026-07-21T10:00:00+02:00")),
            (
                "DTSTART;TZID=\"/mozilla.org/20070129_1/America/New_York\":20261121T100000",
                Some("2026-11-21T10:00:00-05:00"),
            ),
            ("DTSTART;VALUE=DATE:20261121", Some("2026-11-21")),
            ("DTSTART:20261121T100000", None),
            ("DTSTART;TZID=Customized Time Zone:20261121T100000", None),
            ("DTSTART;TZID=Europe/Berlin:20260230T100000", None),
            ("DTSTART:tomorrow", None),
            ("DTSTART:2026112ü", None),
            ("DTSTART:", None),
        ] {
            assert_eq!(start(written).as_deref(), moment, "{written}");
        }
    }

    #[test]
    fn a_zone_nobody_knows_by_name_is_read_from_the_calendar() {
        let zone = "BEGIN:VTIMEZONE\nTZID:Our own\nBEGIN:STANDARD\nDTSTART:16010101T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n\
            RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD\nBEGIN:DAYLIGHT\nDTSTART:16010101T020000\n\
            TZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\nEND:DAYLIGHT\nEND:VTIMEZONE\n";
        for (local, moment) in [
            ("20260115T100000", "2026-01-15T10:00:00+01:00"),
            ("20260715T100000", "2026-07-15T10:00:00+02:00"),
            ("20261024T235959", "2026-10-24T23:59:59+02:00"),
            ("20261025T040000", "2026-10-25T04:00:00+01:00"),
            ("20260329T040000", "2026-03-29T04:00:00+02:00"),
        ] {
            let text = format!("BEGIN:VCALENDAR\n{zone}BEGIN:VEVENT\nDTSTART;TZID=Our own:{local}\nEND:VEVENT\n");
            assert_eq!(read(&text, None).unwrap().start.as_deref(), Some(moment));
        }
    }

    #[test]
    fn of_a_series_the_series_counts_and_not_one_of_its_days() {
        let day = "BEGIN:VEVENT\nUID:s\nRECURRENCE-ID:20261121T100000Z\nDTSTART:20261121T110000Z\nEND:VEVENT\n";
        let series = "BEGIN:VEVENT\nUID:s\nDTSTART:20261114T100000Z\nEND:VEVENT\n";
        for text in [[day, series].concat(), [series, day].concat()] {
            assert_eq!(read(&text, None).unwrap().start.as_deref(), Some("2026-11-14T10:00:00Z"));
        }
    }

    #[test]
    fn an_organizer_has_a_name_or_an_address() {
        for (written, name, email) in [
            ("ORGANIZER:mailto:a@x.de", None, "a@x.de"),
            ("ORGANIZER;CN=Eva:mailto:a%40x.de", Some("Eva"), "a@x.de"),
            ("ORGANIZER;CN=Eva ^'E^' L:invalid:nomail", Some("Eva \"E\" L"), ""),
            ("ORGANIZER;EMAIL=a@x.de;CN=Eva:urn:uuid:1", Some("Eva"), "a@x.de"),
        ] {
            let organizer = calendar(written).unwrap().organizer.unwrap();
            assert_eq!((organizer.name.as_deref(), organizer.email.as_str()), (name, email), "{written}");
        }
        assert_eq!(calendar("ORGANIZER:invalid:nomail").unwrap().organizer, None);
    }

    proptest::proptest! {
        #[test]
        fn any_calendar_can_be_read(text in "((BEGIN|END):(VEVENT|VTIMEZONE|STANDARD)\n|(DTSTART|TZOFFSETTO|RRULE|ORGANIZER)(;TZID=x)?:[-+0-9TZ]{0,16}\n|RRULE:FREQ=YEARLY;BYDAY=-?[0-9]{1,2}(SU|MO);BYMONTH=[0-9]{1,3};UNTIL=[0-9TZ]{0,16}\n|[ -~ü]{0,20}\n){0,20}") {
            let _ = read(&text, Some(&text));
        }
    }
}
