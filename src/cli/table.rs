//! Answers on the terminal: tables with columns as wide as they need to be, and JSON for programs.

use std::io::{self, Write as _};

use serde_json::Value;

/// The width a cell is cut to, except in the last column.
const WIDEST: usize = 48;

/// Prints JSON. `Err`: nobody reads it any more.
pub(super) fn json(value: &Value) -> io::Result<()> {
    writeln!(io::stdout(), "{value:#}")
}

/// Prints rows under their heads.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    io::stdout().write_all(lines(heads, rows).as_bytes())
}

/// Prints a sentence.
pub(super) fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Prints names and values, one a line.
pub(super) fn facts(facts: &[(&str, String)]) -> io::Result<()> {
    let wide = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:wide$}  {value}")?;
    }
    Ok(())
}

/// A value of an answer as text; null is a dash.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn lines<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let cut = |column: usize, cell: &str| -> String {
        let most = if column + 1 == N { usize::MAX } else { WIDEST };
        match cell.char_indices().nth(most) {
            Some((end, _)) => format!("{}…", &cell[..cell[..end].char_indices().last().map_or(0, |it| it.0)]),
            None => cell.to_owned(),
        }
    };
    let cells: Vec<[String; N]> =
        rows.iter().map(|row| std::array::from_fn(|column| cut(column, &row[column]))).collect();
    let wide: [usize; N] = std::array::from_fn(|column| {
        cells.iter().map(|row| row[column].chars().count()).chain([heads[column].len()]).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in std::iter::once(&heads.map(str::to_owned)).chain(&cells) {
        let line: Vec<String> = row.iter().zip(wide).map(|(cell, wide)| format!("{cell:wide$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_no_wider_than_they_may_be() {
        let rows = [["a".to_owned(), "bb".to_owned()], ["é".repeat(60), "c".repeat(60)]];
        let shown = lines(["ONE", "TWO"], &rows);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], format!("ONE{}TWO", " ".repeat(47)));
        assert_eq!(lines[1], format!("a{}bb", " ".repeat(49)));
        assert_eq!(lines[2], format!("{}…  {}", "é".repeat(47), "c".repeat(60)));
    }

    #[test]
    fn null_is_a_dash() {
        assert_eq!([text(&Value::Null), text(&Value::from("a")), text(&Value::from(3))], ["-", "a", "3"]);
    }
}
