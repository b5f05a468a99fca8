//! Mail that goes round in a circle: it came through here before, or has more hops than any way is long.
//!
//! What is seen here is in the mail or known beside it; how often a correspondent writes is counted elsewhere.

use super::Verdict;
use crate::mail::beside::Beside;
use crate::mail::facts::Kind;
use crate::mail::parse::Mail;

/// The field in which a mail that was handed over whole carries its interaction's id.
pub const OWN_FIELD: &str = "X-Mailspan-Interaction-Id";

/// More Received fields than this are a circle. RFC 5321 §6.3 asks for a limit of at least 100 where mail is refused;
/// nothing is refused here, Exchange Online itself gives up at about 30 hops within, and long ways with two gateways
/// and a list on them stay under 40.
const MOST_HOPS: usize = 50;

/// The interaction ids a mail's own header carries; those of mails inside it do not count: people forward mail.
pub fn own_ids(mail: &Mail) -> Vec<&str> {
    mail.fields.all(OWN_FIELD).map(|field| field.value.trim()).filter(|it| !it.is_empty()).collect()
}

pub(super) fn look(mail: &Mail, beside: &Beside) -> Option<Verdict> {
    if let Some(reason) = &beside.came_back {
        return Verdict::of(Kind::Loop, vec![format!("came back: {reason}")]);
    }
    let hops = mail.fields.all("received").count();
    if hops >= MOST_HOPS {
        return Verdict::of(Kind::Loop, vec![format!("received: {hops} hops")]);
    }
    None
}
