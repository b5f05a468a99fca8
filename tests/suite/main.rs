//! Suite.

#[cfg(test)]
mod store_jobs;
#[cfg(test)]
mod store_messages;
#[cfg(test)]
mod store_model;
#[cfg(test)]
mod store_open;
#[cfg(test)]
mod store_replicas;
#[cfg(test)]
mod store_world;
