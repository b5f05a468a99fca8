//! What comes back of a submission, and what its submitter is told, in the store: noted with the message that says so.

use std::time::Duration;

use mailspan::model::bounce::{Bounce, BounceAction, Returned};
use mailspan::model::reason::{Code, Reason};
use mailspan::model::submission::SubmissionState;
use mailspan::model::work::{Lane, Work};
use mailspan::store::{
    DeliveryFilter, DeliveryId, DeliveryState, Discarded, End, Mark, MarkWhen, MessageState, NewSubmission, Replayed,
    Step, Then, Tie,
};

use crate::store_submissions::{lane, new, sent, submitted, told};
use crate::store_world::*;

fn bounce(recipient: &str, action: BounceAction) -> Bounce {
    Bounce { recipient: Some(recipient.into()), action, status: Some("5.1.1".into()), diagnostic: None }
}

on_both! {
    async fn a_report_that_is_faster_than_our_look_waits_for_it(world: World) {
        use BounceAction::{Delayed, Failed};
        let store = world.open().await;
        let row = submitted(&store, new("sub_1")).await;
        let job = only(&store, &lane()).await;
        let report = fetch(&store, &world, &mailbox("support"), "report").await;
        for step in [Step::Drafting, Step::Leaving] {
            assert!(store.sending_step(job.claim, row.number, step, Then::GoesOn).await.unwrap());
        }
        let tie = |bounces| Tie { number: row.number, id: row.id.clone(), bounces };
        let told_of = tie(vec![bounce("bob@x.example", Delayed), bounce("eve@x.example", Failed)]);
        assert_eq!(store.returned(report.0, report.1, told_of, MarkWhen::OnDelivered).await.unwrap(), Some(true));
        let row = store.submission("sub_1").await.unwrap().unwrap();
        assert_eq!((row.state, row.left_at), (SubmissionState::Sending, Some(START)), "it has left, whatever else is unknown");
        assert!(told(&store, &row).await.is_empty());
        assert!(store.sending_step(job.claim, row.number, sent(), Then::GoesOn).await.unwrap());
        let row = store.submission("sub_1").await.unwrap().unwrap();
        assert_eq!(row.state, SubmissionState::Bounced);
        let all = told(&store, &row).await;
        assert!(all.contains(&("submission.sent".into(), false)) && all.contains(&("submission.bounced".into(), false)));
    }

    async fn the_first_failure_makes_it_bounced_and_further_recipients_are_added(world: World) {
        use BounceAction::{Delayed, Failed, Relayed};
        let store = world.open().await;
        let row = submitted(&store, new("sub_1")).await;
        let job = only(&store, &lane()).await;
        assert!(store.sending_step(job.claim, row.number, sent(), Then::GoesOn).await.unwrap());
        let state = async || store.submission("sub_1").await.unwrap().unwrap().state;
        for (n, (bounces, is_first, expected)) in [
            (vec![bounce("bob@x.example", Delayed), bounce("eve@x.example", Relayed)], false, SubmissionState::Sent),
            (vec![bounce("bob@x.example", Failed)], true, SubmissionState::Bounced),
            (vec![bounce("bob@x.example", Delayed), bounce("ann@x.example", Failed)], false, SubmissionState::Bounced),
        ].into_iter().enumerate() {
            let (claim, message) = fetch(&store, &world, &mailbox(&format!("m{n}")), "report").await;
            let tie = Tie { number: row.number, id: row.id.clone(), bounces };
            let first = store.returned(claim, message, tie.clone(), MarkWhen::OnDelivered).await.unwrap();
            assert_eq!((first, state().await), (Some(is_first), expected), "{n}");
            assert_eq!(store.returned(claim, message, tie, MarkWhen::OnDelivered).await.unwrap(), None, "that claim is over");
            let ended = store.message(message).await.unwrap().unwrap();
            assert_eq!((ended.state, ended.mark), (MessageState::Filtered, Mark::Due));
            assert_eq!(ended.state_reason.as_deref(), Some("bounce of submission sub_1"));
        }
        let all = store.bounces(row.number).await.unwrap();
        let said: Vec<_> = all.iter().map(|it| (it.recipient.as_str(), it.action.as_str())).collect();
        assert_eq!(said.len(), 3);
        for expected in [("bob@x.example", "failed"), ("eve@x.example", "relayed"), ("ann@x.example", "failed")] {
            assert!(said.contains(&expected), "{expected:?}: a failure is the last word");
        }
        let kinds: Vec<String> = told(&store, &row).await.into_iter().map(|it| it.0).collect();
        assert_eq!(kinds.iter().filter(|it| *it == "submission.bounced").count(), 1, "{kinds:?}");
    }

    async fn a_report_is_about_the_mail_it_names_and_never_about_another_tenants(world: World) {
        let store = world.open().await;
        let id = |n: u8| format!("sub_{n:032x}");
        let by_hand = |n: u8| NewSubmission { message_id: format!("own{n}@contoso.com"), ..new(&id(n)) };
        for n in [1, 2] {
            submitted(&store, new(&id(n))).await;
        }
        for n in [3, 4] {
            submitted(&store, by_hand(n)).await;
        }
        store.cancel_submission(&id(4)).await.unwrap();
        let job = claim(&store, &lane(), 1).await.jobs.remove(0);
        let Work::Send { submission, .. } = job.work else { panic!("a submission") };
        assert!(store.sending_step(job.claim, submission, sent(), Then::GoesOn).await.unwrap());
        let found = async |tenant: &str, submissions: &[String], message_ids: &[&str]| {
            let message_ids = message_ids.iter().map(|it| (*it).to_owned()).collect();
            let said = Returned { submissions: submissions.to_vec(), message_ids, bounces: vec![] };
            store.tie(tenant, said).await.unwrap().map(|it| it.id)
        };
        let ours = format!("{}@contoso.com", id(2));
        assert_eq!(found("contoso", &[id(1)], &[&ours]).await, Some(id(1)), "our own field is the surest");
        assert_eq!(found("contoso", &[], &["unknown@x", &ours]).await, Some(id(2)));
        assert_eq!(found("contoso", &[id(9)], &["exchange@contoso.com"]).await, Some(id(1)));
        assert_eq!(found("contoso", &[], &["own3@contoso.com"]).await, Some(id(3)));
        assert_eq!(found("contoso", &[], &["own4@contoso.com"]).await, None, "what was taken back never left");
        assert_eq!(found("contoso", &[id(9)], &["unknown@x"]).await, None);
        assert_eq!(found("contoso", &[], &[]).await, None);
        assert_eq!(found("fabrikam", &[id(1)], &[&ours, "exchange@contoso.com"]).await, None);
    }

    async fn a_callback_that_is_parked_stands_among_the_deliveries(world: World) {
        let store = world.open().await;
        let row = submitted(&store, new("sub_1")).await;
        let job = only(&store, &lane()).await;
        assert!(store.sending_step(job.claim, row.number, sent(), Then::GoesOn).await.unwrap());
        let listed = async || {
            let page = store.deliveries(&DeliveryFilter::default(), None, 10).await.unwrap();
            page.into_iter().map(|it| (it.id, it.route, it.state, it.code)).collect::<Vec<_>>()
        };
        let call = only(&store, &Lane::callbacks()).await;
        let Work::Callback { callback } = &call.work else { panic!("a callback") };
        let which = DeliveryId::Callback(callback.clone());
        assert_eq!(callback.parse::<DeliveryId>().unwrap(), which);
        assert!(listed().await.is_empty(), "what goes on by itself needs nobody");
        let error = Reason::new(Code::Refused, "the receiver answered 400").used_up(11);
        assert!(store.settle(call.claim, End::Park { error }).await.unwrap());
        let parked = (which.clone(), None, DeliveryState::Parked, Some(Code::ScheduleUsedUp));
        assert_eq!(listed().await, [parked]);
        let page = store.deliveries(&DeliveryFilter::default(), None, 1).await.unwrap();
        assert!(store.deliveries(&DeliveryFilter::default(), Some(&page[0].cursor()), 1).await.unwrap().is_empty());

        assert_eq!(store.replay(vec![which.clone()], false).await.unwrap(), [Replayed::Due]);
        assert!(listed().await.is_empty());
        let call = only(&store, &Lane::callbacks()).await;
        assert!(store.called_back(call.claim, callback, (1, Duration::from_millis(7))).await.unwrap());
        assert_eq!(store.discard(which.clone(), "ops", "no").await.unwrap(), Discarded::Accepted);
        assert_eq!(store.replay(vec![which.clone()], false).await.unwrap(), [Replayed::Accepted]);
        assert_eq!(store.replay(vec![which.clone()], true).await.unwrap(), [Replayed::Due]);
        assert_eq!(store.discard(which.clone(), "ops", "not needed").await.unwrap(), Discarded::Done);
        assert_eq!(store.discard(which.clone(), "ops", "not needed").await.unwrap(), Discarded::Before);
        let story = store.delivery_story(&which).await.unwrap().unwrap();
        assert_eq!(story.line.state, DeliveryState::Discarded);
        assert_eq!(story.line.discarded.unwrap().1, "ops");
        assert_eq!(story.attempts.len(), 2, "the one that was refused, and the one that was taken before the replay");
        assert!(claim(&store, &Lane::callbacks(), 1).await.jobs.is_empty());
        let unknown = DeliveryId::Callback("cb_9".into());
        assert_eq!(store.replay(vec![unknown.clone()], true).await.unwrap(), [Replayed::Unknown]);
        assert_eq!(store.discard(unknown, "ops", "no").await.unwrap(), Discarded::Unknown);
    }
}
