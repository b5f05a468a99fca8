//! `mailspan doctor`: what is wrong with the set-up, and what to do. A line for each check, in the order in which they
//! build on each other.
//!
//! Works beside a running daemon and without one; without one it puts up the public listener while it looks at that.

mod by_sign_in;
mod listening;
mod setup;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::listening::InItsPlace;
use self::setup::{Teller, pushed, tenants};
use super::ask::{Daemon, NoAnswer};
use super::healthcheck::named;
use super::{TROUBLE, UNUSABLE, complain};
use crate::app::SystemClock;
use crate::config::Config;
use crate::config::problem::{Problem, Problems};
use crate::egress::Egress;
use crate::inbound::{Access, Mode};
use crate::model::address::Address;
use crate::model::units::Span;
use crate::ops::doctor::{Finding, Journeys, PublicUrl, RoundTrip, Setup, StandIn, State, Step, examine, unusable};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Only this mailbox; may be given several times.
    #[arg(long, value_name = "ADDRESS", value_parser = |text: &str| Address::parse(text))]
    mailbox: Vec<Address>,
    /// Prove that mail really flows: send a mail from each mailbox to itself and follow it through the running daemon to
    /// its routes. They see it like any other mail; it says what it is, carries X-Mailspan-Probe, and is deleted from the
    /// mailbox at the end: for good in the global cloud, into Deleted Items in those that have no call for it. One that
    /// arrives too late for that, or after a Ctrl-C, is removed by the next.
    #[arg(long)]
    round_trip: bool,
    /// How long the mail of --round-trip may take to arrive, and how long from there to be handed over.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = |text: &str| text.parse::<Span>())]
    wait: Span,
    #[command(flatten)]
    daemon: Daemon,
}

/// 0: nothing is broken; there may be warnings. 1: something is. 2: the configuration or the arguments cannot be used.
pub(super) async fn doctor(args: DoctorArgs) -> u8 {
    let config = match Config::load(&named(&args.daemon.config), super::environment()) {
        Ok(loaded) => Arc::new(loaded.config),
        Err(problems) => return refuse(&problems, args.daemon.json),
    };
    match look(&args, &config).await {
        Ok(code) => code,
        Err(reason) => {
            complain(&reason);
            UNUSABLE
        }
    }
}

/// A configuration that cannot be used: each problem as a check, and nothing else was looked at.
fn refuse(problems: &Problems, json: bool) -> u8 {
    let place = |it: &Problem| it.origin.as_ref().map_or_else(String::new, |origin| format!("in {origin}"));
    let found: Vec<Finding> = problems.problems.iter().map(|it| unusable(&it.shown, &it.message, &place(it))).collect();
    let widest = found.iter().map(|it| it.subject.chars().count()).max().unwrap_or_default();
    let text = match json {
        true => format!("{:#}\n", document(&found)),
        false => found.iter().map(|it| lines(it, widest, false)).collect::<String>() + &summary(&found),
    };
    // Nobody reads it any more; the exit code still tells.
    _ = io::stdout().write_all(text.as_bytes());
    UNUSABLE
}

async fn look(args: &DoctorArgs, config: &Arc<Config>) -> Result<u8, String> {
    let egress = Egress::new(&config.egress).map_err(|error| error.to_string())?;
    let client = args.daemon.client().map_err(NoAnswer::into_text)?;
    let runs = client.is_there().await;
    let health = match runs && (wants_push(config) || has_users(config)) {
        true => client.health().await,
        false => None,
    };
    let tenants = tenants(config, &args.mailbox, runs, health.as_ref()).await?;
    let pushed = health.as_ref().map(pushed).unwrap_or_default();
    let daemon = runs.then(|| client.place().to_owned());
    let public_url = config.server.public_url.clone().filter(|_| wants_push(config)).map(|url| PublicUrl {
        url,
        listen: config.server.webhook_listen.to_string(),
        is_filtered: config.server.allowed_sources.as_ref().is_some_and(|it| !it.is_empty()),
        stand_in: (!runs).then(|| Box::new(InItsPlace(config.server.clone())) as Box<dyn StandIn>),
    });
    let journeys = runs.then(|| Box::new(Teller(client)) as Box<dyn Journeys>);
    let round_trip = args.round_trip.then_some(RoundTrip { journeys, wait: args.wait.0 });
    let stop = CancellationToken::new();
    let setup = Setup {
        tenants,
        egress,
        clock: Arc::new(SystemClock),
        public_url,
        daemon,
        pushed,
        round_trip,
        stop: stop.clone(),
    };

    let widest = widest(&setup);
    let (json, colours) = (args.daemon.json, io::stdout().is_terminal());
    let say = |finding: &Finding| {
        if !json {
            // Nobody reads it any more; the exit code still tells.
            _ = io::stdout().write_all(lines(finding, widest, colours).as_bytes());
        }
    };
    let found = tokio::select! {
        found = examine(&setup, say) => found,
        ended = stopped_twice(&stop) => return ended.map(|()| TROUBLE),
    };
    let text = if json { format!("{:#}\n", document(&found)) } else { summary(&found) };
    let written = io::stdout().write_all(text.as_bytes());
    Ok(if found.iter().any(Finding::is_fail) || written.is_err() { TROUBLE } else { 0 })
}

/// The first Ctrl-C or SIGTERM stops the look, which removes what it made; the second is out at once.
async fn stopped_twice(stop: &CancellationToken) -> Result<(), String> {
    let hear = |kind| signal(kind).map_err(|error| format!("signals cannot be heard: {error}"));
    let (mut terminate, mut interrupt) = (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?);
    for seen in 0..2 {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if seen == 0 {
            complain("stopping: what was made for a trial is removed first; once more ends this at once");
            stop.cancel();
        }
    }
    Ok(())
}

fn wants_push(config: &Config) -> bool {
    config.sync.mode == Mode::Push && config.mailboxes.iter().any(|it| it.receive)
}

/// Whether a mailbox is reached on behalf of its user.
fn has_users(config: &Config) -> bool {
    config.mailboxes.iter().any(|it| it.access == Access::Delegated)
}

fn document(found: &[Finding]) -> Value {
    let status = match found.iter().map(|it| it.state).max() {
        Some(State::Fail) => "fail",
        Some(State::Warn) => "warn",
        Some(State::Skipped | State::Pass) | None => "pass",
    };
    json!({ "status": status, "checks": found })
}

fn widest(setup: &Setup) -> usize {
    let names = setup.tenants.iter().flat_map(|tenant| {
        let mailboxes = tenant.mailboxes.iter().map(|it| it.address.as_str());
        mailboxes.chain([tenant.config.name.as_str(), "login.microsoftonline.com"])
    });
    names.map(|it| it.chars().count()).max().unwrap_or_default()
}

/// A check as people read it: a line, and below it the cause and the cure of what is wrong.
fn lines(finding: &Finding, widest: usize, colours: bool) -> String {
    let (word, colour) = match finding.state {
        State::Pass => ("pass", "32"),
        State::Skipped => ("skip", "2"),
        State::Warn => ("warn", "33"),
        State::Fail => ("FAIL", "1;31"),
    };
    let mark = if colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() };
    let (check, subject) = (finding.step.name(), &finding.subject);
    let of_steps = Step::Subscriptions.name().len();
    let mut text = format!("{mark}  {check:of_steps$}  {subject:widest$}  {}\n", finding.what);
    for (name, sentence) in [("why ", &finding.cause), ("cure", &finding.cure)] {
        if let Some(sentence) = sentence {
            text.push_str(&format!("      {name}  {sentence}\n"));
        }
    }
    if finding.cure.is_some() {
        text.push_str(&format!("      code  {}\n", finding.code));
    }
    text
}

fn summary(found: &[Finding]) -> String {
    let count = |state| found.iter().filter(|it| it.state == state).count();
    let (pass, warn, fail, skip) = (count(State::Pass), count(State::Warn), count(State::Fail), count(State::Skipped));
    let counts = format!("\n{} checks: {pass} pass, {warn} warn, {fail} fail, {skip} skipped\n", found.len());
    match found.iter().find(|it| it.is_fail()) {
        Some(first) => format!("{counts}Begin with the first failure, others may follow from it: {}\n", first.what),
        None if warn > 0 => format!("{counts}Nothing is broken; the warnings deserve a look.\n"),
        None => format!("{counts}All is well.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_a_trouble_has_its_cause_and_cure_below() {
        let fine = Finding::pass(Step::Token, "contoso", "Entra issues a token", vec![]);
        assert_eq!(lines(&fine, 9, false), "pass  token          contoso    Entra issues a token\n");
        assert!(lines(&fine, 9, true).starts_with("\u{1b}[32mpass\u{1b}[0m  token"));
        let entry = crate::ops::doctor::all()[0];
        let wrong =
            Finding::of(entry, Step::Clock, "login", vec![("seconds", "90".into()), ("direction", "behind".into())]);
        let shown = lines(&wrong, 5, false);
        let heads: Vec<&str> = shown.lines().map(|it| it.get(..12).unwrap_or_default().trim()).collect();
        assert_eq!(heads, ["warn  clock", "why", "cure", "code"], "{shown}");
    }

    #[test]
    fn the_whole_is_as_bad_as_its_worst() {
        let of = |state| Finding { state, ..Finding::pass(Step::Token, "a", "b", vec![]) };
        for (states, status) in [
            (vec![], "pass"),
            (vec![State::Pass, State::Skipped], "pass"),
            (vec![State::Warn, State::Pass], "warn"),
            (vec![State::Fail, State::Warn], "fail"),
        ] {
            let found: Vec<Finding> = states.into_iter().map(of).collect();
            assert_eq!(document(&found)["status"], status);
        }
        assert!(summary(&[of(State::Pass)]).contains("1 checks: 1 pass, 0 warn, 0 fail, 0 skipped"));
    }
}
