//! The command line: one file per command, exit codes that tell the truth.
//!
//! 0: fine. 1: it ran and found trouble. 2: unusable arguments or configuration.

mod ask;
mod audit;
pub mod config;
mod delivery;
mod demo;
mod doctor;
mod healthcheck;
mod mailbox;
mod run;
mod send;
mod sign_in;
mod store;
mod table;
mod trace;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

/// It ran and found trouble.
const TROUBLE: u8 = 1;
/// Unusable arguments or configuration.
const UNUSABLE: u8 = 2;

/// Mail bridge: Microsoft 365 mailboxes to contact-centre flows, with no mail lost and none in the dark.
#[derive(Debug, Parser)]
#[command(name = "mailspan", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::RunArgs),
    /// Watch the bridge work without an account: a simulated tenant, a receiver and the real bridge in one process.
    Demo(demo::DemoArgs),
    /// What is wrong with the set-up, and what to do? From clock and credentials to mailboxes and the public URL.
    Doctor(doctor::DoctorArgs),
    /// Check, show or describe the configuration.
    Config(config::ConfigCommand),
    /// Where is my mail? Ask a running daemon for the journey of a message, with times.
    Trace(trace::TraceArgs),
    /// Did we lose any? Let a running daemon hold the mailboxes against what became of their mail.
    Audit(audit::AuditArgs),
    /// Ask the running daemon for deliveries, replay them, discard them.
    Delivery(delivery::DeliveryCommand),
    /// Ask the running daemon for its mailboxes; look now, pause, resume.
    Mailbox(mailbox::MailboxCommand),
    /// Hand a mail to the running daemon, which sends it.
    Send(send::SendArgs),
    /// Move a whole store between SQLite and PostgreSQL.
    Store(store::StoreCommand),
    /// Sign a mailbox's user in, where the mailbox is reached on behalf of its user.
    SignIn(sign_in::SignInArgs),
    /// Ask a running daemon whether it is ready (for a container's HEALTHCHECK).
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print shell completions.
    Completions {
        /// The shell to print them for.
        shell: clap_complete::Shell,
    },
}

/// Which files the configuration is read from.
#[derive(Debug, Clone, Args)]
pub struct ConfigFiles {
    /// Configuration files; a later one wins over an earlier one.
    #[arg(long = "config", short, value_name = "FILE", num_args = 1..)]
    pub files: Vec<PathBuf>,
}

/// Reads the arguments, runs the command, and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    quiet_panics();
    no_core_files();
    let code = match cli.command {
        Command::Run(args) => block_on(run::run(args)),
        Command::Demo(args) => block_on(demo::demo(args)),
        Command::Doctor(args) => block_on(doctor::doctor(args)),
        Command::Config(command) => command.run(environment(), &mut std::io::stdout()).unwrap_or(TROUBLE),
        Command::Trace(args) => block_on(trace::trace(args)),
        Command::Audit(args) => block_on(audit::audit(args)),
        Command::Delivery(command) => block_on(delivery::delivery(command)),
        Command::Mailbox(command) => block_on(mailbox::mailbox(command)),
        Command::Send(args) => block_on(send::send(args)),
        Command::Store(command) => block_on(store::store(command)),
        Command::SignIn(args) => block_on(sign_in::sign_in(args)),
        Command::Healthcheck(args) => block_on(healthcheck::healthcheck(args)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "mailspan", &mut std::io::stdout());
            0
        }
    };
    ExitCode::from(code)
}

/// A panic says where it happened and nothing else: its message may quote somebody's mail.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "A part panicked at {place}; its attempt counts as failed");
    }));
}

/// What is in memory, tokens and mail, is written to no file when the process is killed by a fault: no core file, and no
/// program that the system hands cores to. Whoever may not do that goes on without: it is a precaution.
fn no_core_files() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if setrlimit(Resource::Core, none).is_err() {
        return;
    }
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

fn block_on(command: impl Future<Output = u8>) -> u8 {
    // Two providers could meet in one process; the choice is made once, here. A second choice changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            complain(&format!("the runtime cannot be started: {error}"));
            TROUBLE
        }
    }
}

/// The variables of this process; one that is not UTF-8 cannot be one of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Says on stderr what is wrong. If even that fails there is nobody to tell.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "mailspan: {text}");
}
