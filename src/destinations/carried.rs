//! What goes beside a body on a bus, as header fields: whose it is, what it is, which attempt this is.
//!
//! A CloudEvent's attributes stand there once more (`ce-…`), so that a consumer can choose without opening it.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;

use super::Handover;
use crate::model::outcome::Failure;

/// What `%` would make ambiguous, and what no header carries.
const PLAIN: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The attributes of a CloudEvent that say what it is. Its subject is left in it.
#[derive(Deserialize)]
struct Attributes<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
}

/// The fields beside the content type: names in lower case, values in one line of ASCII.
pub(super) fn fields(handover: &Handover) -> Result<Vec<(Cow<'static, str>, String)>, Failure> {
    let mut fields: Vec<(Cow<'static, str>, String)> = Vec::with_capacity(handover.headers.len() + 8);
    let own = [
        ("mailspan-interaction-id", handover.interaction.as_str()),
        ("mailspan-route", handover.route.as_str()),
        ("mailspan-thread-id", handover.about.thread.as_str()),
    ];
    let facts = handover.headers.iter().map(|(name, value)| (*name, value.clone()));
    fields.extend(facts.map(|(name, value)| (name.into(), value)));
    for (name, value) in own {
        if !fields.iter().any(|(it, _)| it == name) {
            fields.push((name.into(), utf8_percent_encode(value, PLAIN).to_string()));
        }
    }
    fields.push(("mailspan-attempt".into(), handover.attempt.to_string()));
    if handover.content_type.starts_with("application/cloudevents+json") {
        let event: Attributes<'_> = serde_json::from_slice(&handover.body)
            .map_err(|error| Failure::permanent(format_args!("it is no CloudEvent (byte {})", error.column())))?;
        let of_event = [
            ("ce-specversion", Some(event.specversion)),
            ("ce-id", Some(event.id)),
            ("ce-source", Some(event.source)),
            ("ce-type", Some(event.kind)),
            ("ce-time", event.time),
        ];
        for (name, value) in of_event {
            fields.extend(value.map(|it| (name.into(), utf8_percent_encode(&it, PLAIN).to_string())));
        }
    }
    match fields.iter().find(|(_, value)| value.bytes().any(|it| it.is_ascii_control() || !it.is_ascii())) {
        Some((name, _)) => Err(Failure::permanent(format_args!("{name} cannot be sent as a header field"))),
        None => Ok(fields),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::About;
    use super::*;

    fn handover(body: &'static str, content_type: &'static str) -> Handover {
        Handover {
            interaction: "ix_1".into(),
            attempt: 3,
            route: "Bücher 1".into(),
            body: Bytes::from_static(body.as_bytes()),
            content_type,
            headers: vec![("mailspan-thread-id", "th_given".into())],
            raw: Bytes::new(),
            about: About { thread: "th_1".into(), ..About::default() },
        }
    }

    #[test]
    fn who_it_is_for_stands_beside_every_body_once() {
        let fields = fields(&handover("{}", "application/json")).unwrap();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_ref(), value.as_str())).collect();
        assert_eq!(
            fields,
            [
                ("mailspan-thread-id", "th_given"),
                ("mailspan-interaction-id", "ix_1"),
                ("mailspan-route", "B%C3%BCcher%201"),
                ("mailspan-attempt", "3"),
            ]
        );
    }

    #[test]
    fn a_cloud_event_shows_what_it_is_and_not_what_it_is_about() {
        let event = r#"{"specversion":"1.0","id":"ix_1","source":"/mailspan","type":"t","subject":"secret","data":{}}"#;
        let fields = fields(&handover(event, "application/cloudevents+json; charset=utf-8")).unwrap();
        let of_event: Vec<_> = fields.iter().filter(|(name, _)| name.starts_with("ce-")).collect();
        assert_eq!(of_event.len(), 4, "{of_event:?}");
        assert!(!format!("{fields:?}").contains("secret"));
    }

    #[test]
    fn what_would_break_out_of_its_field_is_refused() {
        let broken = Handover { headers: vec![("mailspan-x", "a\r\nb".into())], ..handover("{}", "application/json") };
        assert!(matches!(fields(&broken), Err(Failure::Permanent { .. })));
    }
}
