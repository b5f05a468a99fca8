//! Public sample mail, where it is at hand: all of it is read, rendered and valid, and its kinds are what they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mailspan::mail::beside::Beside;
use mailspan::mail::classify::classify;
use mailspan::mail::facts::Kind;
use mailspan::mail::parse::parse;

use super::mail_interaction::event;

/// `MAILSPAN_MAIL_SAMPLE`, or a folder `shared/mail` beside one of the folders above.
pub(crate) fn sample() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("MAILSPAN_MAIL_SAMPLE") {
        return Some(named.into());
    }
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1);
    above.map(|it| it.join("shared/mail")).find(|it| it.is_dir())
}

pub(crate) fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn all_sample_mail_is_read_rendered_and_valid() {
    let Some(folder) = sample() else {
        println!("no sample mail here; MAILSPAN_MAIL_SAMPLE names a folder of it");
        return;
    };
    let mut found = Vec::new();
    files(&folder, &mut found);
    found.sort();
    assert!(!found.is_empty(), "{} holds no mail", folder.display());
    for path in found {
        let raw = std::fs::read(&path).unwrap();
        let mail = parse(&raw);
        let body = serde_json::from_slice(&event(&mail, &raw, "flow", 1 << 20, None)).unwrap();
        assert_eq!(super::mail_schema::violations(&body), Vec::<String>::new(), "{}", path.display());
        assert!(!mail.problems.contains(&"the parser refused it"), "{}", path.display());
        println!(
            "{}: from {} to {} text {} html {} attachments {} {:?}",
            path.display(),
            mail.from.len(),
            mail.to.len(),
            mail.text.as_ref().map_or(0, |it| it.value.len()),
            mail.html.as_ref().map_or(0, |it| it.original.value.len()),
            mail.attachments.len(),
            mail.problems
        );
    }
}

/// Which system a bounce came from, or which chapter ordinary mail stands in: the folder, and the name before its number.
fn group(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match (folder.as_str(), stem.rsplit_once('-')) {
        ("bounces", Some((system, _))) => system.to_owned(),
        _ => folder,
    }
}

/// Ordinary mail that really is a report of a mail system.
fn is_report(path: &Path) -> bool {
    group(path) == "multipart_report_emails" || path.ends_with("raw_email_with_mimepart_without_content_type.eml")
}

#[test]
fn sample_bounces_are_known_as_such_and_ordinary_mail_is_not() {
    let Some(folder) = sample() else {
        println!("no sample mail here; MAILSPAN_MAIL_SAMPLE names a folder of it");
        return;
    };
    let mut found = Vec::new();
    files(&folder, &mut found);
    found.sort();
    let mut kinds: BTreeMap<String, BTreeMap<&'static str, usize>> = BTreeMap::new();
    let (mut bounces, mut missed, mut with_status, mut with_recipient, mut with_id) = (0, Vec::new(), 0, 0, 0);
    for path in found.iter().filter(|it| !it.ends_with("LICENSE") && !it.ends_with("README.md")) {
        let raw = std::fs::read(path).unwrap();
        let understood = classify(&parse(&raw), &raw, &Beside::default());
        let (group, kind) = (group(path), understood.kind);
        *kinds.entry(group.clone()).or_default().entry(kind.as_str()).or_default() += 1;
        println!("{} {group} {} {:?} {:?}", path.display(), kind.as_str(), understood.reasons, understood.dsn);
        assert!(!understood.reasons.is_empty(), "{}", path.display());
        assert_eq!(kind == Kind::Dsn, understood.dsn.is_some(), "{}", path.display());
        let is_bounce = ["lhost-", "rhost-", "rfc3464"].iter().any(|it| group.starts_with(it));
        match understood.dsn {
            Some(dsn) if is_bounce => {
                with_status += usize::from(dsn.status.is_some());
                with_recipient += usize::from(dsn.final_recipient.is_some());
                with_id += usize::from(dsn.original_message_id.is_some());
            }
            Some(_) => assert!(is_report(path), "{} is no bounce", path.display()),
            None if is_bounce => missed.push(path),
            None => {}
        }
        bounces += usize::from(is_bounce);
    }
    for (group, kinds) in &kinds {
        println!("{group:28} {}", kinds.iter().map(|(kind, n)| format!("{kind} {n}")).collect::<Vec<_>>().join(" · "));
    }
    println!(
        "{bounces} bounces: status {with_status}, recipient {with_recipient}, original {with_id}; missed {missed:?}"
    );
    assert!(bounces > 0, "{} holds no bounces", folder.display());
    let at_least = |share: usize, of: usize| of * 100 >= share * bounces;
    assert!(at_least(98, bounces - missed.len()), "{missed:?}");
    assert!(at_least(95, with_recipient), "{with_recipient} of {bounces}");
    assert!(at_least(75, with_status), "{with_status} of {bounces}");
    assert!(at_least(75, with_id), "{with_id} of {bounces}");
}
