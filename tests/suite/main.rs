//! Suite.

mod store_jobs;
mod store_messages;
mod store_open;
mod store_replicas;
mod store_world;
