//! What connects a mail with others: its ids, those it answers, a token of ours, its conversation in Exchange.
//!
//! The subject never does. Here nothing is decided; the store knows which of these it has seen before.

use super::header::Fields;
use super::parse::Mail;
use crate::model::thread::{Basis, Clues, ThreadNames, tokens};

/// Of a longer chain of references the first and the last of them count.
const MOST_REFERENCES: usize = 50;
/// In-Reply-To names one mail; a few is what odd mailers write.
const MOST_ANSWERED: usize = 8;
/// Of many people those named first count.
const MOST_PRESENT: usize = 20;
const MOST_TOKENS: usize = 4;
/// An id without `@` must be at least this long: shorter ones are words.
const LONG_ENOUGH: usize = 20;
/// A Thread-Index of this many bytes is that of a first mail; every answer adds five ([MS-OXOMSG] 2.2.1.3).
const FIRST_THREAD_INDEX: usize = 22;

/// What is known around the mail.
pub struct Around<'a> {
    /// Makes the names.
    pub names: &'a ThreadNames,
    /// The tenant: conversations do not cross it.
    pub tenant: &'a str,
    /// The mail's key.
    pub message_key: &'a str,
    /// The conversation as Graph gives it. Exchange also puts strangers into one, by their subject, so it counts only for
    /// a reply, and only for somebody who took part before.
    pub conversation: Option<&'a str>,
    /// Whether an address is one of the watched mailboxes: everybody's conversation has them in it.
    pub is_ours: &'a dyn Fn(&str) -> bool,
}

/// Everything that may connect this mail with others.
pub fn clues(mail: &Mail, around: &Around<'_>) -> Clues {
    let Around { names, tenant, .. } = *around;
    let named = |id: &&str| names.mail(tenant, id);
    let own = mail.message_ids.iter().map(String::as_str).find(|it| is_id(it));
    let answered = named_by(mail, "in-reply-to", &mail.in_reply_to, own);
    let in_reply_to = &answered[..answered.len().min(MOST_ANSWERED)];
    let references = ends(named_by(mail, "references", &mail.references, own));
    let (fresh, root) = match (references.first(), in_reply_to.first()) {
        (Some(id), _) => (*id, Basis::References),
        (None, Some(id)) => (*id, Basis::InReplyTo),
        (None, None) => (own.unwrap_or(around.message_key), Basis::None),
    };
    let is_reply = !in_reply_to.is_empty() || !references.is_empty() || answers_by_index(&mail.fields);
    let part = |address: &str| around.conversation.map(|it| names.part(tenant, it, address));
    let counts = |address: &&str| !address.is_empty() && !(around.is_ours)(address);
    let senders = || mail.from.iter().map(|it| it.email.as_str()).filter(counts);
    let others = mail.to.iter().chain(&mail.cc).map(|it| it.email.as_str()).filter(counts);
    Clues {
        own: own.as_ref().map(named),
        carrier: carrier(mail, around, own),
        in_reply_to: in_reply_to.iter().map(named).collect(),
        references: references.iter().rev().map(named).collect(),
        tokens: tokens_in(mail),
        present: senders().chain(others).take(MOST_PRESENT).filter_map(part).collect(),
        answering: senders().take(MOST_PRESENT).filter_map(part).filter(|_| is_reply).collect(),
        fresh: names.thread(tenant, fresh),
        root,
        alone: names.thread(tenant, around.message_key),
    }
}

/// Everything that may connect a mail of ours with others: its own id, and the ids its header names. Its own id stands
/// among those it names, for Exchange may send it under another date: whoever brings that id brings this mail.
pub fn clues_of_ours(names: &ThreadNames, tenant: &str, id: &str, header: Ours<'_>) -> Clues {
    let own = Some(header.message_id).filter(|it| is_id(it));
    let is_other = |it: &&str| is_id(it) && Some(*it) != own;
    let answered: Vec<&str> = header.in_reply_to.iter().map(String::as_str).filter(is_other).collect();
    let references = ends(header.references.iter().map(String::as_str).filter(is_other).collect());
    let root = references.first().or(answered.first()).copied().or(own).unwrap_or(id);
    let named = |it: &&str| names.mail(tenant, it);
    let basis = match (references.is_empty(), answered.is_empty()) {
        (false, _) => Basis::References,
        (true, false) => Basis::InReplyTo,
        (true, true) => Basis::None,
    };
    Clues {
        in_reply_to: answered.iter().take(MOST_ANSWERED).map(named).collect(),
        references: own.iter().chain(references.iter().rev()).map(named).collect(),
        fresh: names.thread(tenant, root),
        root: basis,
        alone: names.thread(tenant, id),
        ..Clues::default()
    }
}

/// What connects a mail of ours with others once Exchange has sent it: its Message-ID there, and its conversation there for
/// those it went to. `is_ours` as in [`Around`].
pub fn clues_of_sent(
    names: &ThreadNames,
    tenant: &str,
    id: &str,
    (message_id, conversation): (Option<&str>, Option<&str>),
    recipients: &[&str],
    is_ours: &dyn Fn(&str) -> bool,
) -> Clues {
    let part = |address: &str| conversation.map(|it| names.part(tenant, it, address));
    let people = recipients.iter().filter(|it| !is_ours(it)).take(MOST_PRESENT);
    Clues {
        references: message_id.filter(|it| is_id(it)).map(|it| names.mail(tenant, it)).into_iter().collect(),
        present: people.filter_map(|it| part(it)).collect(),
        fresh: names.thread(tenant, id),
        alone: names.thread(tenant, id),
        ..Clues::default()
    }
}

/// What the header of a mail of ours names, without `<` and `>`.
#[derive(Debug, Clone, Copy)]
pub struct Ours<'a> {
    /// Message-ID.
    pub message_id: &'a str,
    /// In-Reply-To.
    pub in_reply_to: &'a [String],
    /// References, oldest first.
    pub references: &'a [String],
}

/// A mail without a date is told by its content.
fn carrier(mail: &Mail, around: &Around<'_>, own: Option<&str>) -> String {
    let sender = mail.from.first().map(|it| it.email.as_str()).unwrap_or_default();
    match (own, &mail.sent_at) {
        (Some(own), Some(date)) => around.names.carrier(around.tenant, own, sender, date),
        _ => around.message_key.to_owned(),
    }
}

/// The ids a field names, without the mail's own. Old mailers write words into it (`Your message of Friday`), and some
/// systems the address of whom they answer: neither is the id of a mail.
fn named_by<'a>(mail: &Mail, field: &str, ids: &'a [String], own: Option<&str>) -> Vec<&'a str> {
    let is_marked = mail.fields.all(field).any(|it| it.value.contains('<'));
    if !is_marked && ids.len() > 1 && field == "in-reply-to" {
        return Vec::new();
    }
    let people = || mail.from.iter().chain(&mail.to).chain(&mail.cc).chain(&mail.reply_to);
    let is_person = |id: &str| people().take(MOST_PRESENT).any(|it| it.email.eq_ignore_ascii_case(id));
    ids.iter().map(String::as_str).filter(|it| is_id(it) && Some(*it) != own && !is_person(it)).collect()
}

fn is_id(id: &str) -> bool {
    match id.split_once('@') {
        Some((left, right)) => !left.is_empty() && !right.is_empty(),
        None => id.len() >= LONG_ENOUGH,
    }
}

/// The first, which is the root, and the last ones, which are near.
fn ends(mut references: Vec<&str>) -> Vec<&str> {
    if references.len() > MOST_REFERENCES {
        references.drain(1..=references.len() - MOST_REFERENCES);
    }
    references
}

/// `support+th_…@contoso.com`, or an id of a mail that was sent with one.
fn tokens_in(mail: &Mail) -> Vec<String> {
    let people = mail.to.iter().chain(&mail.cc).take(MOST_PRESENT).map(|it| it.email.as_str());
    let tags = people.filter_map(|it| it.split('@').next()?.split_once('+').map(|(_, tag)| tag));
    let ids = mail.in_reply_to.iter().take(MOST_ANSWERED).chain(mail.references.iter().rev().take(MOST_REFERENCES));
    let ids = ids.filter_map(|it| it.split('@').next());
    let mut found: Vec<String> = Vec::new();
    for token in tags.chain(ids).flat_map(tokens) {
        if !found.contains(&token) {
            found.push(token);
        }
        if found.len() == MOST_TOKENS {
            break;
        }
    }
    found
}

/// Whether Outlook's own index of the conversation says that this is no first mail.
fn answers_by_index(fields: &Fields) -> bool {
    use base64::Engine;
    let index = fields.value("thread-index").unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD.decode(index.replace([' ', '\t'], ""));
    bytes.is_ok_and(|it| it.len() > FIRST_THREAD_INDEX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::parse::parse;
    use crate::model::thread::ThreadKey;

    const OURS: &str = "support@contoso.com";
    const TOKEN: &str = "th_0123456789abcdef0123456789abcdef";

    fn names() -> ThreadNames {
        ThreadNames::new(&[7; 32])
    }

    fn of(head: &str) -> Clues {
        let is_ours = |address: &str| address.eq_ignore_ascii_case(OURS);
        let around = Around {
            names: &names(),
            tenant: "contoso",
            message_key: "mk_1",
            conversation: Some("conversation"),
            is_ours: &is_ours,
        };
        clues(&parse(format!("{head}\r\n\r\nText\r\n").as_bytes()), &around)
    }

    fn ids(ids: &[&str]) -> Vec<ThreadKey> {
        ids.iter().map(|it| names().mail("contoso", it)).collect()
    }

    #[test]
    fn only_ids_of_mails_are_taken_for_ids() {
        for (head, expected) in [
            ("In-Reply-To: <a@x>", &["a@x"][..]),
            ("In-Reply-To: a@x", &["a@x"]),
            ("In-Reply-To: <a@x> <b@x>", &["a@x", "b@x"]),
            ("In-Reply-To: Your message of \"Fri, 20 Nov\" <a@x>", &["a@x"]),
            ("In-Reply-To: Your message of Friday to bob@x", &[]),
            ("In-Reply-To: yes", &[]),
            ("In-Reply-To: <ABCDEFGHIJKLMNOPQRST>", &["ABCDEFGHIJKLMNOPQRST"]),
            ("In-Reply-To: <@x> <a@>", &[]),
            ("From: bob@x\r\nIn-Reply-To: <Bob@x>", &[]),
            ("Message-ID: <a@x>\r\nIn-Reply-To: <a@x>", &[]),
            ("In-Reply-To:", &[]),
            ("Subject: Re: a@x", &[]),
        ] {
            assert_eq!(of(head).in_reply_to, ids(expected), "{head}");
        }
    }

    #[test]
    fn a_conversation_begins_with_the_oldest_id_that_is_named() {
        let names = names();
        for (head, root, basis) in [
            ("Message-ID: <c@x>\r\nIn-Reply-To: <b@x>\r\nReferences: <a@x> <b@x>", "a@x", Basis::References),
            ("Message-ID: <c@x>\r\nIn-Reply-To: <b@x>", "b@x", Basis::InReplyTo),
            ("Message-ID: <c@x>", "c@x", Basis::None),
            ("Message-ID: <word>", "mk_1", Basis::None),
            ("Subject: none", "mk_1", Basis::None),
        ] {
            let clues = of(head);
            assert_eq!((clues.fresh, clues.root), (names.thread("contoso", root), basis), "{head}");
            assert_eq!(clues.alone, names.thread("contoso", "mk_1"));
        }
    }

    #[test]
    fn the_same_mail_carries_its_id_whatever_was_written_into_it_on_the_way() {
        let carrier = |head: &str| of(&format!("Message-ID: <a@x>\r\n{head}")).carrier;
        let first = carrier("From: Ann <Ann@x>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0100");
        assert_eq!(carrier("From: ann@X\r\nDate: Sat, 21 Nov 2026 10:00:00 +0100\r\nSubject: [EXTERNAL] Hello"), first);
        assert_ne!(carrier("From: ann@x\r\nDate: Sat, 21 Nov 2026 10:00:01 +0100"), first);
        assert_ne!(carrier("From: bob@x\r\nDate: Sat, 21 Nov 2026 10:00:00 +0100"), first);
        assert_eq!(carrier("From: ann@x"), "mk_1", "without a date its content tells it");
    }

    #[test]
    fn references_count_from_the_last_and_the_first_of_many_is_kept() {
        assert_eq!(of("References: <a@x>\r\n <b@x>\t<c@x>").references, ids(&["c@x", "b@x", "a@x"]));
        let many: Vec<String> = (0..500).map(|n| format!("{n}@x")).collect();
        let clues = of(&format!("References: <{}>", many.join(">\r\n <")));
        assert_eq!(clues.references.len(), MOST_REFERENCES);
        assert_eq!(clues.references[..1], ids(&["499@x"]));
        assert_eq!(clues.references[MOST_REFERENCES - 1..], ids(&["0@x"]));
        assert_eq!(clues.fresh, names().thread("contoso", "0@x"));
    }

    #[test]
    fn a_mail_of_ours_names_itself_and_all_it_answers() {
        let (names, all) = (names(), |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        let of = |message_id, in_reply_to: &[&str], references: &[&str]| {
            let (in_reply_to, references) = (all(in_reply_to), all(references));
            clues_of_ours(
                &names,
                "contoso",
                "sub_1",
                Ours { message_id, in_reply_to: &in_reply_to, references: &references },
            )
        };
        let answer = of("sub_1@x", &["b@x"], &["a@x", "b@x"]);
        assert_eq!((&answer.in_reply_to, &answer.references), (&ids(&["b@x"]), &ids(&["sub_1@x", "b@x", "a@x"])));
        assert_eq!((answer.fresh.as_str(), answer.root), (names.thread("contoso", "a@x").as_str(), Basis::References));
        assert!(answer.own.is_none(), "whoever brings its id brings this mail, under whichever date");
        let first = of("sub_1@x", &[], &[]);
        assert_eq!((first.references, first.fresh), (ids(&["sub_1@x"]), names.thread("contoso", "sub_1@x")));
        let odd = of("word", &["sub_1"], &["yes", "word"]);
        assert!(odd.references.is_empty() && odd.in_reply_to.is_empty());
        assert_eq!(odd.fresh, names.thread("contoso", "sub_1"));
    }

    #[test]
    fn a_token_stands_in_an_address_or_in_an_id() {
        for (head, found) in [
            (format!("To: support+{TOKEN}@contoso.com"), true),
            (format!("To: a@x, Help <HELP+{}@contoso.com>", TOKEN.to_uppercase()), true),
            (format!("Cc: support+case-7+{TOKEN}@contoso.com"), true),
            (format!("In-Reply-To: <{TOKEN}.17@bridge.example>"), true),
            (format!("References: <a@x> <1.{TOKEN}@bridge.example> <b@x>"), true),
            (format!("To: {TOKEN}@contoso.com"), false),
            (format!("From: a+{TOKEN}@contoso.com"), false),
            (format!("In-Reply-To: <a@{TOKEN}>"), false),
            (format!("Subject: {TOKEN}"), false),
        ] {
            assert_eq!(of(&head).tokens, if found { vec![TOKEN.to_owned()] } else { Vec::new() }, "{head}");
        }
    }

    #[test]
    fn a_conversation_of_exchange_counts_for_a_reply_and_never_through_our_own_address() {
        let part = |address| names().part("contoso", "conversation", address);
        let people = format!("From: Ann <Ann@x>\r\nTo: {OURS}, bob@x\r\nCc: cy@x");
        let first = of(&people);
        assert_eq!(first.present, ["ann@x", "bob@x", "cy@x"].map(part));
        assert!(first.answering.is_empty());
        for reply in ["In-Reply-To: <a@x>", "References: <a@x>", &format!("Thread-Index: {}", index(27))] {
            assert_eq!(of(&format!("{people}\r\n{reply}")).answering, [part("ann@x")], "{reply}");
        }
        for first in [&format!("Thread-Index: {}", index(22)), "Thread-Index: ???", "Subject: Re: Hello"] {
            assert!(of(&format!("{people}\r\n{first}")).answering.is_empty(), "{first}");
        }
        let ours = of(&format!("From: {OURS}\r\nIn-Reply-To: <a@x>"));
        assert!(ours.answering.is_empty() && ours.present.is_empty());
    }

    fn index(bytes: usize) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(vec![1; bytes])
    }

    #[test]
    fn without_a_conversation_of_exchange_nobody_takes_part_in_one() {
        let around =
            Around { names: &names(), tenant: "contoso", message_key: "mk_1", conversation: None, is_ours: &|_| false };
        let found = clues(&parse(b"From: a@x\r\nIn-Reply-To: <b@x>\r\n\r\n"), &around);
        assert!(found.present.is_empty() && found.answering.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_in_the_header_the_clues_are_few(head in "(In-Reply-To|References|To|From|Thread-Index|Message-ID): [ -~ä\t]{0,200}(\r\n [<>@a-z+_0-9 ]{0,300}){0,8}") {
            let clues = of(&head);
            proptest::prop_assert!(clues.in_reply_to.len() <= MOST_ANSWERED && clues.references.len() <= MOST_REFERENCES);
            proptest::prop_assert!(clues.present.len() <= MOST_PRESENT && clues.tokens.len() <= MOST_TOKENS);
            proptest::prop_assert!(tokens(&clues.fresh).count() == 1);
        }
    }
}
