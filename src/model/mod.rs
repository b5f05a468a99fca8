//! Plain words everything else is said in: no I/O, no async, no clock.

pub mod address;
pub mod answer;
pub mod backoff;
pub mod bounce;
pub mod callback;
pub mod clock;
pub mod grant;
pub mod ids;
pub mod link;
pub mod outcome;
pub mod pace;
pub mod pattern;
pub mod reason;
pub mod retry_after;
pub mod route;
pub mod secret;
pub mod subject;
pub mod submission;
pub mod thread;
pub mod token;
pub mod units;
pub mod work;
