//! The hall: one loop that takes due jobs out of the table, runs each as far as it can, and writes down the outcome.

mod agenda;
pub mod runner;
pub mod settle;
pub mod standing;
mod steps;
mod works;

pub use runner::Runner;
pub use standing::Standing;
pub use works::{Plan, Works};
