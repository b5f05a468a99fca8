//! `mailspan sign-in MAILBOX`: a user signs in for a delegated mailbox, by a code or at the browser.
//!
//! The running daemon does it, because the store is its own; only where none runs does the command do it itself.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::TROUBLE;
use super::ask::{Client, Daemon, NoAnswer, end};
use super::delivery::shown;
use super::table::{self, text};
use crate::app::{Alone, SystemClock};
use crate::config::Config;
use crate::identity::sign_in::{DeviceSignIn, SignInError, SignedIn};
use crate::model::clock::rfc3339;

/// How often the daemon is asked how far the user is.
const TURN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct SignInArgs {
    /// Its address; TENANT/ADDRESS where several tenants have one of it.
    mailbox: String,
    /// At the browser, by a link, where codes for devices are blocked; needs the running daemon.
    #[arg(long)]
    browser: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// 0: signed in. 1: nobody signed in. 2: unusable arguments or configuration.
pub(super) async fn sign_in(args: SignInArgs) -> u8 {
    let signing_in = async {
        let client = args.daemon.client()?;
        let by = if args.browser { "browser" } else { "device_code" };
        match client.post(&["mailboxes", &args.mailbox, "sign-in"], &json!({ "by": by })).await {
            Ok(begun) => by_daemon(&args, &client, begun).await,
            Err(nobody) if nobody.is_nobody() && args.daemon.server.is_none() && !args.browser => alone(&args).await,
            Err(error) => Err(error),
        }
    };
    tokio::select! {
        ended = signing_in => end(ended),
        _ = tokio::signal::ctrl_c() => {
            super::complain("given up; a code that was shown is good until it expires, and a running daemon goes on waiting for it");
            TROUBLE
        }
    }
}

/// The daemon waits for the user, and we for the daemon.
async fn by_daemon(args: &SignInArgs, client: &Client, begun: Value) -> Result<u8, NoAnswer> {
    let mut asked = String::new();
    let mut progress = begun;
    loop {
        match progress["state"].as_str() {
            Some("waiting") => {
                let wanted = wanted(&progress);
                if !wanted.is_empty() && wanted != asked {
                    say(args, &progress, &wanted)?;
                    asked = wanted;
                }
            }
            Some("signed_in") => return done(args, &progress),
            Some("none") => return Err(NoAnswer::trouble("the sign-in is not known any more; begin it again")),
            _ => return Err(NoAnswer::trouble(text(&progress["reason"]))),
        }
        tokio::time::sleep(TURN).await;
        progress = client.get(&["mailboxes", &args.mailbox, "sign-in"], &[]).await?;
    }
}

/// What the user is to do, in one line.
fn wanted(progress: &Value) -> String {
    if let Some(link) = progress["link"].as_str() {
        return format!("To sign in, open {link} in a browser (until {}).", text(&progress["expires_at"]));
    }
    match (progress["user_code"].as_str(), progress["verification_uri"].as_str()) {
        (Some(code), Some(page)) => code_line(code, page, &text(&progress["expires_at"])),
        _ => String::new(),
    }
}

fn code_line(code: &str, page: &str, until: &str) -> String {
    format!("To sign in, open {page} in a browser and type in the code {code} (until {until}).")
}

fn say(args: &SignInArgs, progress: &Value, line: &str) -> Result<(), NoAnswer> {
    let said = match args.daemon.json {
        true => shown(table::json(progress)),
        false => shown(table::line(&format!("{line} Sign in as the mailbox's user."))),
    };
    said.map(drop)
}

fn done(args: &SignInArgs, progress: &Value) -> Result<u8, NoAnswer> {
    match args.daemon.json {
        true => shown(table::json(progress)),
        false => shown(table::line(&format!("{} has signed in.", text(&progress["signed_in_as"])))),
    }
}

/// No daemon runs: the store is ours for as long as this takes.
async fn alone(args: &SignInArgs) -> Result<u8, NoAnswer> {
    let loaded = Config::load(&args.daemon.config.files, super::environment());
    let config = loaded.map_err(|problems| NoAnswer::unusable(format!("\n{problems}")))?.config;
    let opened = Alone::open(&config, &args.mailbox, Arc::new(SystemClock)).await;
    let alone = opened.map_err(|error| NoAnswer::trouble(format!("{error:#}")))?;
    let outcome = by_ourselves(args, &alone).await;
    alone.close().await;
    let SignedIn { user } = outcome?;
    done(args, &json!({ "mailbox": args.mailbox, "state": "signed_in", "signed_in_as": user }))
}

async fn by_ourselves(args: &SignInArgs, alone: &Alone) -> Result<SignedIn, NoAnswer> {
    let trouble = |error: SignInError| NoAnswer::trouble(error);
    let mut device = begin(args, alone).await?;
    let mut is_second = false;
    loop {
        tokio::time::sleep(device.interval).await;
        match alone.tokens.poll_device(&mut device).await {
            Ok(signed_in) => return Ok(signed_in),
            Err(SignInError::Pending | SignInError::Unavailable { .. }) => {}
            Err(SignInError::Expired) if !is_second => {
                is_second = true;
                device = begin(args, alone).await?;
            }
            Err(error) => return Err(trouble(error)),
        }
    }
}

async fn begin(args: &SignInArgs, alone: &Alone) -> Result<DeviceSignIn, NoAnswer> {
    let device = alone.tokens.begin_device().await.map_err(NoAnswer::trouble)?;
    let (code, page, until) = (&device.user_code, &device.verification_uri, rfc3339(device.expires_at));
    let progress = json!({
        "mailbox": args.mailbox, "state": "waiting", "user_code": code, "verification_uri": page, "expires_at": until,
    });
    say(args, &progress, &code_line(code, page, &until))?;
    Ok(device)
}
