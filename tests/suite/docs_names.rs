//! Every name that the documents set as code exists: metrics, keys, commands with their options, files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use regex::Regex;

use crate::config_reference::every_key;
use crate::docs_pages::{pages, root};

/// What the program is called, where it is called.
const PROGRAM: &str = env!("CARGO_BIN_EXE_mailspan");

/// The text of every file below a folder of the sources.
fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            *into += &std::fs::read_to_string(&path).unwrap_or_default();
        }
    }
}

/// The names of all metrics.
fn metrics() -> BTreeSet<String> {
    let mut text = String::new();
    sources(&root().join("src"), &mut text);
    let name = Regex::new(r#""(mailspan_[a-z_]+)""#).unwrap();
    // The channel that replicas wake each other by is none.
    name.captures_iter(&text).map(|it| it[1].to_owned()).filter(|it| it != "mailspan_due").collect()
}

#[test]
fn every_metric_in_the_documents_exists_and_every_metric_is_explained() {
    let metrics = metrics();
    assert!(metrics.len() > 25, "{metrics:?}");
    let name = Regex::new(r"mailspan_[a-z_]+").unwrap();
    // The crate of the simulated tenant.
    let others = ["mailspan_tenant"];
    let mut wrong = Vec::new();
    for page in pages() {
        for (at, line) in page.text.lines().enumerate() {
            for found in name.find_iter(line).map(|it| it.as_str()) {
                let bare = ["_bucket", "_sum", "_count"].iter().find_map(|it| found.strip_suffix(it)).unwrap_or(found);
                if ![found, bare].iter().any(|it| metrics.contains(*it) || others.contains(it)) {
                    wrong.push(format!("{}: there is no metric {found}", page.at(at + 1)));
                }
            }
        }
    }
    let manual = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    wrong.extend(
        metrics
            .iter()
            .filter(|it| !manual.contains(*it))
            .map(|it| format!("docs/operations.md: {it} is not explained")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_key_in_the_documents_exists() {
    let keys = every_key();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|it| it.split('.').next()).collect();
    let known: BTreeSet<&str> = keys.iter().flat_map(|it| it.split('.')).collect();
    // Tables whose keys are the reader's own or another program's.
    let open = ["attributes", "headers", "options"];
    let dotted = Regex::new(r"^([a-z_]+)((?:\.[a-z0-9_]+)+)( = .*)?$").unwrap();
    let assigned = Regex::new(r"^([a-z][a-z0-9_]*) = ").unwrap();
    let table = Regex::new(r"^\[\[?([a-z_.]+)\]\]?(?: ([a-z_]+)\b.*)?$").unwrap();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in pages() {
        for (line, span) in page.spans() {
            if let Some(found) = dotted.captures(&span).filter(|it| sections.contains(&it[1])) {
                let path = format!("{}{}", &found[1], &found[2]);
                let is_open = path.split('.').any(|it| open.contains(&it));
                // A file of the same name as a section is no key.
                let is_file = ["rs", "md", "toml"].iter().any(|it| path.ends_with(&format!(".{it}")));
                checked += 1;
                if !keys.contains(&path) && !is_open && !is_file {
                    wrong.push(format!("{}: there is no key {path}", page.at(line)));
                }
            } else if let Some(found) = assigned.captures(&span) {
                checked += 1;
                if !known.contains(&found[1]) && !OTHERS.contains(&&found[1]) {
                    wrong.push(format!("{}: there is no key {}", page.at(line), &found[1]));
                }
            } else if let Some(found) = table.captures(&span) {
                let path = found[1].to_owned()
                    + found.get(2).map(|it| format!(".{}", it.as_str())).unwrap_or_default().as_str();
                checked += 1;
                if !keys.contains(&path) && !TABLES.contains(&path.as_str()) {
                    wrong.push(format!("{}: there is no table or key {path}", page.at(line)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 150, "{checked} keys");
}

/// Stand-ins for any key; keys of object stores and of SQLite.
const OTHERS: [&str; 4] = ["x", "x_file", "allow_http", "synchronous"];
/// Tables of cargo.
const TABLES: [&str; 1] = ["workspace.dependencies"];

/// Subcommands and options of a command, by what it says of itself.
#[derive(Clone)]
struct Help {
    commands: BTreeSet<String>,
    options: BTreeSet<String>,
}

/// Asks the program, each command once.
#[derive(Default)]
struct Commands(BTreeMap<Vec<String>, Help>);

impl Commands {
    fn help(&mut self, words: &[String]) -> Help {
        let known = self.0.entry(words.to_vec()).or_insert_with(|| {
            let said = Command::new(PROGRAM).args(words).arg("--help").output().unwrap();
            assert!(said.status.success(), "{words:?}");
            let said = String::from_utf8(said.stdout).unwrap();
            let command = Regex::new(r"(?m)^  ([a-z][a-z-]*)(?:  |$)").unwrap();
            let option = Regex::new(r"(?m)^\s+(?:(-[a-zA-Z]), )?(--[a-z][a-z-]*)").unwrap();
            let commands = said.split("Commands:").nth(1).unwrap_or_default();
            let commands = commands.split("Options:").next().unwrap_or_default();
            let options = option
                .captures_iter(&said)
                .flat_map(|it| [it.get(1), it.get(2)].map(|it| it.map(|it| it.as_str().to_owned())));
            Help {
                commands: command.captures_iter(commands).map(|it| it[1].to_owned()).collect(),
                options: options.flatten().collect(),
            }
        });
        known.clone()
    }

    /// What is wrong with a command line that begins with `mailspan`.
    fn trouble(&mut self, line: &str) -> Option<String> {
        let mut words = Vec::new();
        let mut help = self.help(&words);
        let mut rest = line.split_whitespace().skip(1).peekable();
        while let Some(word) = rest.next_if(|it| help.commands.contains(*it)) {
            words.push(word.to_owned());
            help = self.help(&words);
        }
        let is_word = |it: &str| it.chars().all(|it| it.is_ascii_lowercase() || it == '-') && !it.starts_with('-');
        if let Some(word) =
            rest.peek().filter(|it| !help.commands.is_empty() && is_word(it) && !help.commands.contains(**it))
        {
            return Some(format!("`{line}`: there is no command {word}"));
        }
        // What stands behind a comment sign, a pipe or a quotation mark is somebody else's.
        let options = line.split([' ', '[', ']', '=', '(']).take_while(|it| !["#", "|", ">"].contains(it));
        let mut options = options.filter(|it| it.starts_with("--") && it.len() > 2);
        options.find(|it| !help.options.contains(*it)).map(|it| format!("`{line}`: there is no option {it}"))
    }
}

#[test]
fn every_command_in_the_documents_exists_with_its_options() {
    // A command of its own: at the beginning, behind `&&`, `;` or `--`, and behind variables.
    let begins = Regex::new(r"(?:^|&& |; | -- )(?:[A-Z_]+=\S+ )*(mailspan [^;&]*)").unwrap();
    let mut commands = Commands::default();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for page in pages() {
        let spans = page.spans().into_iter().filter(|(_, it)| it.starts_with("mailspan ")).collect::<Vec<_>>();
        let blocks = page.blocks().into_iter().filter(|it| ["sh", "bash", ""].contains(&it.language.as_str()));
        let lines = blocks.flat_map(|block| {
            let lines: Vec<_> = block.text.lines().map(str::to_owned).enumerate().collect();
            lines.into_iter().map(move |(at, line)| (block.line + at, line))
        });
        let called = lines.filter_map(|(line, text)| Some((line, begins.captures(&text)?[1].trim().to_owned())));
        for (line, text) in spans.into_iter().chain(called.collect::<Vec<_>>()) {
            checked += 1;
            wrong.extend(commands.trouble(&text).map(|why| format!("{}: {why}", page.at(line))));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 40, "{checked} commands");
}

#[test]
fn a_command_that_does_not_exist_is_noticed() {
    let mut commands = Commands::default();
    for fine in [
        "mailspan run --config FILE",
        "mailspan delivery list --state parked",
        "mailspan trace TEXT",
        "mailspan mailbox list | sync",
    ] {
        assert_eq!(commands.trouble(fine), None);
    }
    for wrong in [
        "mailspan runs",
        "mailspan delivery lists",
        "mailspan run --configuration FILE",
        "mailspan mailbox list --state x",
    ] {
        assert!(commands.trouble(wrong).is_some(), "{wrong}");
    }
}

#[test]
fn every_file_that_the_documents_name_is_there() {
    let path =
        Regex::new(r"^(?:(?:src|tests|docs|deploy|benches|fuzz)/[A-Za-z0-9_./-]+|config/[a-z]+\.toml)$").unwrap();
    // Made by those who run them.
    let made = ["fuzz/artifacts", "fuzz/corpus", "deploy/secrets"];
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for page in pages() {
        for (line, span) in page.spans().into_iter().filter(|(_, it)| path.is_match(it)) {
            checked += 1;
            let found = root().join(span.trim_end_matches('/'));
            if !found.exists() && !made.iter().any(|it| span.starts_with(it)) {
                wrong.push(format!("{}: there is no {span}", page.at(line)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 20, "{checked} files");
}

#[test]
fn every_word_with_an_underscore_in_the_guides_is_the_programs_own() {
    let keys = every_key();
    let mut known: BTreeSet<&str> = keys.iter().flat_map(|it| it.split('.')).collect();
    known.extend(mailspan::ops::doctor::all().into_iter().map(|it| it.code));
    known.extend(mailspan::model::reason::Code::ALL.iter().map(|it| it.as_str()));
    // Values, members of an interaction and of Graph's and Entra's own.
    known.extend(["client_secret", "managed_identity", "gcc_high", "omitted_too_large", "offline_access"]);
    known.extend(["reply_to", "save_to_sent_items"]);
    let word = Regex::new(r"^[a-z]+(?:_[a-z]+)+$").unwrap();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for page in pages()
        .iter()
        .filter(|it| ["docs/setup-microsoft-365.md", "docs/faq.md"].contains(&&*it.path.to_string_lossy()))
    {
        for (line, span) in page.spans().into_iter().filter(|(_, it)| word.is_match(it) && !it.starts_with("mailspan_"))
        {
            checked += 1;
            if !known.contains(span.as_str()) {
                wrong.push(format!("{}: nobody knows {span}", page.at(line)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 50, "{checked} words");
}
