//! The facts of an interaction as header fields, for whoever is handed the mail itself.
//!
//! A fact that is absent has no field. What is not plain ASCII is percent-encoded UTF-8, and so are `%` and space.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::interaction::{EVENT, Handover, Prepared, SCHEMA};

const PLAIN: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
/// Within `name=value` pairs that are joined by `&`.
const PAIRED: &AsciiSet = &PLAIN.add(b'&').add(b'=').add(b'+');

impl Prepared<'_> {
    /// (name, value) in plain ASCII, the same on every attempt.
    pub fn headers(&self, handover: &Handover<'_>) -> Vec<(&'static str, String)> {
        let source = &self.source;
        let kind = source.classification.kind.as_str();
        let matched_by = serde_json::to_value(handover.matched_by).ok();
        let attributes: Vec<String> = handover
            .attributes
            .iter()
            .map(|(name, value)| {
                format!("{}={}", utf8_percent_encode(name, PAIRED), utf8_percent_encode(value, PAIRED))
            })
            .collect();
        let (index, count) = (handover.fan_out_index.to_string(), handover.fan_out_count.to_string());
        let gap = handover.thread.gap.join(",");
        let facts = [
            ("mailspan-type", Some(EVENT)),
            ("mailspan-schema", Some(SCHEMA)),
            ("mailspan-interaction-id", Some(handover.interaction_id)),
            ("mailspan-message-key", Some(source.message_key)),
            ("mailspan-tenant", Some(source.tenant)),
            ("mailspan-mailbox", Some(source.mailbox.as_str())),
            ("mailspan-folder", Some(source.folder)),
            ("mailspan-route", Some(handover.route)),
            ("mailspan-matched-by", matched_by.as_ref().and_then(serde_json::Value::as_str)),
            ("mailspan-matched-recipient", handover.matched_recipient.map(|it| it.as_str())),
            ("mailspan-fan-out-index", Some(&index)),
            ("mailspan-fan-out-count", Some(&count)),
            ("mailspan-immutable-id", Some(source.immutable_id)),
            ("mailspan-conversation-id", source.conversation_id),
            ("mailspan-received-at", Some(self.received_at.as_str())),
            ("mailspan-raw-sha256", Some(source.raw_sha256)),
            ("mailspan-kind", Some(kind)),
            ("mailspan-suppress-auto-response", Some(truth(source.classification.suppress_auto_response))),
            ("mailspan-thread-id", Some(handover.thread.thread_id.as_str())),
            ("mailspan-thread-is-new", Some(truth(handover.thread.is_new))),
            ("mailspan-previous-interaction-id", handover.thread.previous_interaction_id.as_deref()),
            ("mailspan-thread-gap", Some(gap.as_str()).filter(|it| !it.is_empty())),
        ];
        let mut fields: Vec<_> = facts
            .into_iter()
            .filter_map(|(name, value)| Some((name, utf8_percent_encode(value?, PLAIN).to_string())))
            .collect();
        if !attributes.is_empty() {
            fields.push(("mailspan-attributes", attributes.join("&")));
        }
        fields
    }
}

fn truth(so: bool) -> &'static str {
    if so { "true" } else { "false" }
}
