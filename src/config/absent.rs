//! Keys and values the manual's reader may know from elsewhere, and that this version does not have.
//!
//! Asked only about what the types do not know, so an entry never stands in the way of a feature that has arrived.

/// (key with `*` for list elements and kinds, what it would have been for)
const KEYS: &[(&str, &str)] =
    &[("telemetry.otlp_endpoint", "OpenTelemetry export; metrics are at /metrics of the admin listener")];

/// Kinds of destination that a build may leave out; each is a feature of its name.
const LEFT_OUT: [&str; 4] = ["nats", "amqp", "kafka", "object_store"];

/// The message for a key that this version does not have.
pub(super) fn key(plain: &str) -> Option<String> {
    let (_, purpose) = KEYS.iter().find(|(key, _)| *key == plain)?;
    Some(format!("this version of Mailspan does not have this key ({purpose}); remove it"))
}

/// The message for a value that this version does not have.
pub(super) fn value(plain: &str, value: &str) -> Option<String> {
    if plain == "routes.destination.kind" && LEFT_OUT.contains(&value) {
        return Some(format!("this build of Mailspan does not have `{value}`; take one with the feature `{value}`"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_was_left_out_of_the_build_is_named_with_its_feature() {
        let said = value("routes.destination.kind", "kafka").unwrap();
        assert!(said.contains("this build") && said.ends_with("the feature `kafka`"), "{said}");
        assert_eq!(value("routes.destination.kind", "webhok"), None);
    }
}
