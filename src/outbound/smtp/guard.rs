//! Who has had too much: connections at once, passwords that were wrong, mails in a minute. Rules over what happened,
//! in bounded memory; the time is an argument.
//!
//! A password counts as wrong from the moment it comes until it proves right, so guessing many at once is no quicker than one
//! after the other. A wrong password costs its address a growing wait and at last a quarter of an hour outside; a user under attack from
//! many addresses waits as well. Whoever guesses must not lock out who knows: an address that knew the password within
//! the last day waits no longer for what others did to its user, and may be wrong ten times as often.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::model::clock::UnixMillis;

/// So many connections at once, in all and from one address.
pub(super) const MOST_CONNECTIONS: usize = 256;
const MOST_FROM_ONE: usize = 64;
/// Wrong passwords of one address, and of one user from anywhere, before a block.
const MOST_WRONG: u32 = 10;
const MOST_WRONG_OF_KNOWN: u32 = 100;
const MOST_WRONG_OF_USER: u32 = 50;
/// How long a block lasts, and how long a wrong password is remembered.
const BLOCK_MS: i64 = 15 * 60_000;
/// The wait for each wrong password of late, and the longest.
const WAIT_MS: u64 = 1_000;
const LONGEST_WAIT_MS: u64 = 8_000;
/// How long an address counts as one that knows a user's password.
const KNOWN_MS: i64 = 24 * 60 * 60_000;
/// So many addresses and users are remembered.
const REMEMBERED: usize = 10_000;
const MINUTE_MS: i64 = 60_000;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Guard {
    connections: HashMap<IpAddr, usize>,
    all_connections: usize,
    addresses: Memory<IpAddr>,
    users: Memory<String>,
    known: HashMap<(IpAddr, String), UnixMillis>,
    mails: HashMap<String, (UnixMillis, u32)>,
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There are too many, in all or from there.
    Connections,
    /// Too many passwords from there were wrong.
    Blocked,
}

/// A password that is being looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    /// How long the answer has to wait.
    pub(super) wait: Duration,
    /// Whether it counts against its user until it proves right.
    counts_for_user: bool,
}

/// Wrong passwords of late.
#[derive(Debug)]
struct Memory<K>(HashMap<K, (u32, UnixMillis)>);

impl<K> Default for Memory<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Memory<K> {
    /// How many there were. All of them count until the last is long ago.
    fn wrong(&self, key: &K, now: UnixMillis) -> u32 {
        self.0.get(key).filter(|(_, last)| now - last < BLOCK_MS).map_or(0, |(count, _)| *count)
    }

    fn add(&mut self, key: &K, now: UnixMillis) {
        let count = self.wrong(key, now).saturating_add(1);
        make_room(&mut self.0, |(_, last)| *last, now - BLOCK_MS);
        self.0.insert(key.clone(), (count, now));
    }

    /// One that was counted proved right.
    fn take_back(&mut self, key: &K) {
        if let Some((count, _)) = self.0.get_mut(key) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Forgets what is older than `since`, and if all is of late, the oldest.
fn make_room<K: Eq + Hash + Clone, V>(map: &mut HashMap<K, V>, at: impl Fn(&V) -> UnixMillis, since: UnixMillis) {
    if map.len() < REMEMBERED {
        return;
    }
    map.retain(|_, value| at(value) > since);
    while map.len() >= REMEMBERED {
        let Some(oldest) = map.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone()) else { return };
        map.remove(&oldest);
    }
}

/// A network of IPv6 is one customer's: its addresses count as one.
fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

impl Guard {
    /// A connection comes.
    pub(super) fn admit(&mut self, address: IpAddr, now: UnixMillis) -> Result<(), Full> {
        let address = party(address);
        let wrong = self.addresses.wrong(&address, now);
        if wrong >= MOST_WRONG {
            let is_known = self.known.iter().any(|((it, _), at)| *it == address && now - at < KNOWN_MS);
            if !is_known || wrong >= MOST_WRONG_OF_KNOWN {
                return Err(Full::Blocked);
            }
        }
        let from_there = self.connections.entry(address).or_default();
        if self.all_connections >= MOST_CONNECTIONS || *from_there >= MOST_FROM_ONE {
            if *from_there == 0 {
                self.connections.remove(&address);
            }
            return Err(Full::Connections);
        }
        *from_there += 1;
        self.all_connections += 1;
        Ok(())
    }

    /// A connection that was admitted is over.
    pub(super) fn left(&mut self, address: IpAddr) {
        let address = party(address);
        if let Some(from_there) = self.connections.get_mut(&address) {
            *from_there -= 1;
            self.all_connections -= 1;
            if *from_there == 0 {
                self.connections.remove(&address);
            }
        }
    }

    /// A password comes. `None`: it is not even looked at.
    pub(super) fn begin(&mut self, address: IpAddr, user: &str, now: UnixMillis) -> Option<Begun> {
        let address = party(address);
        let of_address = self.addresses.wrong(&address, now);
        let is_known = self.known.get(&(address, user.to_owned())).is_some_and(|it| now - it < KNOWN_MS);
        let of_user = if is_known { 0 } else { self.users.wrong(&user.to_owned(), now) };
        let most = if is_known { MOST_WRONG_OF_KNOWN } else { MOST_WRONG };
        if of_address >= most || of_user >= MOST_WRONG_OF_USER {
            return None;
        }
        let wait = u64::from(of_address.max(of_user / 5)) * WAIT_MS;
        self.addresses.add(&address, now);
        // Who knew it before logs in all day long, and must not keep an attack on his user in memory.
        if !is_known {
            self.users.add(&user.to_owned(), now);
        }
        Some(Begun { wait: Duration::from_millis(wait.min(LONGEST_WAIT_MS)), counts_for_user: !is_known })
    }

    /// A password was wrong.
    pub(super) fn wrong(&mut self, begun: Begun, user: &str, now: UnixMillis) {
        if !begun.counts_for_user {
            self.users.add(&user.to_owned(), now);
        }
    }

    /// A password was right.
    pub(super) fn right(&mut self, begun: Begun, address: IpAddr, user: &str, now: UnixMillis) {
        let address = party(address);
        self.addresses.0.remove(&address);
        if begun.counts_for_user {
            self.users.take_back(&user.to_owned());
        }
        make_room(&mut self.known, |at| *at, now - KNOWN_MS);
        self.known.insert((address, user.to_owned()), now);
    }

    /// Whether a user may hand in one more mail in this minute.
    pub(super) fn may_send(&mut self, user: &str, most: Option<u32>, now: UnixMillis) -> bool {
        let Some(most) = most else { return true };
        let (began, count) = self.mails.entry(user.to_owned()).or_insert((now, 0));
        if !(*began..*began + MINUTE_MS).contains(&now) {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// One login: how long its answer waits, and whether it is looked at.
    fn tries(guard: &mut Guard, address: IpAddr, user: &str, now: UnixMillis, is_right: bool) -> Option<u64> {
        let begun = guard.begin(address, user, now)?;
        match is_right {
            true => guard.right(begun, address, user, now),
            false => guard.wrong(begun, user, now),
        }
        Some(begun.wait.as_secs())
    }

    fn there(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from(number))
    }

    #[test]
    fn wrong_passwords_cost_more_and_more_and_at_last_the_door_is_shut() {
        let mut guard = Guard::default();
        let waits: Vec<_> = (0..10).map(|number| tries(&mut guard, HERE, "desk", number, false)).collect();
        assert_eq!(waits, [0, 1, 2, 3, 4, 5, 6, 7, 8, 8].map(Some));
        assert_eq!(guard.begin(HERE, "other", 10), None);
        assert_eq!(guard.admit(HERE, 10), Err(Full::Blocked));
        assert_eq!(guard.admit(there(9), 10), Ok(()), "others are not meant");
        assert_eq!(guard.admit(HERE, 10 + BLOCK_MS), Ok(()));
        assert_eq!(tries(&mut guard, HERE, "desk", 10 + BLOCK_MS, false), Some(0));
    }

    #[test]
    fn many_guesses_at_once_are_no_more_than_as_many_one_after_the_other() {
        let mut guard = Guard::default();
        let begun: Vec<_> = (0..64).map(|_| guard.begin(HERE, "desk", 0)).collect();
        let waits: Vec<_> = begun.iter().flatten().map(|it| it.wait.as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 3, 4, 5, 6, 7, 8, 8], "the rest is not looked at");
        begun.into_iter().flatten().for_each(|it| guard.wrong(it, "desk", 1));
        assert_eq!((guard.addresses.wrong(&HERE, 1), guard.users.wrong(&"desk".to_owned(), 1)), (10, 10));
    }

    #[test]
    fn many_right_logins_at_once_leave_nothing_behind() {
        let mut guard = Guard::default();
        let begun: Vec<_> = (0..5).filter_map(|_| guard.begin(HERE, "desk", 0)).collect();
        begun.into_iter().for_each(|it| guard.right(it, HERE, "desk", 0));
        assert_eq!((guard.addresses.wrong(&HERE, 1), guard.users.wrong(&"desk".to_owned(), 1)), (0, 0));
        assert!((0..64).all(|now| tries(&mut guard, HERE, "desk", now, true) == Some(0)));
        assert_eq!(guard.users.wrong(&"desk".to_owned(), 64), 0);
    }

    #[test]
    fn who_hangs_up_before_the_answer_was_wrong() {
        let mut guard = Guard::default();
        for _ in 0..MOST_WRONG {
            guard.begin(HERE, "desk", 0);
        }
        assert_eq!((guard.begin(HERE, "desk", 1), guard.admit(HERE, 1)), (None, Err(Full::Blocked)));
    }

    #[test]
    fn who_knows_the_password_is_not_locked_out_by_who_guesses() {
        let mut guard = Guard::default();
        tries(&mut guard, HERE, "desk", 0, true);
        for number in 1..=MOST_WRONG_OF_USER {
            tries(&mut guard, there(number), "desk", 1, false);
        }
        assert_eq!(tries(&mut guard, there(1_000), "desk", 2, true), None, "a stranger");
        assert_eq!(tries(&mut guard, HERE, "desk", 2, true), Some(0));
        assert_eq!(tries(&mut guard, there(1_000), "other", 2, true), Some(0));
        assert_eq!(tries(&mut guard, there(2_000), "desk", 1 + BLOCK_MS, true), Some(0), "what he did kept nothing");
        assert_eq!(tries(&mut guard, HERE, "desk", KNOWN_MS, true), Some(0), "the attack is over by then");
    }

    #[test]
    fn one_program_with_a_wrong_password_does_not_shut_out_another_beside_it() {
        let mut guard = Guard::default();
        tries(&mut guard, HERE, "crm", 0, true);
        for _ in 0..MOST_WRONG {
            tries(&mut guard, HERE, "desk", 1, false);
        }
        assert_eq!((guard.admit(HERE, 2), guard.begin(HERE, "desk", 2)), (Ok(()), None));
        assert_eq!(tries(&mut guard, HERE, "crm", 2, false), Some(8));
        for _ in 0..MOST_WRONG_OF_KNOWN {
            tries(&mut guard, HERE, "crm", 3, false);
        }
        assert_eq!((guard.admit(HERE, 4), guard.begin(HERE, "crm", 4)), (Err(Full::Blocked), None));
    }

    #[test]
    fn a_right_password_forgives_the_address_its_wrong_ones() {
        let mut guard = Guard::default();
        for _ in 0..9 {
            tries(&mut guard, HERE, "desk", 0, false);
        }
        tries(&mut guard, HERE, "desk", 1, true);
        assert_eq!(tries(&mut guard, HERE, "desk", 2, true), Some(0));
    }

    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let mut guard = Guard::default();
        let network = |last: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        for number in 0..MOST_FROM_ONE {
            assert_eq!(guard.admit(network(u16::try_from(number).unwrap()), 0), Ok(()));
        }
        assert_eq!(guard.admit(network(9), 0), Err(Full::Connections), "one network, one party");
        guard.left(network(500));
        assert_eq!(guard.admit(network(9), 0), Ok(()));
        let mut number = 0;
        while guard.admit(there(number), 0).is_ok() {
            number += 1;
        }
        assert_eq!(number as usize + MOST_FROM_ONE, MOST_CONNECTIONS);
        (0..number).for_each(|it| guard.left(there(it)));
        (0..MOST_FROM_ONE).for_each(|_| guard.left(network(9)));
        assert!(guard.connections.is_empty() && guard.all_connections == 0);
        guard.left(HERE);
    }

    #[test]
    fn what_is_remembered_has_bounds() {
        let mut guard = Guard::default();
        for number in 0..u32::try_from(REMEMBERED).unwrap() + 100 {
            for is_right in [false, true, false] {
                tries(&mut guard, there(number), &number.to_string(), i64::from(number), is_right);
            }
        }
        assert!(guard.addresses.0.len() <= REMEMBERED && guard.users.0.len() <= REMEMBERED);
        assert!(guard.known.len() <= REMEMBERED);
    }

    #[test]
    fn mails_of_a_user_are_counted_by_the_minute() {
        let mut guard = Guard::default();
        let mut may = |now| guard.may_send("desk", Some(2), now);
        assert_eq!(
            [may(0), may(1), may(2), may(59_999), may(60_000), may(60_001)],
            [true, true, false, false, true, true]
        );
        assert!((0..1_000).all(|_| guard.may_send("desk", None, 0)));
    }
}
