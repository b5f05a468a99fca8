//! Step 8: Graph's subscriptions of each mailbox, held against what the configuration wants.
//!
//! Pure. The daemon makes and renews them; where it does not run, none is no trouble.

use super::codes;
use super::credentials::of_tenant;
use super::finding::{Finding, Step};
use super::mailbox::said;
use crate::graph::{GraphError, Subscription};
use crate::identity::config::TenantConfig;
use crate::identity::expiry;
use crate::model::address::Address;
use crate::model::clock::UnixMillis;

/// The daemon renews by half a life of seven days, so less than this is left only where nobody renews.
const SOON_MS: i64 = 24 * 3600 * 1000;

/// What a subscription is held against.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) tenant: &'a TenantConfig,
    /// Where Graph is to post.
    pub(super) notification_url: &'a str,
    /// Where the daemon's private listener is, if it runs.
    pub(super) daemon: Option<&'a str>,
    pub(super) now: UnixMillis,
}

/// How push stands for one mailbox.
pub(super) fn judge(
    address: &Address,
    folder: &str,
    listed: &Result<Vec<Subscription>, GraphError>,
    wanted: Wanted<'_>,
) -> Vec<Finding> {
    let mut facts = of_tenant(wanted.tenant);
    facts.push(("mailbox", address.as_str().to_owned()));
    facts.extend(wanted.daemon.map(|it| ("admin", it.to_owned())));
    let step = Step::Subscriptions;
    let found = |entry, more: Vec<(&'static str, String)>| {
        Finding::of(entry, step, address.as_str(), facts.iter().cloned().chain(more).collect())
    };
    let all = match listed {
        Ok(all) => all,
        Err(error) => return vec![found(&codes::SUBSCRIPTIONS_NOT_LISTED, vec![("graph", said(error))])],
    };
    let of_mailbox = all.iter().filter(|it| it.is_of(address, folder) && it.expires_at > wanted.now);
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        of_mailbox.partition(|it| it.notification_url.as_deref().is_none_or(|url| url == wanted.notification_url));
    let mut said: Vec<Finding> = elsewhere
        .iter()
        .map(|it| found(&codes::SUBSCRIPTION_ELSEWHERE, vec![("url", it.notification_url.clone().unwrap_or_default())]))
        .collect();
    if here.len() > 1 {
        said.push(found(&codes::SUBSCRIPTION_DOUBLED, vec![("count", here.len().to_string())]));
    }
    match here.iter().map(|it| it.expires_at).max() {
        Some(ends_at) if ends_at - wanted.now < SOON_MS => {
            said.push(found(&codes::SUBSCRIPTION_ENDS_SOON, vec![("told", expiry::told(ends_at, wanted.now))]));
        }
        Some(ends_at) if said.is_empty() => {
            let what = format!("Graph pushes for this mailbox; its subscription {}", expiry::told(ends_at, wanted.now));
            said.push(Finding::pass(step, address.as_str(), what, facts.clone()));
        }
        None if wanted.daemon.is_some() => said.push(found(&codes::SUBSCRIPTION_MISSING, Vec::new())),
        None if said.is_empty() => {
            let why = "There is no subscription yet; the daemon makes it when it runs";
            said.push(Finding::skipped(step, address.as_str(), why));
        }
        Some(_) | None => {}
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;
    const HERE: &str = "https://bridge.example/graph/notifications";

    fn subscription(resource: &str, url: &str, expires_at: i64) -> Subscription {
        Subscription {
            id: "1".into(),
            expires_at,
            resource: Some(resource.into()),
            notification_url: Some(url.into()),
            change_type: None,
        }
    }

    #[test]
    fn push_is_judged_by_whose_subscriptions_stand_and_for_how_long() {
        let text = "name = 'contoso'\ntenant_id = 'tid'\nclient_id = 'cid'\ncredentials = []";
        let tenant: TenantConfig = toml::from_str(text).unwrap();
        let address = Address::parse("support@contoso.example").unwrap();
        let ours = "Users/Support@contoso.example/mailFolders('Inbox')/messages";
        let of = |url: &str, days: i64| subscription(ours, url, days * DAY);
        let there = "https://old.example/graph/notifications";
        for (listed, runs, expected) in [
            (vec![of(HERE, 5)], true, vec!["ok"]),
            (vec![of(HERE, 5)], false, vec!["ok"]),
            (vec![], true, vec!["subscription_missing"]),
            (vec![], false, vec!["skipped"]),
            (vec![of(HERE, -1)], true, vec!["subscription_missing"]),
            (vec![of(HERE, 5), of(HERE, 4)], true, vec!["subscription_doubled"]),
            (vec![of(there, 5)], false, vec!["subscription_elsewhere"]),
            (vec![of(there, 5), of(HERE, 5)], true, vec!["subscription_elsewhere"]),
            (
                vec![subscription("users/b@contoso.example/mailFolders('inbox')/messages", HERE, DAY)],
                false,
                vec!["skipped"],
            ),
        ] {
            let wanted =
                Wanted { tenant: &tenant, notification_url: HERE, daemon: runs.then_some("127.0.0.1:9090"), now: 0 };
            let found: Vec<_> =
                judge(&address, "inbox", &Ok(listed.clone()), wanted).iter().map(|it| it.code).collect();
            assert_eq!(found, expected, "{listed:?}");
        }
        let wanted = Wanted { tenant: &tenant, notification_url: HERE, daemon: None, now: 0 };
        let soon = subscription(ours, HERE, DAY - 1);
        assert_eq!(judge(&address, "inbox", &Ok(vec![soon]), wanted)[0].code, "subscription_ends_soon");
        let refused = Err(GraphError::LeadsElsewhere);
        assert_eq!(judge(&address, "inbox", &refused, wanted)[0].code, "subscriptions_not_listed");
    }
}
