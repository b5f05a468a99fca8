#![no_main]

libfuzzer_sys::fuzz_target!(init: mailspan_fuzz::remember_panics(), |input: &[u8]| mailspan_fuzz::outgoing(input));
