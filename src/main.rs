//! The `mailspan` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    mailspan::cli::main()
}
