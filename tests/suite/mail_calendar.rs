//! The meeting a mail is about, from its parts into the interaction.

use base64::prelude::{BASE64_STANDARD, Engine};
use mailspan::mail::parse::parse;
use serde_json::json;

const MEETING: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VTIMEZONE\r\nTZID:W. Europe Standard Time\r\n\
    BEGIN:STANDARD\r\nDTSTART:16010101T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\n\
    RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\n\
    ORGANIZER;CN=Eva Müller:MAILTO:eva@example.net\r\nUID:040000008200E00074C5B7101A82E008\r\nSEQUENCE:1\r\n\
    DTSTART;TZID=W. Europe Standard Time:20261125T100000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn invitation(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut raw = String::from(
        "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nCome\r\n",
    );
    for (kind, text) in parts {
        let text = BASE64_STANDARD.encode(text);
        raw.push_str(&format!("--b\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{text}\r\n"));
    }
    (raw + "--b--\r\n").into_bytes()
}

#[test]
fn an_invitation_arrives_with_what_it_is_about() {
    let raw = invitation(&[("text/calendar; charset=utf-8; method=REQUEST", MEETING)]);
    let calendar = serde_json::to_value(parse(&raw).calendar).unwrap();
    assert_eq!(
        calendar,
        json!({ "method": "REQUEST", "uid": "040000008200E00074C5B7101A82E008", "sequence": 1,
            "start": "2026-11-25T10:00:00+01:00", "organizer": { "name": "Eva Müller", "email": "eva@example.net" } })
    );
    assert_eq!(parse(&raw).attachments[0].kind, "text/calendar", "and the calendar itself is attached");
}

#[test]
fn the_calendar_that_says_what_to_do_goes_before_one_that_is_only_attached() {
    let plain = MEETING.replace("METHOD:REQUEST\r\n", "").replace("SEQUENCE:1", "SEQUENCE:7");
    for (parts, method, sequence) in [
        (vec![("application/ics; name=a.ics", plain.as_str()), ("text/calendar", MEETING)], Some("REQUEST"), 1),
        (vec![("application/octet-stream; name=A.ICS", plain.as_str())], None, 7),
        (vec![("text/calendar; method=\"cancel\"", plain.as_str())], Some("CANCEL"), 7),
        (vec![("text/calendar", "rubbish"), ("text/calendar", plain.as_str())], None, 7),
    ] {
        let calendar = parse(&invitation(&parts)).calendar.unwrap();
        assert_eq!((calendar.method.as_deref(), calendar.sequence), (method, Some(sequence)), "{parts:?}");
    }
    assert_eq!(parse(&invitation(&[("text/calendar; method=REQUEST", "rubbish")])).calendar, None);
    assert_eq!(parse(&invitation(&[])).calendar, None);
}
