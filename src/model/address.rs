//! E-mail addresses, and the patterns that configuration matches them with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An e-mail address in lower case: one `@` that parts a local part from a domain, no spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Address(String);

impl Address {
    /// Reads an address. Case is folded: mailboxes on Exchange do not distinguish it.
    ///
    /// # Errors
    /// A sentence for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let Some((local, domain)) = text.rsplit_once('@') else {
            return Err("an address such as support@contoso.com");
        };
        let foreign = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';');
        if local.is_empty() || domain.is_empty() || text.contains(foreign) {
            return Err("an address such as support@contoso.com");
        }
        Ok(Self(text.to_lowercase()))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Address {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address pattern: `*` stands for any run of characters; case does not matter.
///
/// A pattern whose local part has neither `*` nor `+` also matches its plus-addressed forms
/// (`help@…` matches `help+order-7@…`): Exchange delivers both to the same mailbox (RFC 5233 subaddresses).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct AddressPattern(String);

impl AddressPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() || text.contains(char::is_whitespace) || !(text.contains('@') || text.contains('*')) {
            return Err("an address or a pattern such as help+*@contoso.com");
        }
        Ok(Self(text.to_lowercase()))
    }

    /// The pattern as it is compared: in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this address is meant.
    pub fn matches(&self, address: &Address) -> bool {
        let address = address.as_str();
        glob(&self.0, address) || self.covers_subaddress(address)
    }

    fn covers_subaddress(&self, address: &str) -> bool {
        let Some((local, domain)) = self.0.rsplit_once('@') else { return false };
        if local.contains(['*', '+']) {
            return false;
        }
        let Some((their_local, their_domain)) = address.rsplit_once('@') else { return false };
        let base = their_local.split_once('+').map(|(base, _)| base);
        base == Some(local) && glob(domain, their_domain)
    }
}

impl TryFrom<String> for AddressPattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<AddressPattern> for String {
    fn from(pattern: AddressPattern) -> Self {
        pattern.0
    }
}

/// Greedy wildcard match, linear in practice: on a mismatch only the last `*` is widened.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star, mut mark) = (0, 0, None, 0);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some(p);
            mark = t;
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some(at) = star {
            p = at + 1;
            mark += 1;
            t = mark;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, address: &str) -> bool {
        AddressPattern::parse(pattern).unwrap().matches(&Address::parse(address).unwrap())
    }

    #[test]
    fn patterns_match_as_an_administrator_expects() {
        for (pattern, address, expected) in [
            ("support@contoso.com", "Support@Contoso.com", true),
            ("support@contoso.com", "support@contoso.com.evil.example", false),
            ("help+*@contoso.com", "help+order-7@contoso.com", true),
            ("help+*@contoso.com", "help@contoso.com", false),
            ("help@contoso.com", "help+order-7@contoso.com", true),
            ("help+vip@contoso.com", "help+other@contoso.com", false),
            ("*@partner.example", "anyone@partner.example", true),
            ("*@partner.example", "anyone@sub.partner.example", false),
            ("*@*.partner.example", "anyone@sub.partner.example", true),
            ("*", "anyone@anywhere.example", true),
            ("sales-*@contoso.com", "sales-emea@contoso.com", true),
            ("grüße@contoso.com", "GRÜSSE@contoso.com", false),
        ] {
            assert_eq!(matches(pattern, address), expected, "{pattern} against {address}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in
            ["", "support", "@contoso.com", "support@", "a b@contoso.com", "<a@contoso.com>", "a@x.com,b@x.com"]
        {
            assert!(Address::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_without_wildcards_matches_itself(local in "[a-z0-9.+-]{1,12}", domain in "[a-z0-9.-]{1,12}") {
            let text = format!("{local}@{domain}");
            proptest::prop_assert!(matches(&text, &text));
        }

        #[test]
        fn matching_never_panics(pattern in "[a-z*+@]{1,40}", text in "[a-z+]{1,20}@[a-z]{1,20}") {
            if let Ok(pattern) = AddressPattern::parse(&pattern) {
                let _ = pattern.matches(&Address::parse(&text).unwrap());
            }
        }
    }
}
