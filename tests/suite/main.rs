//! What we promise: one binary, one file per story.

mod config_problems;
