//! A mail that is larger than a draft may be: its files leave it, and are attached to the draft one by one.
//!
//! Those that no text shows go first and the largest before the smaller, so that as few as possible travel apart.

use std::collections::HashSet;

use bytes::Bytes;

use super::parts::{Building, Node, is_protected, with_line_ends};
use crate::mail::attachment::{self, Disposition};
use crate::mail::compose::check::Problem;
use crate::mail::compose::submission::File;
use crate::mail::html;
use crate::mail::structure::Part;

/// The mail in the room there is, and the files that leave it.
pub(super) fn fit<'a>(
    root: Node<'a>,
    building: &Building<'a, '_>,
    room: u64,
) -> Result<(Node<'a>, Vec<File>), Problem> {
    let mut length = root.len();
    if length <= room {
        return Ok((root, Vec::new()));
    }
    let parts = &building.structure.parts;
    let referenced = shown_by_html(building);
    let mut leaves = Vec::new();
    root.leaves(&mut leaves);
    let is_shown = |part: usize| parts[part].cid.as_ref().is_some_and(|cid| referenced.contains(cid));
    leaves.sort_by_key(|(part, length)| (is_shown(*part), std::cmp::Reverse(*length), *part));
    let mut leaving = Vec::new();
    for (part, freed) in leaves {
        if length <= room {
            break;
        }
        length = length.saturating_sub(freed);
        leaving.push(part);
    }
    leaving.sort_unstable();
    let root = root.without(&leaving).unwrap_or_else(Node::empty);
    if root.len() > room {
        return Err(too_large(building, root.len(), room));
    }
    let files = leaving.iter().map(|&part| file(&parts[part], building, &referenced)).collect();
    Ok((root, files))
}

fn too_large(building: &Building<'_, '_>, length: u64, room: u64) -> Problem {
    let sentence = match () {
        () if building.structure.parts.iter().any(is_protected) => format!(
            "is signed or encrypted, so that nothing of it can be taken apart, and is {length} bytes long where Graph \
             takes {room}: send its files unsigned, or as links"
        ),
        () if !building.structure.problems.is_empty() => format!(
            "is {length} bytes long where Graph takes {room}, and its parts cannot all be told apart ({}): send files \
             as attachments of their own",
            building.structure.problems.join(", ")
        ),
        () => format!("has a text of {length} bytes, and Graph takes {room}: attach it as a file"),
    };
    Problem::new("mail", sentence)
}

/// The content ids the HTML refers to.
fn shown_by_html(building: &Building<'_, '_>) -> HashSet<String> {
    let parts = building.structure.chosen.html.iter().filter_map(|&it| building.structure.parts.get(it));
    let texts = parts.filter(|it| it.kind() == "text/html").map(|it| it.decoded(building.raw));
    texts.flat_map(|text| html::content_ids(&String::from_utf8_lossy(&text))).collect()
}

fn file(part: &Part, building: &Building<'_, '_>, referenced: &HashSet<String>) -> File {
    let raw = building.raw;
    let content: Bytes = match attachment::is_mail(part) {
        true => with_line_ends(&part.decoded(raw)).into_owned().into(),
        false => part.decoded(raw).into_owned().into(),
    };
    let parent = part.parent.map_or("", |it| building.structure.parts[it].kind());
    let is_shown = attachment::disposition(part, parent, referenced) == Disposition::Inline && part.cid.is_some();
    File {
        name: name(part, raw),
        kind: part.kind().to_owned(),
        size: content.len() as u64,
        content,
        cid: part.cid.clone(),
        disposition: if is_shown { Disposition::Inline } else { Disposition::Attachment },
    }
}

/// Graph attaches nothing without a name.
fn name(part: &Part, raw: &[u8]) -> String {
    let extension = match part.kind() {
        "text/plain" => "txt",
        "text/html" => "html",
        "text/calendar" => "ics",
        "text/csv" => "csv",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/gif" => "gif",
        "image/svg+xml" => "svg",
        "application/pdf" => "pdf",
        "application/zip" => "zip",
        _ => "bin",
    };
    let is_mail = attachment::is_mail(part);
    let name = part.name.clone().or_else(|| is_mail.then(|| attachment::name_of_message(part, raw)));
    name.unwrap_or_else(|| format!("attachment-{}.{extension}", part.id))
}
