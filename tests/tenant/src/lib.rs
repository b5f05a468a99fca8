//! A simulated Microsoft 365 tenant: token endpoint, Graph mail and change notifications, with faults on demand.
//!
//! Written from Microsoft's documentation and meant to be as strict as the original. It shares nothing with the
//! bridge it is there to test. Start one with [`Tenant::start`], point a client at its endpoints, deliver mail with
//! [`Tenant::receive`], break things with [`Tenant::fault`], and read what happened from [`Tenant::counters`].

mod answer;
mod assertion;
mod attachments;
mod batch;
mod call;
mod clock;
mod control;
mod courier;
mod delta;
mod draft;
mod enclose;
mod entra;
mod envelope;
mod fault;
mod filter;
mod folder;
mod front;
mod ids;
mod item;
mod ledger;
mod levers;
mod line;
mod list;
mod mailbox;
mod ndr;
mod notify;
mod options;
mod outgoing;
mod people;
mod perform;
mod platform;
mod policy;
mod proofs;
mod query;
mod rbac;
mod redeem;
mod refused;
mod render;
mod sent;
mod sign_in_levers;
mod signing_in;
mod slots;
mod subscription_request;
mod subscriptions;
mod target;
mod tenant;
mod transport;
mod upload;
mod world;

pub use attachments::CloudFile;
pub use courier::NotificationCounts;
pub use fault::{Fault, FaultAction, FaultId, RetryAfter};
pub use ids::MessageId;
pub use ledger::Counters;
pub use notify::Lifecycle;
pub use options::{App, Options};
pub use people::SignInPolicy;
pub use policy::NotificationPolicy;
pub use proofs::Federation;
pub use sent::SentMail;
pub use subscriptions::SubscriptionState;
pub use target::Operation;
pub use tenant::{MessageState, Tenant};
pub use transport::Refusing;
pub use world::{Access, Quirks};
