//! Answers: conversations that hold together over many turns, and answers to all sorts of real mail.

use mailspan::mail::addresses::Mailbox;
use mailspan::mail::attachment::Disposition;
use mailspan::mail::compose::{Answered, File, Limits, Reply, ReplyAll, Submission, Way, check, mime, ways};
use mailspan::mail::parse::{Mail, parse};

use super::mail_sample::{files, sample};
use crate::compose::submission;

const AGENT: &str = "support@contoso.com";
const CUSTOMER: &str = "ann@example.org";

/// What `own` writes back to a mail.
fn answer(mail: &Mail, id: &str, own: &str) -> Submission {
    let reply = Reply::to(&Answered::of(mail), ReplyAll::Yes, |email| email.eq_ignore_ascii_case(own)).unwrap();
    Submission {
        id: id.into(),
        from: Mailbox { name: None, email: own.into() },
        to: reply.to,
        cc: reply.cc,
        subject: reply.subject,
        in_reply_to: reply.in_reply_to,
        references: reply.references,
        ..submission()
    }
}

#[test]
fn a_conversation_of_ten_turns_keeps_its_chain_and_its_subject() {
    let question =
        b"From: Ann <ann@example.org>\r\nTo: support@contoso.com\r\nCc: bob@example.org\r\nSubject: AW: Order 5\r\n\
                     Message-ID: <q@example.org>\r\n\r\nHello\r\n";
    let mut mail = parse(question);
    let mut chain = vec!["q@example.org".to_owned()];
    for turn in 0..10 {
        let own = if turn % 2 == 0 { AGENT } else { CUSTOMER };
        let written = answer(&mail, &format!("sub_{turn}"), own);
        assert_eq!(check(&written, &Limits::default()), Ok(()));
        mail = parse(&mime(&written));
        assert_eq!(mail.subject.as_deref(), Some("Re: Order 5"), "turn {turn}");
        assert_eq!(mail.in_reply_to, chain[chain.len() - 1..], "turn {turn}");
        assert_eq!(mail.references, chain, "turn {turn}");
        let everybody: Vec<_> = mail.to.iter().chain(&mail.cc).map(|it| it.email.as_str()).collect();
        let other = if own == AGENT { CUSTOMER } else { AGENT };
        assert_eq!(everybody, [other, "bob@example.org"], "turn {turn}");
        chain.push(mail.message_ids[0].clone());
    }
}

#[test]
fn all_sample_mail_can_be_answered_and_written_anew() {
    let Some(folder) = sample() else {
        println!("no sample mail here; MAILSPAN_MAIL_SAMPLE names a folder of it");
        return;
    };
    let mut found = Vec::new();
    files(&folder, &mut found);
    let (mut answered, mut rewritten) = (0, 0);
    for path in found {
        let raw = std::fs::read(&path).unwrap();
        let mail = parse(&raw);
        let name = path.display();
        if let Ok(reply) = Reply::to(&Answered::of(&mail), ReplyAll::Yes, |email| email == AGENT) {
            let (to, cc) = (reply.to.clone(), reply.cc.clone());
            let (references, in_reply_to) = (reply.references.clone(), reply.in_reply_to.clone());
            let written = Submission { to, cc, references, in_reply_to, subject: reply.subject, ..submission() };
            match check(&written, &Limits::default()) {
                Ok(()) => {
                    let read = parse(&mime(&written));
                    assert_eq!(
                        (&read.references, &read.in_reply_to),
                        (&reply.references, &reply.in_reply_to),
                        "{name}"
                    );
                    assert_eq!((read.to.len(), read.cc.len()), (reply.to.len(), reply.cc.len()), "{name}");
                    answered += 1;
                }
                // Addresses that no mail can go to; nothing else may be in the way.
                Err(problems) => {
                    let odd = ["to[", "cc["];
                    assert!(
                        problems
                            .iter()
                            .all(|it| odd.iter().any(|odd| it.field.starts_with(odd)) && it.field.ends_with(".email")),
                        "{name}: {problems:?}"
                    );
                }
            }
        }
        rewritten += usize::from(rewrite(&mail, &raw, &name.to_string()));
    }
    println!("{answered} answered, {rewritten} written anew");
    assert!(answered > 100 && rewritten > 100, "{answered} {rewritten}");
}

/// Writes the content of a mail as a mail of ours. Returns whether that could be.
fn rewrite(mail: &Mail, raw: &[u8], name: &str) -> bool {
    let files = mail.attachments.iter().map(|it| {
        let content = it.bytes(raw).into_owned();
        File {
            name: it.name.clone().unwrap_or_else(|| "unnamed".into()),
            kind: it.kind.clone(),
            size: content.len() as u64,
            content: content.into(),
            cid: None,
            disposition: Disposition::Attachment,
        }
    });
    let written = Submission {
        subject: mail.subject.clone().unwrap_or_default(),
        text: mail.text.as_ref().map(|it| it.value.clone()),
        html: mail.html.as_ref().map(|it| it.original.value.clone()),
        attachments: files.collect(),
        ..submission()
    };
    if check(&written, &Limits::default()).is_err() {
        return false;
    }
    let written_raw = mime(&written);
    let read = parse(&written_raw);
    let fold = |text: Option<&str>| text.unwrap_or_default().split_whitespace().collect::<String>();
    // Our own reader takes replacement characters for a wrong label.
    if !written.subject.contains(char::REPLACEMENT_CHARACTER) {
        assert_eq!(fold(read.subject.as_deref()), fold(Some(&written.subject)), "{name}");
    }
    if !written.text.as_deref().unwrap_or_default().contains("begin ") {
        let text = read.text.as_ref().map(|it| it.value.as_str());
        assert_eq!(fold(text), fold(written.text.as_deref()), "{name}");
    }
    let with_mail = written.attachments.iter().zip(ways(&written)).filter(|(_, way)| *way == Way::WithMail);
    for (file, _) in with_mail.filter(|(file, _)| file.kind == "application/pdf" || file.kind.starts_with("image/")) {
        assert!(read.attachments.iter().any(|it| it.bytes(&written_raw).as_ref() == &file.content[..]), "{name}");
    }
    true
}
