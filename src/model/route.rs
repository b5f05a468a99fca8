//! Which routes a message goes to, and why. Plain functions over plain facts.

use super::address::{Address, AddressPattern};

/// A route's rule. An empty list asks nothing; a rule that asks nothing takes everything.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// The route's configured name.
    pub name: String,
    /// To and Cc addresses, any of them.
    pub recipients: Vec<AddressPattern>,
    /// The mailbox that received the mail.
    pub mailboxes: Vec<AddressPattern>,
    /// From addresses, any of them.
    pub senders: Vec<AddressPattern>,
    /// Searched in the subject.
    pub subject: Option<regex::Regex>,
    /// Classification kinds, any of them.
    pub kinds: Vec<String>,
    /// Whether the mail has attachments that are not part of its text.
    pub has_attachments: Option<bool>,
}

/// What routing looks at.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// To then Cc, in the order of the mail.
    pub recipients: &'a [Address],
    /// The mailbox it was found in.
    pub mailbox: &'a Address,
    /// From.
    pub senders: &'a [Address],
    /// The decoded subject.
    pub subject: &'a str,
    /// The classification kind.
    pub kind: &'a str,
    /// Whether it has attachments that are not part of its text.
    pub has_attachments: bool,
}

/// Why a route matched, as the interaction shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// A To or Cc address.
    Recipient,
    /// The mailbox it was found in.
    Mailbox,
    /// Something else the rule asked for.
    Rule,
    /// The rule asks nothing.
    Default,
}

/// A route that takes the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match<'a> {
    /// The route's configured name.
    pub route: &'a str,
    /// Why.
    pub by: MatchedBy,
    /// The To or Cc address that matched; `None` when the mail names none of ours (Bcc, lists).
    pub recipient: Option<Address>,
}

/// The routes that take this message, in the order of the configuration; only the first unless `multiple`.
///
/// `recipients` is held against To and Cc. When no To or Cc address belongs to any route — the mail came by Bcc, a
/// list or an alias — the mailbox it was found in stands in for the missing address.
pub fn matching<'a>(rules: &'a [Rule], facts: &Facts<'_>, multiple: bool) -> Vec<Match<'a>> {
    let named = |rule: &Rule| facts.recipients.iter().any(|it| any(&rule.recipients, it));
    let ours_in_a_header = rules.iter().any(named);
    let matches = rules.iter().filter_map(|rule| rule.matches(facts, ours_in_a_header));
    matches.take(if multiple { usize::MAX } else { 1 }).collect()
}

impl Rule {
    /// Whether `recipients` names this address.
    pub fn names(&self, address: &Address) -> bool {
        any(&self.recipients, address)
    }

    fn matches(&self, facts: &Facts<'_>, ours_in_a_header: bool) -> Option<Match<'_>> {
        let mut by = MatchedBy::Default;
        let mut recipient = None;
        if !self.rest_matches(facts) {
            return None;
        }
        if self.asks_for_more_than_addresses() {
            by = MatchedBy::Rule;
        }
        if !self.mailboxes.is_empty() {
            any(&self.mailboxes, facts.mailbox).then_some(())?;
            by = MatchedBy::Mailbox;
        }
        if !self.recipients.is_empty() {
            recipient = facts.recipients.iter().find(|it| any(&self.recipients, it)).cloned();
            by = match &recipient {
                Some(_) => MatchedBy::Recipient,
                None if !ours_in_a_header && any(&self.recipients, facts.mailbox) => MatchedBy::Mailbox,
                None => return None,
            };
        }
        Some(Match { route: &self.name, by, recipient })
    }

    fn asks_for_more_than_addresses(&self) -> bool {
        !self.senders.is_empty() || self.subject.is_some() || !self.kinds.is_empty() || self.has_attachments.is_some()
    }

    fn rest_matches(&self, facts: &Facts<'_>) -> bool {
        (self.senders.is_empty() || facts.senders.iter().any(|it| any(&self.senders, it)))
            && self.subject.as_ref().is_none_or(|pattern| pattern.is_match(facts.subject))
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == facts.kind))
            && self.has_attachments.is_none_or(|wanted| wanted == facts.has_attachments)
    }
}

fn any(patterns: &[AddressPattern], address: &Address) -> bool {
    patterns.iter().any(|pattern| pattern.matches(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn patterns(list: &[&str]) -> Vec<AddressPattern> {
        list.iter().map(|it| AddressPattern::parse(it).unwrap()).collect()
    }

    fn to(name: &str, recipients: &[&str]) -> Rule {
        Rule { name: name.into(), recipients: patterns(recipients), ..Rule::default() }
    }

    struct Mail {
        to: Vec<Address>,
        from: Vec<Address>,
        mailbox: Address,
    }

    fn mail(to: &[&str]) -> Mail {
        Mail {
            to: to.iter().map(|it| address(it)).collect(),
            from: vec![address("customer@example.net")],
            mailbox: address("support@contoso.com"),
        }
    }

    fn routes(rules: &[Rule], mail: &Mail, multiple: bool) -> Vec<(String, MatchedBy, Option<String>)> {
        let facts = Facts {
            recipients: &mail.to,
            mailbox: &mail.mailbox,
            senders: &mail.from,
            subject: "Order 4711",
            kind: "human",
            has_attachments: false,
        };
        let found = matching(rules, &facts, multiple);
        found.into_iter().map(|it| (it.route.to_owned(), it.by, it.recipient.map(String::from))).collect()
    }

    #[test]
    fn every_matching_route_gets_the_mail_or_only_the_first() {
        let rules = [to("a", &["support@contoso.com"]), to("b", &["*@contoso.com"]), to("c", &["sales@contoso.com"])];
        let both = routes(&rules, &mail(&["support@contoso.com"]), true);
        assert_eq!(both.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(routes(&rules, &mail(&["support@contoso.com"]), false).len(), 1);
    }

    #[test]
    fn a_mail_that_names_none_of_our_addresses_is_matched_by_its_mailbox() {
        let rules = [to("a", &["support@contoso.com"]), to("b", &["sales@contoso.com"])];
        let bcc = routes(&rules, &mail(&["undisclosed@elsewhere.example"]), true);
        assert_eq!(bcc, [("a".to_owned(), MatchedBy::Mailbox, None)]);
    }

    #[test]
    fn an_alias_in_the_header_goes_to_its_own_route_only() {
        let rules = [to("a", &["support@contoso.com"]), to("b", &["sales@contoso.com"])];
        let alias = routes(&rules, &mail(&["Sales@contoso.com"]), true);
        assert_eq!(alias, [("b".to_owned(), MatchedBy::Recipient, Some("sales@contoso.com".to_owned()))]);
    }

    #[test]
    fn the_rest_of_a_rule_must_agree_as_well() {
        let mut rule = to("a", &["support@contoso.com"]);
        rule.senders = patterns(&["*@partner.example"]);
        assert!(routes(std::slice::from_ref(&rule), &mail(&["support@contoso.com"]), true).is_empty());
        rule.senders = patterns(&["*@example.net"]);
        rule.subject = Some(regex::Regex::new("(?i)order [0-9]+").unwrap());
        rule.has_attachments = Some(false);
        rule.kinds = vec!["human".into()];
        assert_eq!(routes(std::slice::from_ref(&rule), &mail(&["support@contoso.com"]), true).len(), 1);
        rule.has_attachments = Some(true);
        assert!(routes(&[rule], &mail(&["support@contoso.com"]), true).is_empty());
    }

    #[test]
    fn a_rule_says_why_it_matched() {
        let everything = Rule { name: "all".into(), ..Rule::default() };
        let mailbox = Rule { name: "m".into(), mailboxes: patterns(&["support@contoso.com"]), ..Rule::default() };
        let subject = Rule { name: "s".into(), subject: regex::Regex::new("Order").ok(), ..Rule::default() };
        let by: Vec<_> = routes(&[everything, mailbox, subject], &mail(&[]), true).into_iter().map(|it| it.1).collect();
        assert_eq!(by, [MatchedBy::Default, MatchedBy::Mailbox, MatchedBy::Rule]);
    }
}
