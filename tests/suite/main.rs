//! What Mailspan promises: one binary, one file per story.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking; clippy knows test functions, not their helpers"
)]

mod api;
mod architecture;
mod config_auth;
mod config_layers;
mod config_links;
mod config_problems;
mod config_reference;
mod config_smtp;
mod config_vendors;
mod connect;
mod crash;
mod destination_auth;
mod destination_conformance;
mod destination_connect;
mod destination_egress;
mod destination_genesys;
mod destination_kinds;
mod destination_maildir;
mod destination_showing;
mod destination_smtp;
mod destination_webhook;
mod gate;
mod genesys;
mod inbound_gone;
mod judges;
mod mail_calendar;
mod mail_classify;
mod mail_classify_reports;
mod mail_html;
mod mail_interaction;
mod mail_parse;
mod mail_parts;
mod mail_sample;
mod mail_schema;
mod mail_seeds;
mod mail_text;
mod mail_tnef;
mod mail_vectors;
mod mail_vectors_known;
mod queue_shares;
mod receiver;
mod relay;
mod store_alone;
mod store_attempts;
mod store_books;
mod store_jobs;
mod store_links;
mod store_loops;
mod store_messages;
mod store_model;
mod store_open;
mod store_replicas;
mod store_threads;
mod store_world;
mod story_api;
mod story_audit;
mod story_cloud;
mod story_commands;
mod story_connect;
mod story_delivery;
mod story_formats;
mod story_front_door;
mod story_genesys;
mod story_hints;
mod story_identity;
mod story_isolation;
mod story_judged;
mod story_links;
mod story_loops;
mod story_marking;
mod story_outside;
mod story_parking;
mod story_pause;
mod story_privacy;
mod story_program;
mod story_questions;
mod story_removed;
mod story_routing;
mod story_smtp;
mod story_start;
mod story_store;
mod story_sync;
mod story_threads;
mod story_trace;
mod world;
mod world_bridge;
mod world_program;
