//! Public sample mail, where it is at hand: all of it is read, rendered and valid.

use std::path::{Path, PathBuf};

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
