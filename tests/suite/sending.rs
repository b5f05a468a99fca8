//! What the stories of sending share: mails that are handed in, and where they stand.

use std::time::{Duration, Instant};

use mailspan::mail::compose::Submission as Written;
use mailspan::model::submission::SubmissionState;
use mailspan::outbound::{Offer, Offered};
use mailspan::store::Submission;
use mailspan_tenant::{MessageState, Tenant};

use crate::outbound_accept::{mail, offer};
use crate::world::{Bridge, SUPPORT, TURN, World};

/// What has not happened by then does not happen: a large mail is put together more than once on its way.
const PATIENCE: Duration = Duration::from_secs(180);

/// A mail from the support mailbox.
pub(crate) fn about(subject: &str) -> Offer {
    offer(Written { subject: subject.into(), ..mail(SUPPORT) }, None)
}

/// The same, changed.
pub(crate) fn written(mut offer: Offer, change: impl FnOnce(&mut Written)) -> Offer {
    if let Offered::Written(mail, _) = &mut offer.mail {
        change(mail);
    }
    offer
}

/// Hands a mail in. Returns its id.
pub(crate) async fn accept(bridge: &Bridge, offer: Offer) -> String {
    bridge.daemon.outbound().accept(offer).await.unwrap().id
}

/// A submission as it stands.
pub(crate) async fn submission(bridge: &Bridge, id: &str) -> Submission {
    bridge.daemon.store.submission(id).await.unwrap().unwrap()
}

/// Waits until it stands so.
pub(crate) async fn until_state(bridge: &Bridge, id: &str, state: SubmissionState) -> Submission {
    let begun = Instant::now();
    loop {
        let row = submission(bridge, id).await;
        if row.state == state {
            return row;
        }
        assert!(!row.state.is_final(), "{row:?}");
        assert!(begun.elapsed() < PATIENCE, "after {PATIENCE:?} it is not {}: {row:?}", state.as_str());
        tokio::time::sleep(TURN).await;
    }
}

/// Waits until it is sent, letting time pass for the bridge meanwhile, half a minute at a time.
pub(crate) async fn until_sent_later(world: &World, bridge: &Bridge, id: &str) -> Submission {
    let begun = Instant::now();
    loop {
        let row = submission(bridge, id).await;
        if row.state == SubmissionState::Sent {
            return row;
        }
        assert!(begun.elapsed() < PATIENCE, "after {PATIENCE:?} it is not sent: {row:?}");
        pass_between(world, bridge, Duration::from_secs(30)).await;
    }
}

/// Lets time pass for the bridge while no mail is being worked on: an attempt under way would outlive its lease by it.
pub(crate) async fn pass_between(world: &World, bridge: &Bridge, by: Duration) {
    let held = "SELECT COUNT(*) FROM jobs WHERE kind = 'send' AND leased_until IS NOT NULL";
    let begun = Instant::now();
    while world.number(held).await > 0 {
        assert!(begun.elapsed() < PATIENCE, "after {PATIENCE:?} an attempt has not ended");
        tokio::time::sleep(TURN).await;
    }
    bridge.pass(by).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// The subjects of what left the tenant, sorted.
pub(crate) fn left(tenant: &Tenant) -> Vec<String> {
    let mut subjects: Vec<_> = tenant.sent().into_iter().map(|it| it.subject).collect();
    subjects.sort();
    subjects
}

/// What lies in a folder of the support mailbox.
pub(crate) fn lies_in(tenant: &Tenant, folder: &str) -> Vec<MessageState> {
    tenant.messages(SUPPORT).into_iter().filter(|it| it.folder == folder).collect()
}
