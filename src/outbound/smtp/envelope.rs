//! The envelope of a mail that is being handed in, and the addresses it may hold.

use std::borrow::Cow;

use smtp_proto::{
    MAIL_BODY_BINARYMIME, MAIL_BY_NOTIFY, MAIL_BY_RETURN, MAIL_BY_TRACE, MAIL_REQUIRETLS, MailFrom, RcptTo,
};

use super::reply::{Reply, too_large};
use super::session::Terms;
use crate::mail::compose::ascii;
use crate::model::address::Address;

/// A mail that is being handed in.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// `None`: the empty one, of automatic mail.
    pub(super) sender: Option<Address>,
    pub(super) recipients: Vec<Address>,
    /// How long the mail will be, as the client says; 0: it does not.
    pub(super) declared: u64,
    /// What came of the content by BDAT.
    pub(super) content: Vec<u8>,
    /// Whether content has begun to come by BDAT.
    pub(super) is_chunked: bool,
    /// What is said at the end of each further piece of content, none of which is kept.
    pub(super) refused: Option<Reply>,
}

impl Envelope {
    pub(super) fn has_content(&self) -> bool {
        self.is_chunked
    }

    pub(super) fn add(&mut self, recipient: Address, most: usize) -> Result<(), Reply> {
        if self.recipients.contains(&recipient) {
            return Ok(());
        }
        if self.recipients.len() >= most {
            let text = format!("a mail may have {most} recipients: send the others another one");
            return Err(Reply::new(452, "4.5.3", text));
        }
        self.recipients.push(recipient);
        Ok(())
    }

    /// Keeps no content any more.
    pub(super) fn lose(&mut self, reply: Reply) {
        self.content = Vec::new();
        self.refused.get_or_insert(reply);
    }
}

/// What MAIL names. Parameters that nobody offered and that would change what happens are refused; those of RFC 3461
/// (DSN) are let pass.
pub(super) fn sender(from: &MailFrom<Cow<'_, str>>, terms: &Terms) -> Result<Option<Address>, Reply> {
    let unknown = MAIL_BODY_BINARYMIME | MAIL_REQUIRETLS | MAIL_BY_NOTIFY | MAIL_BY_RETURN | MAIL_BY_TRACE;
    if from.flags & unknown != 0 || from.hold_for > 0 || from.hold_until > 0 {
        return Err(Reply::new(555, "5.5.4", "a parameter is not offered here"));
    }
    if u64::try_from(from.size).unwrap_or(u64::MAX) > terms.max_size {
        return Err(too_large(terms.max_size));
    }
    if from.address.is_empty() {
        return Ok(None);
    }
    address(&from.address, "5.1.7").map(Some)
}

/// Whom RCPT names.
pub(super) fn recipient(to: &RcptTo<Cow<'_, str>>) -> Result<Address, Reply> {
    address(&to.address, "5.1.3")
}

fn address(text: &str, enhanced: &'static str) -> Result<Address, Reply> {
    // An international domain goes as the mail system knows it; a name before the @ has no such form (RFC 6531).
    let text = ascii(text);
    if !text.is_ascii() {
        let why = "letters outside ASCII before the @, or a domain that is none: Graph cannot carry it";
        return Err(Reply::new(553, "5.6.7", why));
    }
    Address::parse(&text).map_err(|_| Reply::new(553, enhanced, "this is not an address that can be written to"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_the_mail_system_knows_them() {
        for (written, read) in [
            ("Ann@Example.org", Ok("ann@example.org")),
            ("ann@bücher.example", Ok("ann@xn--bcher-kva.example")),
            ("grüße@example.org", Err("553 5.6.7 ")),
            ("", Err("553 5.1.3 ")),
            ("a b@example.org", Err("553 5.1.3 ")),
        ] {
            let to = RcptTo { address: Cow::Borrowed(written), ..RcptTo::default() };
            match (recipient(&to), read) {
                (Ok(address), Ok(read)) => assert_eq!(address.as_str(), read),
                (Err(reply), Err(begins)) => assert!(reply.written().starts_with(begins), "{written}: {reply:?}"),
                (got, _) => panic!("{written}: {got:?}"),
            }
        }
    }
}
