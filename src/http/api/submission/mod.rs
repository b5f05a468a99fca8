//! What somebody wants sent, out of a request: read as it comes, refused with every problem at once, and handed in.

mod answer;
mod letter;
mod letters;
mod lift;
#[cfg(test)]
mod lift_tests;
mod members;
mod written;
