//! Every trouble doctor knows: its stable code, how bad it is, what it means, why, and what to do.
//!
//! `docs/operations.md` holds the same list; a test compares them.

mod access;
mod network;
mod public;
mod token;

pub(super) use access::*;
pub(super) use network::*;
pub(super) use public::*;
pub(super) use token::*;

use super::finding::Entry;

/// Declares troubles, and the list of them.
macro_rules! entries {
    ($list:ident: $($name:ident $code:literal $state:ident, $what:literal, $cause:literal, $cure:literal;)*) => {
        $(pub(in crate::ops::doctor) const $name: Entry =
            Entry { code: $code, state: State::$state, what: $what, cause: $cause, cure: $cure };)*
        pub(super) const $list: &[Entry] = &[$($name),*];
    };
}
use entries;

/// All of them, in the order of the steps.
pub fn all() -> Vec<&'static Entry> {
    [network::NETWORK, token::TOKEN, access::ACCESS, public::PUBLIC].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::finding::State;

    #[test]
    fn every_code_is_one_word_used_once_and_says_what_why_and_what_to_do() {
        let all = all();
        let mut codes: Vec<_> = all.iter().map(|it| it.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all.len());
        for entry in all {
            assert!(entry.code.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_'));
            assert!(matches!(entry.state, State::Warn | State::Fail), "{}", entry.code);
            for text in [entry.what, entry.cause, entry.cure] {
                assert!(text.len() > 10 && !text.ends_with('.') && !text.contains('\n'), "{}: {text}", entry.code);
            }
        }
    }
}
