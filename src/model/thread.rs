//! Conversations: what connects a mail with others, under names that only this store can make.
//!
//! Every name is a hash keyed with a secret of the store: nobody guesses the id of a conversation, which is also its
//! token, and neither a Message-ID nor an address is kept for its sake.

use std::fmt;

use aws_lc_rs::hmac;
use serde::Serialize;

use super::ids::hex;

/// How a conversation was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// In-Reply-To names a mail we know, or names this one in a mail we know.
    InReplyTo,
    /// References names one, or names this one in a mail we know.
    References,
    /// A token of ours came back.
    Token,
    /// Exchange put it into a conversation its sender takes part in.
    ConversationId,
    /// Not at all.
    #[default]
    None,
}

impl Basis {
    const ALL: [Self; 5] = [Self::InReplyTo, Self::References, Self::Token, Self::ConversationId, Self::None];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InReplyTo => "in_reply_to",
            Self::References => "references",
            Self::Token => "token",
            Self::ConversationId => "conversation_id",
            Self::None => "none",
        }
    }

    /// Reads the word. `None`: it is none of them.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// Where a mail was put.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Joined {
    /// The conversation's id.
    pub thread: String,
    /// Whether it begins with this mail.
    pub is_new: bool,
    /// How it was recognised.
    pub basis: Basis,
}

/// The name of something that belongs to one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadKey(pub [u8; 16]);

/// All that may connect a mail with others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clues {
    /// Its Message-ID.
    pub own: Option<ThreadKey>,
    /// What that id stands for: its sender and date beside it. An id that also stands for something else connects nothing.
    pub carrier: String,
    /// The ids in In-Reply-To.
    pub in_reply_to: Vec<ThreadKey>,
    /// The ids in References, the last first.
    pub references: Vec<ThreadKey>,
    /// Ids of conversations that stand in its addresses or ids.
    pub tokens: Vec<String>,
    /// Who takes part in its conversation as Exchange sees it.
    pub present: Vec<ThreadKey>,
    /// Of those its sender; empty unless it is a reply.
    pub answering: Vec<ThreadKey>,
    /// The id of the conversation it begins if nothing connects it: made of the oldest id it names.
    pub fresh: String,
    /// Where that oldest id stands; [`Basis::None`]: it is its own, or there is none.
    pub root: Basis,
    /// The id of the conversation it begins if its own id was used before, by another mail.
    pub alone: String,
}

impl Clues {
    /// Nothing connects it with anything.
    pub fn none(thread: &str) -> Self {
        let thread = || thread.to_owned();
        Self { carrier: thread(), fresh: thread(), alone: thread(), ..Self::default() }
    }
}

/// What the id of a conversation begins with.
const TOKEN: &str = "th_";
/// The letters after that.
const TOKEN_DIGITS: usize = 32;

/// Makes the names.
#[derive(Clone)]
pub struct ThreadNames(hmac::Key);

impl fmt::Debug for ThreadNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadNames(…)")
    }
}

impl ThreadNames {
    /// Keyed with this secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A mail, by its Message-ID.
    pub fn mail(&self, tenant: &str, message_id: &str) -> ThreadKey {
        self.name(&["mail", tenant, message_id])
    }

    /// Somebody's part in a conversation of Exchange. Case does not matter.
    pub fn part(&self, tenant: &str, conversation: &str, address: &str) -> ThreadKey {
        self.name(&["part", tenant, conversation, &address.to_lowercase()])
    }

    /// Somebody who writes. Case does not matter.
    pub fn sender(&self, tenant: &str, address: &str) -> String {
        hex(&self.name(&["sender", tenant, &address.to_lowercase()]).0)
    }

    /// A mail that carries this id: content can differ from mailbox to mailbox (links and banners are written into it),
    /// so its sender and date tell it from another mail with the same id.
    pub fn carrier(&self, tenant: &str, message_id: &str, sender: &str, date: &str) -> String {
        hex(&self.name(&["carrier", tenant, message_id, &sender.to_lowercase(), date]).0)
    }

    /// The conversation that begins with this id.
    pub fn thread(&self, tenant: &str, root: &str) -> String {
        format!("{TOKEN}{}", hex(&self.name(&["thread", tenant, root]).0))
    }

    /// Over parts that cannot run into each other.
    fn name(&self, parts: &[&str]) -> ThreadKey {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut name = [0; 16];
        name.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        ThreadKey(name)
    }
}

/// What looks like the id of a conversation in this text, in lower case: whether there is such a one, the store knows.
pub fn tokens(text: &str) -> impl Iterator<Item = String> {
    let text = text.to_ascii_lowercase();
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(found) = text.get(from..)?.find(TOKEN) {
            let at = from + found;
            from = at + TOKEN.len();
            let is_apart = |it: Option<u8>| it.is_none_or(|it| !it.is_ascii_alphanumeric());
            let digits = text.as_bytes()[from..].iter().take_while(|it| it.is_ascii_hexdigit()).count();
            let end = from + digits;
            let before = at.checked_sub(1).map(|it| text.as_bytes()[it]);
            if digits == TOKEN_DIGITS && is_apart(before) && is_apart(text.as_bytes().get(end).copied()) {
                from = end;
                return Some(text[at..end].to_owned());
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_name_is_the_same_for_the_same_secret_tenant_and_thing_only() {
        let names = ThreadNames::new(&[7; 32]);
        assert_eq!(names.mail("contoso", "a@x"), ThreadNames::new(&[7; 32]).mail("contoso", "a@x"));
        assert_ne!(names.mail("contoso", "a@x"), ThreadNames::new(&[8; 32]).mail("contoso", "a@x"));
        assert_ne!(names.mail("contoso", "a@x"), names.mail("fabrikam", "a@x"));
        assert_ne!(names.mail("contoso", "a@x"), names.mail("contoso", "A@x"), "Message-IDs know case");
        assert_ne!(names.mail("ab", "c"), names.mail("a", "bc"));
        assert_eq!(names.part("contoso", "c", "Ann@x"), names.part("contoso", "c", "ann@x"));
        assert_ne!(names.part("contoso", "c", "ann@x"), names.part("contoso", "d", "ann@x"));
        assert_eq!(names.sender("contoso", "ANN@x"), names.sender("contoso", "ann@x"));
        assert_eq!(format!("{names:?}"), "ThreadNames(…)");
    }

    #[test]
    fn the_id_of_a_conversation_is_found_as_a_token_and_fits_behind_a_plus() {
        let id = ThreadNames::new(&[7; 32]).thread("contoso", "a@x");
        assert!(id.len() <= 40, "a local part holds 64 letters");
        assert_eq!(tokens(&format!("support+{id}@contoso.com")).collect::<Vec<_>>(), [id]);
    }

    #[test]
    fn only_whole_tokens_count() {
        for (text, count) in [
            (format!("support+th_{DIGITS}@x"), 1),
            (format!("SUPPORT+TH_{}@x", DIGITS.to_uppercase()), 1),
            (format!("th_{DIGITS}.1.th_{DIGITS}"), 2),
            (format!("reply.th_{DIGITS}.2@x"), 1),
            (format!("th_th_{DIGITS}"), 1),
            (format!("th_{DIGITS}0"), 0),
            (format!("th_{DIGITS}z"), 0),
            (format!("with_{DIGITS}"), 0),
            (format!("th_{}", &DIGITS[1..]), 0),
            ("th_".to_owned(), 0),
            ("grüße+th_ä".to_owned(), 0),
            (String::new(), 0),
        ] {
            assert_eq!(tokens(&text).count(), count, "{text}");
        }
    }

    #[test]
    fn a_basis_is_read_as_it_is_written() {
        for basis in Basis::ALL {
            assert_eq!(Basis::parse(basis.as_str()), Some(basis));
            assert_eq!(serde_json::to_value(basis).unwrap(), basis.as_str());
        }
        assert_eq!(Basis::parse("subject"), None);
    }
}
