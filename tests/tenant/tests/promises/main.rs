//! What the simulated tenant promises to those who test against it, proven over HTTP.

#[cfg(test)]
mod assertions;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod client;
#[cfg(test)]
mod control;
#[cfg(test)]
mod delta;
#[cfg(test)]
mod endpoint;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod notifications;
#[cfg(test)]
mod people;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod sending;
#[cfg(test)]
mod subscriptions;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod transport;
#[cfg(test)]
mod uploads;
