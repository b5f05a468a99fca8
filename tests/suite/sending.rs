//! What the stories of sending share: mails that are handed in, and where they stand.

use std::time::Duration;

use mailspan::mail::compose::Submission as Written;
use mailspan::model::submission::SubmissionState;
use mailspan::outbound::{Offer, Offered};
use mailspan::store::Submission;
use mailspan_tenant::{MessageState, Tenant};

use crate::outbound_accept::{mail, offer};
use crate::world::{Bridge, SUPPORT, until};

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
    until(state.as_str(), async || {
        let row = submission(bridge, id).await;
        assert!(!row.state.is_final() || row.state == state, "{row:?}");
        (row.state == state).then_some(row)
    })
    .await
}

/// Waits until it is sent, letting time pass for the bridge meanwhile, half a minute at a time.
pub(crate) async fn until_sent_later(bridge: &Bridge, id: &str) -> Submission {
    until("sent, later", async || {
        let row = submission(bridge, id).await;
        if row.state == SubmissionState::Sent {
            return Some(row);
        }
        bridge.pass(Duration::from_secs(30)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        None
    })
    .await
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
