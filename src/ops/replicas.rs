//! Replicas that work on one database: who they are, and whether they are configured alike.
//!
//! Nothing must agree between them for mail to be safe; but a route that one of them does not know is a route on which
//! it delivers nothing, so where they differ somebody is told.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::clock::{UnixMillis, rfc3339};
use crate::store::Replica;

/// An update takes a while to reach all; replicas of different versions for longer than this are told of.
const UPDATE_MS: i64 = 30 * 60 * 1000;

/// What differs between replicas, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The parts that differ: `mailboxes`, `routes`, `settings`, `tenants`, `version`.
    pub parts: BTreeSet<String>,
    /// Since when the youngest of them works so.
    pub since: UnixMillis,
    /// The names of those that agree, group by group.
    pub groups: Vec<Vec<String>>,
}

/// What differs between these replicas; none where they are alike. Those of different versions are not compared with
/// each other.
pub fn drift(replicas: &[Replica], now: UnixMillis) -> Option<Drift> {
    let mut versions: BTreeMap<&str, Vec<&Replica>> = BTreeMap::new();
    for replica in replicas {
        versions.entry(&replica.shows.version).or_default().push(replica);
    }
    let mut parts = BTreeSet::new();
    let mut groups: BTreeMap<(&str, &BTreeMap<String, String>), Vec<&Replica>> = BTreeMap::new();
    for (version, alike) in &versions {
        for replica in alike {
            groups.entry((version, &replica.shows.parts)).or_default().push(replica);
        }
        let names: BTreeSet<&String> = alike.iter().flat_map(|it| it.shows.parts.keys()).collect();
        let differs = |part: &&String| {
            let sums: BTreeSet<_> = alike.iter().map(|it| it.shows.parts.get(*part)).collect();
            sums.len() > 1
        };
        parts.extend(names.into_iter().filter(differs).cloned());
    }
    let mut since = replicas.iter().map(|it| it.shows.configured_at).max()?;
    if versions.len() > 1 {
        let updated = replicas.iter().map(|it| it.shows.started_at).max()?;
        if now - updated > UPDATE_MS {
            parts.insert("version".to_owned());
            since = since.max(updated);
        }
    }
    if parts.is_empty() {
        return None;
    }
    let name = |it: &&Replica| it.shows.name.clone();
    Some(Drift { parts, since, groups: groups.values().map(|it| it.iter().map(name).collect()).collect() })
}

impl Drift {
    /// For a person: what differs, since when, and who agrees with whom.
    pub fn sentence(&self) -> String {
        let parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        let groups: Vec<String> = self.groups.iter().map(|it| it.join(", ")).collect();
        format!(
            "replicas differ in {} since {}: {}; give all of them one configuration",
            parts.join(", "),
            rfc3339(self.since),
            groups.join(" | ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Presence;

    fn replica(name: &str, version: &str, routes: &str, at: UnixMillis) -> Replica {
        let parts = [("mailboxes", "m"), ("routes", routes)].map(|(part, sum)| (part.to_owned(), sum.to_owned()));
        let (name, version) = (name.to_owned(), version.to_owned());
        let shows = Presence { name, version, started_at: at, configured_at: at, parts: parts.into() };
        Replica { number: 1, seen_at: at, shows }
    }

    #[test]
    fn what_differs_is_named_with_who_agrees_and_since_when() {
        let alike = [replica("a", "1", "r", 0), replica("b", "1", "r", 5)];
        assert_eq!(drift(&alike, 10), None);
        let [a, b] = alike;
        let all = [a.clone(), b.clone(), replica("c", "1", "other", 7)];
        let found = drift(&all, 10).unwrap();
        assert_eq!(found.parts, BTreeSet::from(["routes".to_owned()]));
        assert_eq!((found.since, found.groups.len()), (7, 2));
        assert!(found.sentence().contains("differ in routes since 1970-01-01T00:00:00.007Z"), "{}", found.sentence());
        assert!(found.sentence().contains("a, b"), "{}", found.sentence());
    }

    #[test]
    fn an_update_is_given_its_time() {
        let all = [replica("a", "1", "r", 0), replica("b", "2", "another form of the same", 5)];
        assert_eq!(drift(&all, UPDATE_MS), None);
        let found = drift(&all, UPDATE_MS + 6).unwrap();
        assert_eq!(found.parts, BTreeSet::from(["version".to_owned()]));
    }
}
