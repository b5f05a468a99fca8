//! Every link of the documents leads somewhere: to a file that is there, and to a heading that it has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::docs_pages::{pages, root};

/// What is wrong with a link of the page `here`; `None` where it leads somewhere.
fn trouble(target: &str, here: &Path, file: &Path, anchors: &BTreeMap<PathBuf, Vec<String>>) -> Option<String> {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let file = if path.is_empty() { here } else { file };
    let Ok(file) = std::fs::canonicalize(file) else { return Some(format!("{target}: there is no such file")) };
    let is_known = anchors.get(&file).is_some_and(|it| it.iter().any(|it| Some(it.as_str()) == anchor));
    (anchor.is_some() && !is_known).then(|| format!("{target}: no heading has this anchor"))
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<PathBuf, Vec<String>> =
        pages.iter().map(|it| (std::fs::canonicalize(root().join(&it.path)).unwrap(), it.anchors())).collect();
    let (mut wrong, mut followed) = (Vec::new(), 0);
    for page in &pages {
        let here = std::fs::canonicalize(root().join(&page.path)).unwrap();
        for (line, target) in page.links() {
            if target.starts_with("https://") {
                continue;
            }
            followed += 1;
            let file = page.beside(target.split('#').next().unwrap_or_default());
            wrong.extend(trouble(&target, &here, &file, &anchors).map(|why| format!("{}: {why}", page.at(line))));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(followed > 150, "{followed} links");
}

#[test]
fn a_broken_link_is_noticed() {
    let here = std::fs::canonicalize(root().join("README.md")).unwrap();
    let anchors = BTreeMap::from([(here.clone(), vec!["there".to_owned()])]);
    assert_eq!(trouble("#there", &here, &here, &anchors), None);
    assert_eq!(trouble("README.md", &here, &here, &anchors), None);
    for wrong in ["#gone", "README.md#gone", "docs/gone.md"] {
        assert!(trouble(wrong, &here, &root().join(wrong.split('#').next().unwrap()), &anchors).is_some(), "{wrong}");
    }
}

#[test]
fn every_document_is_reached_from_the_front_page() {
    let pages = pages();
    let mut reached = vec![PathBuf::from("README.md")];
    let mut next = 0;
    while let Some(path) = reached.get(next).cloned() {
        next += 1;
        let Some(page) = pages.iter().find(|it| it.path == path) else { continue };
        for (_, target) in page.links() {
            let Ok(file) = std::fs::canonicalize(page.beside(target.split('#').next().unwrap_or_default())) else {
                continue;
            };
            let Ok(file) = file.strip_prefix(std::fs::canonicalize(root()).unwrap()).map(PathBuf::from) else {
                continue;
            };
            if !reached.contains(&file) {
                reached.push(file);
            }
        }
    }
    let lost: Vec<_> = pages.iter().filter(|it| !reached.contains(&it.path)).map(|it| &it.path).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}
