//! The manual's list of what doctor says is the program's own.

use std::path::Path;

use mailspan::ops::doctor::{State, all};

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[test]
fn the_manual_lists_every_code_with_its_meaning_and_cure() {
    let manual = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let (_, rest) = manual.split_once("<!-- doctor:begin -->").expect("the list begins");
    let (list, _) = rest.split_once("<!-- doctor:end -->").expect("the list ends");
    let rows: Vec<&str> = list.lines().filter(|it| it.starts_with("| `")).collect();
    let expected: Vec<String> = all()
        .into_iter()
        .map(|it| {
            let state = if it.state == State::Fail { "fail" } else { "warn" };
            format!("| `{}` | {state} | {} | {} | {} |", it.code, cell(it.what), cell(it.cause), cell(it.cure))
        })
        .collect();
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row, expected);
    }
    assert_eq!(rows.len(), expected.len());
}
