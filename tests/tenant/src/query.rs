//! A request's query string, and what OData reads in it: `$select`, `$top`, `$skip`, `$orderby`.
//!
//! An option that Graph does not know, or does not allow here, is refused and never passed over.

use percent_encoding::percent_decode_str;

use crate::{answer::Answer, filter::Filter};

/// The decoded pairs of a query string, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Refuses any `$option` outside `allowed`; options without `$` are custom ones and pass, as on Graph.
    pub(crate) fn only(&self, allowed: &[&str]) -> Result<(), Answer> {
        let stranger = self.0.iter().find(|(name, _)| {
            name.starts_with('$') && !allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
        });
        match stranger {
            None => Ok(()),
            Some((name, _)) if ["$search", "$expand"].contains(&name.as_str()) => {
                Err(Answer::not_simulated(&format!("The query option {name}")))
            }
            Some((name, _)) => Err(Answer::error(
                400,
                "BadRequest",
                &format!("The query parameter '{name}' is not supported for this request."),
            )),
        }
    }

    /// `$top` between 1 and 1000.
    pub(crate) fn top(&self) -> Result<Option<usize>, Answer> {
        match self.number("$top")? {
            Some(top) if !(1..=MAX_PAGE).contains(&top) => Err(Answer::error(
                400,
                "ErrorInvalidUrlQueryFilter",
                "The value of $top must be between 1 and 1000 inclusive.",
            )),
            top => Ok(top),
        }
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>, Answer> {
        self.get(name).map_or(Ok(None), |text| {
            text.parse().map(Some).map_err(|_| {
                Answer::error(400, "BadRequest", &format!("Invalid value '{text}' for {name} query option found."))
            })
        })
    }

    pub(crate) fn select(&self) -> Result<Select, Answer> {
        self.get("$select").map_or(Ok(Select::everything()), Select::read)
    }

    pub(crate) fn filter(&self) -> Result<Filter, Answer> {
        self.get("$filter").map_or(Ok(Filter::default()), Filter::read)
    }

    /// The one order that is simulated: by time received. None if no order was asked for.
    pub(crate) fn order(&self) -> Result<Option<Order>, Answer> {
        let Some(text) = self.get("$orderby") else { return Ok(None) };
        let words: Vec<_> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["receiveddatetime"] | ["receiveddatetime", "asc"] => Ok(Some(Order::OldestFirst)),
            ["receiveddatetime", "desc"] => Ok(Some(Order::NewestFirst)),
            _ => Err(Answer::not_simulated(&format!("$orderby={text}"))),
        }
    }
}

/// The most Graph puts on one page of messages.
pub(crate) const MAX_PAGE: usize = 1000;
/// What it puts there when nobody says how many.
pub(crate) const DEFAULT_PAGE: usize = 10;

/// An order by time received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

/// The properties an answer shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Select(Option<Vec<&'static str>>);

/// The properties of a message that come unasked.
const BY_DEFAULT: [&str; 28] = [
    "id",
    "createdDateTime",
    "lastModifiedDateTime",
    "changeKey",
    "categories",
    "receivedDateTime",
    "sentDateTime",
    "hasAttachments",
    "internetMessageId",
    "subject",
    "bodyPreview",
    "importance",
    "parentFolderId",
    "conversationId",
    "conversationIndex",
    "isDeliveryReceiptRequested",
    "isReadReceiptRequested",
    "isRead",
    "isDraft",
    "webLink",
    "inferenceClassification",
    "body",
    "sender",
    "from",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
];
/// Those that come only when asked for, and `flag`, which comes always.
const ON_REQUEST: [&str; 3] = ["internetMessageHeaders", "uniqueBody", "flag"];

impl Select {
    pub(crate) fn everything() -> Self {
        Self(None)
    }

    pub(crate) fn read(text: &str) -> Result<Self, Answer> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| {
            let known = BY_DEFAULT.iter().chain(&ON_REQUEST).find(|known| known.eq_ignore_ascii_case(name));
            known.copied().ok_or_else(|| {
                let message = format!("Could not find a property named '{name}' on type 'microsoft.graph.message'.");
                Answer::error(400, "BadRequest", &message)
            })
        });
        Ok(Self(Some(names.collect::<Result<_, _>>()?)))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.0 {
            None => name == "flag" || BY_DEFAULT.contains(&name),
            Some(names) => name == "id" || names.contains(&name),
        }
    }

    /// The comma list, to be carried in a token; empty for everything.
    pub(crate) fn write(&self) -> String {
        self.0.as_ref().map(|names| names.join(",")).unwrap_or_default()
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_by_the_rules_of_forms() {
        let query = Query::read("%24select=id,isRead&a=b+c%2Bd&&flag");
        assert_eq!(query.get("$select"), Some("id,isRead"));
        assert_eq!(query.get("A"), Some("b c+d"));
        assert_eq!(query.get("flag"), Some(""));
    }

    #[test]
    fn a_property_that_does_not_exist_cannot_be_selected() {
        assert!(Select::read("id,isRead").is_ok());
        for wrong in ["@removed", "id,read", "Body/Content"] {
            assert_eq!(Select::read(wrong).map_err(|answer| answer.status), Err(400), "{wrong}");
        }
    }

    #[test]
    fn options_have_their_bounds() {
        for (raw, fine) in [("$top=1000", true), ("$top=1001", false), ("$top=0", false), ("$top=x", false)] {
            assert_eq!(Query::read(raw).top().is_ok(), fine, "{raw}");
        }
        assert!(Query::read("$tip=1").only(&["$top"]).is_err());
        assert!(Query::read("tip=1&$top=1").only(&["$top"]).is_ok());
    }
}
