//! `$filter`: the clauses about messages that the tenant can judge, joined by `and`.
//!
//! A clause it cannot read is refused with Graph's 400; nothing is ever let through unfiltered.

use jiff::Timestamp;

use crate::answer::Answer;

/// Clauses that must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    clauses: Vec<Clause>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Clause {
    Received(Compare, i64),
    IsRead(bool),
    IsDraft(bool),
    InternetMessageId(String),
    ConversationId(String),
    Subject(String),
    SubjectBegins(String),
    Category(String),
    Importance(String),
    /// An extended property: its id and its value.
    Property(String, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Ge,
    Gt,
    Le,
    Lt,
    Eq,
}

/// What a filter looks at in a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) received: i64,
    pub(crate) is_read: bool,
    pub(crate) is_draft: bool,
    pub(crate) message_id: &'a str,
    pub(crate) conversation_id: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) categories: &'a [String],
    pub(crate) importance: &'a str,
    pub(crate) properties: &'a [(String, String)],
}

impl Filter {
    pub(crate) fn read(text: &str) -> Result<Self, Answer> {
        let invalid = || Answer::error(400, "BadRequest", &format!("Invalid filter clause: {text}"));
        let words = words(text).ok_or_else(invalid)?;
        let mut clauses = Vec::new();
        let (words, properties) = without_properties(words);
        clauses.extend(properties);
        if words.is_empty() && !clauses.is_empty() {
            return Ok(Self { clauses, text: text.to_owned() });
        }
        for part in words.split(|word| matches!(word, Word::Plain(and) if and.eq_ignore_ascii_case("and"))) {
            clauses.push(clause(part).ok_or_else(invalid)?);
        }
        Ok(Self { clauses, text: text.to_owned() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// The filter as it was written, to be carried in a token.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is only about the time received, with `ge` or `gt`: all that delta allows.
    pub(crate) fn suits_delta(&self) -> bool {
        matches!(self.clauses.as_slice(), [] | [Clause::Received(Compare::Ge | Compare::Gt, _)])
    }

    /// Whether the time received comes first, as an order by it demands.
    pub(crate) fn begins_with_received(&self) -> bool {
        matches!(self.clauses.first(), Some(Clause::Received(..)))
    }

    /// The Message-ID it asks for, if it does.
    pub(crate) fn message_id(&self) -> Option<&str> {
        self.clauses.iter().find_map(|clause| match clause {
            Clause::InternetMessageId(id) => Some(id.as_str()),
            _ => None,
        })
    }

    /// Whether it lets only unread messages through.
    pub(crate) fn unread_only(&self) -> bool {
        self.clauses.contains(&Clause::IsRead(false))
    }

    /// The earliest and latest time received (milliseconds, both inclusive) that can pass.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        self.clauses.iter().fold((i64::MIN, i64::MAX), |(low, high), clause| match clause {
            Clause::Received(Compare::Ge, at) => (low.max(*at), high),
            Clause::Received(Compare::Gt, at) => (low.max(at.saturating_add(1)), high),
            Clause::Received(Compare::Le, at) => (low, high.min(*at)),
            Clause::Received(Compare::Lt, at) => (low, high.min(at.saturating_sub(1))),
            Clause::Received(Compare::Eq, at) => (low.max(*at), high.min(*at)),
            _ => (low, high),
        })
    }

    pub(crate) fn passes(&self, facts: Facts<'_>) -> bool {
        self.clauses.iter().all(|clause| match clause {
            Clause::Received(compare, at) => match compare {
                Compare::Ge => facts.received >= *at,
                Compare::Gt => facts.received > *at,
                Compare::Le => facts.received <= *at,
                Compare::Lt => facts.received < *at,
                Compare::Eq => facts.received == *at,
            },
            Clause::IsRead(read) => facts.is_read == *read,
            Clause::IsDraft(draft) => facts.is_draft == *draft,
            Clause::InternetMessageId(id) => facts.message_id == id,
            Clause::ConversationId(id) => facts.conversation_id == id,
            Clause::Subject(subject) => facts.subject.eq_ignore_ascii_case(subject),
            Clause::SubjectBegins(words) => facts.subject.to_lowercase().starts_with(&words.to_lowercase()),
            Clause::Category(name) => facts.categories.contains(name),
            // The name in an id has a case, a value has none (resources/extended-properties-overview).
            Clause::Property(id, value) => {
                facts.properties.iter().any(|(i, v)| i == id && v.eq_ignore_ascii_case(value))
            }
            Clause::Importance(importance) => facts.importance.eq_ignore_ascii_case(importance),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Plain(String),
    Quoted(String),
}

/// Words apart by spaces; `'…'` is one word, and `''` within it one quote. None if a quote stays open.
fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(mut quoted) = rest.strip_prefix('\'') {
            let mut word = String::new();
            loop {
                let (before, after) = quoted.split_once('\'')?;
                word.push_str(before);
                match after.strip_prefix('\'') {
                    Some(more) => {
                        word.push('\'');
                        quoted = more;
                    }
                    None => {
                        rest = after.trim_start();
                        break;
                    }
                }
            }
            words.push(Word::Quoted(word));
        } else {
            let end = rest.find([' ', '\'']).unwrap_or(rest.len());
            words.push(Word::Plain(rest[..end].to_owned()));
            rest = rest[end..].trim_start();
        }
    }
    Some(words)
}

/// Takes out `singleValueExtendedProperties/Any(ep: ep/id eq '…' and ep/value eq '…')`, with the `and` that joins it.
fn without_properties(words: Vec<Word>) -> (Vec<Word>, Vec<Clause>) {
    let (mut rest, mut found) = (Vec::new(), Vec::new());
    let mut words = words.as_slice();
    while let Some((first, after)) = words.split_first() {
        match property(words) {
            Some((clause, length)) => {
                found.push(clause);
                words = &words[length..];
                let is_and = |word: &Word| matches!(word, Word::Plain(and) if and.eq_ignore_ascii_case("and"));
                if words.first().is_some_and(is_and) {
                    words = &words[1..];
                } else if words.is_empty() && rest.last().is_some_and(is_and) {
                    rest.pop();
                }
            }
            None => {
                rest.push(first.clone());
                words = after;
            }
        }
    }
    (rest, found)
}

fn property(words: &[Word]) -> Option<(Clause, usize)> {
    let [
        Word::Plain(any),
        Word::Plain(id),
        Word::Plain(eq),
        Word::Quoted(name),
        Word::Plain(and),
        Word::Plain(value),
        Word::Plain(equal),
        Word::Quoted(text),
        Word::Plain(close),
        ..,
    ] = words
    else {
        return None;
    };
    let lower = any.to_ascii_lowercase();
    let bound = lower.strip_prefix("singlevalueextendedproperties/any(")?.strip_suffix(':')?;
    let is = |word: &str, wanted: &str| word.eq_ignore_ascii_case(wanted);
    let fits = is(id, &format!("{bound}/id"))
        && is(value, &format!("{bound}/value"))
        && is(eq, "eq")
        && is(equal, "eq")
        && is(and, "and")
        && close == ")";
    fits.then(|| (Clause::Property(name.clone(), text.clone()), 9))
}

fn clause(words: &[Word]) -> Option<Clause> {
    match words {
        [Word::Plain(property), Word::Plain(operator), Word::Plain(value)] => {
            match property.to_ascii_lowercase().as_str() {
                "receiveddatetime" => Some(Clause::Received(compare(operator)?, time(value)?)),
                "isread" => truth(operator, value).map(Clause::IsRead),
                "isdraft" => truth(operator, value).map(Clause::IsDraft),
                _ => None,
            }
        }
        [Word::Plain(property), Word::Plain(operator), Word::Quoted(value)] if operator.eq_ignore_ascii_case("eq") => {
            match property.to_ascii_lowercase().as_str() {
                "internetmessageid" => Some(Clause::InternetMessageId(value.clone())),
                "conversationid" => Some(Clause::ConversationId(value.clone())),
                "subject" => Some(Clause::Subject(value.clone())),
                "importance" => Some(Clause::Importance(value.clone())),
                _ => None,
            }
        }
        // startswith(subject,'Hello')
        [Word::Plain(function), Word::Quoted(words), Word::Plain(close)]
            if close == ")" && function.eq_ignore_ascii_case("startswith(subject,") =>
        {
            Some(Clause::SubjectBegins(words.clone()))
        }
        // categories/any(c:c eq 'Blue')
        [Word::Plain(any), Word::Plain(operator), Word::Quoted(value), Word::Plain(close)]
            if close == ")" && operator.eq_ignore_ascii_case("eq") =>
        {
            let variables = any.to_ascii_lowercase().strip_prefix("categories/any(")?.to_owned();
            let (bound, used) = variables.split_once(':')?;
            (bound == used).then(|| Clause::Category(value.clone()))
        }
        _ => None,
    }
}

fn compare(operator: &str) -> Option<Compare> {
    Some(match operator.to_ascii_lowercase().as_str() {
        "ge" => Compare::Ge,
        "gt" => Compare::Gt,
        "le" => Compare::Le,
        "lt" => Compare::Lt,
        "eq" => Compare::Eq,
        _ => return None,
    })
}

fn truth(operator: &str, value: &str) -> Option<bool> {
    let value = match value {
        "true" => true,
        "false" => false,
        _ => return None,
    };
    match operator.to_ascii_lowercase().as_str() {
        "eq" => Some(value),
        "ne" => Some(!value),
        _ => None,
    }
}

/// A date alone means its first moment.
fn time(value: &str) -> Option<i64> {
    let text = if value.contains('T') { value.to_owned() } else { format!("{value}T00:00:00Z") };
    text.parse::<Timestamp>().ok().map(|at| at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    static PROPERTIES: std::sync::LazyLock<Vec<(String, String)>> =
        std::sync::LazyLock::new(|| vec![("String {1} Name Key".to_owned(), "abc".to_owned())]);
    const TEN: i64 = 1_795_255_200_000; // 2026-11-21T10:00:00Z

    fn facts(received: i64, is_read: bool) -> Facts<'static> {
        Facts {
            received,
            is_read,
            is_draft: false,
            message_id: "<it's@x>",
            conversation_id: "c",
            subject: "Hello",
            categories: &[],
            importance: "normal",
            properties: &PROPERTIES,
        }
    }

    #[test]
    fn a_filter_lets_through_what_it_says() {
        for (text, passes) in [
            ("receivedDateTime ge 2026-11-21T10:00:00Z", true),
            ("receivedDateTime gt 2026-11-21T10:00:00Z", false),
            ("receivedDateTime ge 2026-11-21T15:30:00+05:30 and receivedDateTime le 2026-11-21T10:00:00Z", true),
            ("receivedDateTime ge 2026-11-21", true),
            ("isRead eq false", true),
            ("isRead ne false", false),
            ("internetMessageId eq '<it''s@x>'", true),
            ("internetMessageId eq '<it@x>' and isRead eq false", false),
            ("receivedDateTime ge 2026-11-21 and startswith(subject,'hell')", true),
            ("startsWith(subject, 'ello')", false),
            ("categories/any(c:c eq 'Blue')", false),
            ("singleValueExtendedProperties/Any(ep: ep/id eq 'String {1} Name Key' and ep/value eq 'ABC')", true),
            ("singleValueExtendedProperties/any(p: p/id eq 'String {1} Name key' and p/value eq 'abc')", false),
            (
                "isRead eq true and singleValueExtendedProperties/Any(ep: ep/id eq 'String {1} Name Key' and ep/value eq 'abc')",
                false,
            ),
        ] {
            let filter = Filter::read(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(filter.passes(facts(TEN, false)), passes, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "",
            "and",
            "isRead eq 'false'",
            "isRead = false",
            "receivedDateTime ge '2026-11-21T10:00:00Z'",
            "receivedDateTime ge yesterday",
            "isRead eq false or isRead eq true",
            "internetMessageId eq '<open@x>",
            "startswith(body,'a')",
            "isRead eq false and",
            "singleValueExtendedProperties/Any(ep: ep/id eq 'a')",
        ] {
            assert!(Filter::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_bounds_are_those_of_all_clauses() {
        let filter =
            Filter::read("receivedDateTime gt 2026-11-21T10:00:00Z and receivedDateTime le 2026-11-21T11:00:00Z");
        assert_eq!(filter.map(|f| f.bounds()).ok(), Some((TEN + 1, TEN + 3_600_000)));
    }
}
