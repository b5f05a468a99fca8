//! The house as `docs/architecture.md` draws it: imports go down, never up or sideways, and a file is one idea.

use std::path::{Path, PathBuf};

/// A file is one idea; beyond this many lines it is several.
const LONGEST: usize = 400;

/// Floors from the ground up. A room may import from lower floors, and from itself.
const FLOORS: [&[&str]; 5] = [
    &["model", "secrets", "egress", "memory"],
    &["graph", "identity", "destinations", "mail", "store"],
    &["queue"],
    &["inbound", "outbound", "delivery", "ops"],
    &["telemetry", "config", "http", "app", "demo", "cli"],
];

/// The roof may know everything; on the ground, secrets and egress stand on the model.
const SIDEWAYS: [(&str, &str); 2] = [("secrets", "model"), ("egress", "model")];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn allowed(from: &str, to: &str) -> bool {
    match (floor(from), floor(to)) {
        _ if from == to => true,
        (Some(from), Some(_)) if from == FLOORS.len() - 1 => true,
        (Some(upper), Some(lower)) => lower < upper || SIDEWAYS.contains(&(from, to)),
        _ => false,
    }
}

/// Rooms named after `crate::`, also within braces: `use crate::{config::Config, store}`.
fn imports(source: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            rooms.push(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (index, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    rooms.push(word(&list[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_go_down_never_up_or_sideways() {
    let mut wrong = Vec::new();
    for path in files(&root().join("src")) {
        let room = room_of(&path);
        if ["lib", "main"].contains(&room.as_str()) {
            continue;
        }
        assert!(
            floor(&room).is_some(),
            "{room} stands on no floor: give it one in this test and in docs/architecture.md"
        );
        for import in imports(&std::fs::read_to_string(&path).unwrap()) {
            if !allowed(&room, &import) {
                wrong.push(format!("{}: {room} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_planted_wrong_import_is_caught() {
    for (room, source, caught) in [
        ("graph", "use crate::store::Store;", true),
        ("model", "use crate::graph::Graph;", true),
        ("inbound", "use crate::delivery::Deliver;", true),
        ("queue", "use crate::{model::work, inbound};", true),
        ("store", "use crate::model::work::Job;", false),
        ("inbound", "use crate::{graph::Graph, model::{ids, work}};", false),
        ("app", "use crate::http;", false),
    ] {
        let found = imports(source).iter().any(|import| !allowed(room, import));
        assert_eq!(found, caught, "{room}: {source}");
    }
}

#[test]
fn a_file_is_one_idea() {
    let folders = ["src", "tests", "benches"].map(|it| root().join(it));
    let long: Vec<String> = folders
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|path| !path.components().any(|it| it.as_os_str() == "target"))
        .map(|path| (std::fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, path)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn names_say_what_a_file_does() {
    const EMPTY: [&str; 7] = ["manager", "service", "util", "helper", "common", "data", "process"];
    let vague: Vec<_> = files(&root().join("src"))
        .into_iter()
        .filter(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            EMPTY.iter().any(|word| stem.contains(word))
        })
        .collect();
    assert!(vague.is_empty(), "{vague:?}");
}
