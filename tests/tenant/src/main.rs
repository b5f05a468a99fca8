//! The simulated tenant as a program of its own, for tests and benches in other processes.
//!
//! It prints one line of JSON with its addresses and credentials, then serves until it is told to stop.

use std::{io::Write, process::ExitCode};

use mailspan_tenant::{NotificationPolicy, Options, Tenant};
use serde_json::json;

const USAGE: &str = "\
A simulated Microsoft 365 tenant.

Usage: mailspan-tenant [--listen ADDRESS:PORT] [--mailboxes N] [--domain DOMAIN] [--control]
                       [--no-concurrency-limit] [--fast-notifications]

  --listen ADDRESS:PORT     where to listen (127.0.0.1:0, a free port)
  --mailboxes N             make mailbox1@DOMAIN … mailboxN@DOMAIN (1)
  --domain DOMAIN           their domain (contoso.com)
  --control                 answer /_control
  --no-concurrency-limit    any number of requests at once per mailbox
  --fast-notifications      retry notifications within milliseconds
";

struct Arguments {
    options: Options,
    mailboxes: u32,
    domain: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let arguments = match read(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            // Nothing can be said to a reader that is gone.
            let _ = out.write_all(USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(problem) => return failed(2, &format!("{problem}\n\n{USAGE}")),
    };
    match run(arguments, &mut out).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(1, &format!("{error}\n")),
    }
}

async fn run(arguments: Arguments, out: &mut impl Write) -> std::io::Result<()> {
    let tenant = Tenant::start(arguments.options).await?;
    for number in 1..=arguments.mailboxes {
        tenant.add_mailbox(&format!("mailbox{number}@{}", arguments.domain));
    }
    let addresses = json!({
        "origin": tenant.origin(),
        "token_endpoint": tenant.token_endpoint(),
        "graph_endpoint": tenant.graph_endpoint(),
        "scope": tenant.scope(),
        "tenant_id": tenant.tenant_id(),
        "client_id": tenant.client_id(),
        "client_secret": tenant.client_secret(),
        "mailboxes": arguments.mailboxes,
        "domain": arguments.domain,
    });
    writeln!(out, "{addresses}")?;
    out.flush()?;
    tokio::select! {
        () = tenant.stopped() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    tenant.stop().await;
    Ok(())
}

/// None if only help was asked for.
fn read(arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut read = Arguments { options: Options::default(), mailboxes: 1, domain: "contoso.com".to_owned() };
    let mut rest = arguments;
    while let Some(name) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--listen" => {
                read.options.listen = value()?.parse().map_err(|_| "--listen needs ADDRESS:PORT".to_owned())?
            }
            "--mailboxes" => read.mailboxes = value()?.parse().map_err(|_| "--mailboxes needs a number".to_owned())?,
            "--domain" => read.domain = value()?,
            "--control" => read.options.control = true,
            "--no-concurrency-limit" => read.options.enforce_concurrency = false,
            "--fast-notifications" => read.options.notifications = NotificationPolicy::fast(),
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    Ok(Some(read))
}

fn failed(code: u8, problem: &str) -> ExitCode {
    // Nothing can be said to a reader that is gone.
    let _ = std::io::stderr().write_all(problem.as_bytes());
    ExitCode::from(code)
}
