//! What we promise: one binary, one file per story.

#[cfg(test)]
mod config_layers;
#[cfg(test)]
mod config_problems;
#[cfg(test)]
mod config_reference;
