//! Mailspan: Microsoft 365 mailboxes to contact-centre flows, with no mail lost and none in the dark.
//!
//! # The map
//! Everything Mailspan does is a job in one table. A notification, a timer, a restart do the same thing: they make a
//! job due. One loop takes jobs out, runs each as far as it can, and writes down the outcome.
//!
//! **A mail comes in**
//! 1. Graph's hint is answered 202 from memory: [`inbound::webhook`].
//! 2. It makes a look due, which reads the mailbox's delta to its end: `inbound::look`. A sweep looks after it: `inbound::sweep`.
//! 3. Each unknown message is fetched, understood ([`mail`]) and matched with the routes ([`model::route`]): `inbound::fetch`.
//! 4. In one transaction the message, its content and one delivery per route are stored: [`store`].
//! 5. Each delivery is handed over ([`delivery`]) to its destination ([`destinations`]).
//! 6. Once all have accepted, the message is marked read: `inbound::mark`.
//!
//! **The floors**; imports go down, never up or sideways (`tests/suite/architecture.rs` enforces it)
//! - roof: [`cli`], [`app`] (the daemon, wired), [`http`] (every URL), [`config`], [`telemetry`], `demo`
//! - journeys: [`inbound`], [`outbound`], [`delivery`], [`ops`]; they meet only in the table
//! - hall: [`queue`], the loop over the table
//! - doors: [`graph`], [`identity`], [`destinations`], [`mail`], [`store`]
//! - ground: [`model`] (plain words), [`secrets`], [`egress`] and [`memory`] (where secrets come from, how HTTP leaves the
//!   house, how many message bytes it may hold)

pub mod app;
pub mod cli;
pub mod config;
pub mod delivery;
#[cfg(feature = "demo")]
pub mod demo;
pub mod destinations;
pub mod egress;
pub mod graph;
pub mod http;
pub mod identity;
pub mod inbound;
pub mod mail;
pub mod memory;
pub mod model;
pub mod ops;
pub mod outbound;
pub mod queue;
pub mod secrets;
pub mod store;
pub mod telemetry;
