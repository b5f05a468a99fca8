//! Running the checks under the fuzzer: only a broken promise ends it, not a panic of foreign code that we catch.

mod checks;

use std::cell::RefCell;
use std::panic::{PanicHookInfo, catch_unwind, set_hook, take_hook};

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The fuzzer's own hook aborts at every panic, caught or not. In its place one that only remembers.
pub fn remember_panics() {
    drop(take_hook());
    set_hook(Box::new(|panic: &PanicHookInfo<'_>| LAST.set(panic.to_string())));
}

macro_rules! asked {
    ($($check:ident),*) => {$(
        /// Asks the check of this name about these bytes; when it does not hold, says why and ends the program.
        pub fn $check(input: &[u8]) {
            ask(checks::$check, input);
        }
    )*};
}

asked!(interaction, sanitise, headers, transfer, tnef, calendar, outgoing);

fn ask(check: fn(&[u8]), input: &[u8]) {
    if catch_unwind(|| check(input)).is_err() {
        eprintln!("{}", LAST.take());
        std::process::abort();
    }
}
