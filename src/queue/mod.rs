//! The hall: one loop that takes due jobs out of the table, runs each as far as it can, and writes down the outcome.

mod agenda;
pub mod runner;
pub mod settle;
pub mod standing;

pub use runner::{Plan, Runner, Works};
pub use standing::Standing;
