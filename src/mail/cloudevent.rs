//! The interaction in a CloudEvent 1.0, structured mode (github.com/cloudevents/spec, JSON event format).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::interaction::{EVENT, Handover, Interaction, Prepared};

/// Everything but what may stand in a segment of a URI as it is, and `@`, which addresses have (RFC 3986 §3.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

impl Prepared<'_> {
    /// The interaction as the `data` of a CloudEvent. Its id is the interaction's, its subject the message's key.
    ///
    /// # Errors
    /// Only where JSON itself cannot be written, which texts and numbers never cause.
    pub fn cloud_event(&self, handover: &Handover<'_>) -> serde_json::Result<Vec<u8>> {
        let escaped = |text| utf8_percent_encode(text, SEGMENT);
        let source = &self.source;
        self.write(&CloudEvent {
            specversion: "1.0",
            id: handover.interaction_id,
            source: format!("/tenants/{}/mailboxes/{}", escaped(source.tenant), escaped(source.mailbox.as_str())),
            kind: EVENT,
            subject: source.message_key,
            time: &self.received_at,
            datacontenttype: "application/json",
            interaction: self.interaction_of(handover)?,
        })
    }
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: &'a str,
    time: &'a str,
    datacontenttype: &'static str,
    #[serde(rename = "data")]
    interaction: Interaction<'a>,
}
