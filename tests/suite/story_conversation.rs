//! A conversation of a customer and an agent through the bridge is one: for whoever reads the interactions, and in the
//! customer's own mail program.

use mailspan::mail::compose::Automatic;
use mailspan::mail::parse::{Mail, parse};
use mailspan::model::submission::SubmissionState;
use mailspan::outbound::{Answers, Offer};
use mailspan_tenant::{Quirks, SentMail};
use serde_json::Value;

use crate::sending::{about, accept, submission, until_state, written};
use crate::world::{self, Bridge, Interaction, SUPPORT, World, until, until_so};

const SALES: &str = "sales@contoso.example";
const TURNS: usize = 5;

/// The customer's mail: the first, or an answer that names what it answers as mail programs do.
fn writes(n: usize, answered: Option<&Mail>) -> Vec<u8> {
    let mut head = format!("From: Ann <ann@example.org>\r\nTo: {SUPPORT}\r\nMessage-ID: <customer-{n}@example.org>");
    if let Some(mail) = answered {
        let id = &mail.message_ids[0];
        let chain: Vec<String> = mail.references.iter().chain([id]).map(|it| format!("<{it}>")).collect();
        head += &format!("\r\nIn-Reply-To: <{id}>\r\nReferences: {}", chain.join("\r\n "));
    }
    world::written(&head, if n == 0 { "Where is my order?" } else { "Re: Where is my order?" })
}

fn thread(interaction: &Interaction) -> &Value {
    &interaction.body["data"]["thread"]
}

/// An answer to an interaction, as the door makes one.
fn answering(bridge: &Bridge, interaction: &Interaction) -> Offer {
    let message = &interaction.body["data"]["message"];
    let ids = |name: &str| -> Vec<String> {
        message[name].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let (own, before) = (ids("messageId"), ids("references"));
    let answers = Answers {
        mailbox: bridge.daemon.mailboxes()[0].clone(),
        immutable_id: interaction.immutable_id.clone(),
        interaction: Some(interaction.id.clone()),
        thread: thread(interaction)["threadId"].as_str().map(str::to_owned),
    };
    let offer = Offer { answers: Some(answers), ..about("Re: Where is my order?") };
    written(offer, |mail| {
        mail.bcc.clear();
        mail.references = [before, own.clone()].concat();
        mail.in_reply_to = own;
    })
}

async fn until_count(world: &World, count: usize) -> Vec<Interaction> {
    until_so(&format!("{count} interactions"), async || world.inbox.accepted().len() >= count).await;
    world.inbox.accepted()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_turns_are_one_conversation_on_both_sides() {
    for rename_sent in [false, true] {
        let world = World::new().await;
        world.tenant.set_quirks(Quirks { rename_sent, ..Quirks::default() });
        let bridge = Bridge::start(&world.plan()).await;
        let mut last: Option<Mail> = None;
        let mut known: Vec<String> = Vec::new();
        for n in 0..TURNS {
            world.tenant.receive(SUPPORT, writes(n, last.as_ref()));
            known.push(format!("customer-{n}@example.org"));
            let interactions = until_count(&world, n + 1).await;
            let interaction = &interactions[n];
            let before = n.checked_sub(1).map_or(Value::Null, |it| interactions[it].id.clone().into());
            assert_eq!(thread(interaction)["previousInteractionId"], before, "an answer of ours is no interaction");
            assert_eq!(
                thread(interaction)["threadId"],
                thread(&interactions[0])["threadId"],
                "turn {n}, {rename_sent}"
            );
            assert_eq!(thread(interaction)["basis"], if n == 0 { "none" } else { "in_reply_to" });

            let id = accept(&bridge, answering(&bridge, interaction)).await;
            let row = until_state(&bridge, &id, SubmissionState::Sent).await;
            assert_eq!(row.thread.as_deref(), thread(interaction)["threadId"].as_str());
            let sent: Vec<SentMail> = world.tenant.sent();
            let mail = parse(&sent[n].mime);
            assert_eq!(mail.in_reply_to, [format!("customer-{n}@example.org")]);
            assert_eq!(mail.references, known, "turn {n}: the customer's program sees one conversation");
            known.push(mail.message_ids[0].clone());
            last = Some(mail);
        }
        assert_eq!(world.inbox.accepted().len(), TURNS, "each mail of the customer is one interaction");
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_answers_what_we_began_is_in_its_conversation() {
    let world = World::new().await;
    world.tenant.set_quirks(Quirks { rename_sent: true, ..Quirks::default() });
    let bridge = Bridge::start(&world.plan()).await;
    let id = accept(&bridge, about("Your order")).await;
    let row = until_state(&bridge, &id, SubmissionState::Sent).await;
    let sent = parse(&world.tenant.sent()[0].mime);
    world.tenant.receive(SUPPORT, writes(1, Some(&sent)));
    let interactions = until_count(&world, 1).await;
    assert_eq!(thread(&interactions[0])["threadId"].as_str(), row.thread.as_deref());
    assert_eq!(
        (&thread(&interactions[0])["isNew"], &thread(&interactions[0])["basis"]),
        (&false.into(), &"in_reply_to".into())
    );
    // What another door hands in and names that answer belongs there as well.
    let next = written(about("Re: Your order"), |mail| mail.in_reply_to = vec!["customer-1@example.org".into()]);
    let next = accept(&bridge, next).await;
    assert_eq!(submission(&bridge, &next).await.thread, row.thread);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_watched_mailbox_writes_to_another_is_delivered_once_and_known_for_what_it_is() {
    let world = World::new().await;
    world.tenant.add_mailbox(SALES);
    let bridge = Bridge::start(&world.plan().mailbox(SALES, "").route("sales", "", &world.inbox)).await;
    let to_sales = |offer| {
        written(offer, |mail| {
            mail.to[0].email = SALES.into();
            mail.bcc.clear();
        })
    };
    let id = accept(&bridge, to_sales(about("Can you take this one?"))).await;
    let row = until_state(&bridge, &id, SubmissionState::Sent).await;
    let interactions = until_count(&world, 2).await;
    for interaction in &interactions {
        assert_eq!(interaction.body["data"]["classification"]["kind"], "human");
        assert_eq!(thread(interaction)["threadId"].as_str(), row.thread.as_deref(), "it is that very mail");
    }
    let automatic = written(to_sales(about("Noted")), |mail| mail.automatic = Automatic::Replied);
    accept(&bridge, automatic).await;
    let found = until("an automatic mail", async || {
        let all = world.inbox.accepted();
        all.into_iter().find(|it| it.subject == "Noted")
    })
    .await;
    let classification = &found.body["data"]["classification"];
    assert_eq!(
        (&classification["kind"], &classification["suppressAutoResponse"]),
        (&"auto_reply".into(), &true.into())
    );
    until_count(&world, 4).await;
    world.until_swept_again(2).await;
    assert_eq!(world.inbox.accepted().len(), 4, "two routes, two mails, once each");
    bridge.stop().await;
}
