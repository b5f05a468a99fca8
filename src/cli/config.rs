//! `mailspan config check | show | schema`: is the configuration usable, what is in force, and what may be written.
//!
//! Nothing here touches the network or the store, and no output holds a secret.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::problem::{Problems, write_grouped};
use crate::config::show::AsToml;
use crate::config::{Config, Loaded, schema};

/// It ran and all is well.
const FINE: u8 = 0;
/// The configuration cannot be used.
const UNUSABLE: u8 = 2;

/// `mailspan config …`
#[derive(Debug, Clone, Args)]
pub struct ConfigCommand {
    /// What to do with the configuration.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What can be done with a configuration.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigAction {
    /// Check it, and report every problem at once.
    Check(Sources),
    /// Print what is in force and where each value came from; secrets are hidden.
    Show(Sources),
    /// Print the JSON Schema, for editors.
    Schema,
}

/// Where the configuration is read from, and how to answer.
#[derive(Debug, Clone, Args)]
pub struct Sources {
    /// Configuration files; a later one wins over an earlier one.
    #[arg(long, short, value_name = "FILE", num_args = 1..)]
    pub config: Vec<PathBuf>,
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
}

impl ConfigCommand {
    /// Runs the command with these environment variables and returns the exit code.
    ///
    /// # Errors
    /// The answer could not be written.
    pub fn run(&self, env: impl Iterator<Item = (String, String)>, out: &mut dyn Write) -> io::Result<u8> {
        match &self.action {
            ConfigAction::Check(sources) => check(sources, env, out),
            ConfigAction::Show(sources) => show(sources, env, out),
            ConfigAction::Schema => {
                writeln!(out, "{:#}", schema())?;
                Ok(FINE)
            }
        }
    }
}

fn check(sources: &Sources, env: impl Iterator<Item = (String, String)>, out: &mut dyn Write) -> io::Result<u8> {
    let loaded = match Config::load(&sources.config, env) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems, sources.json, out),
    };
    let Config { tenants, mailboxes, routes, .. } = &loaded.config;
    if sources.json {
        let counts = json!({ "tenants": tenants.len(), "mailboxes": mailboxes.len(), "routes": routes.len() });
        let answer = json!({ "usable": true, "problems": [], "warnings": loaded.warnings, "counts": counts });
        writeln!(out, "{answer:#}")?;
    } else {
        writeln!(
            out,
            "{} fine: {}, {}, {}",
            title(&sources.config),
            count(tenants.len(), "tenant", "tenants"),
            count(mailboxes.len(), "mailbox", "mailboxes"),
            count(routes.len(), "route", "routes"),
        )?;
        out.write_all(warnings(&loaded).as_bytes())?;
    }
    Ok(FINE)
}

fn show(sources: &Sources, env: impl Iterator<Item = (String, String)>, out: &mut dyn Write) -> io::Result<u8> {
    match Config::load(&sources.config, env) {
        Ok(loaded) if sources.json => writeln!(out, "{:#}", json!({ "settings": loaded.origins }))?,
        Ok(loaded) => write!(out, "{}", AsToml(&loaded.origins))?,
        Err(problems) => return refuse(&problems, sources.json, out),
    }
    Ok(FINE)
}

/// Says why a configuration cannot be used.
///
/// # Errors
/// The answer could not be written.
pub fn refuse(problems: &Problems, json: bool, out: &mut dyn Write) -> io::Result<u8> {
    if json {
        let answer = json!({ "usable": false, "problems": problems.problems, "warnings": problems.warnings });
        writeln!(out, "{answer:#}")?;
    } else {
        write!(out, "{problems}")?;
    }
    Ok(UNUSABLE)
}

/// What deserves a look in a usable configuration, as text; empty when there is nothing.
pub fn warnings(loaded: &Loaded) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    _ = write_grouped(&mut text, &loaded.warnings, &loaded.files, "warning");
    text
}

fn title(files: &[PathBuf]) -> String {
    match files {
        [] => "the configuration is".into(),
        [only] => format!("{} is", only.display()),
        several => {
            let names: Vec<_> = several.iter().map(|it| it.display().to_string()).collect();
            format!("{} are", names.join(", "))
        }
    }
}

fn count(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}
