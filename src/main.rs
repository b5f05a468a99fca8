//! The mailspan command.
fn main() {}
