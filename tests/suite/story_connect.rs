//! Mail becomes contacts of Amazon Connect: one per mail, each related to the one before it in its thread.

use crate::connect::{Connect, Reply};
use crate::story_genesys::{link, patient};
use crate::world::{Bridge, Plan, SUPPORT, World};

fn to_connect(world: &World, connect: &Connect) -> Plan {
    let plan = world.bare_plan().text("server", "content_url", "https://bridge.example").mailbox(SUPPORT, "");
    plan.route_to("connect", &patient(), &connect.section("timeout = '3s'"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_a_chain_of_contacts_whatever_answers_are_lost() {
    let world = World::new().await;
    let connect = Connect::start().await;
    connect.will([Reply::TakeAndHang, Reply::Refuse(429, "ThrottlingException"), Reply::Hang]);
    let bridge = Bridge::start(&to_connect(&world, &connect)).await;
    for n in 0..3 {
        let mail = world.tenant.receive(SUPPORT, link(n));
        world.until_read(&mail).await;
    }
    bridge.stop().await;
    let contacts = connect.contacts();
    let subjects: Vec<_> = contacts.iter().map(|it| &it["EmailMessage"]["RawMessage"]["Subject"]).collect();
    assert_eq!(subjects, ["Link 0", "Link 1", "Link 2"]);
    let related: Vec<_> = contacts.iter().map(|it| it["RelatedContactId"].as_str()).collect();
    assert_eq!(related, [None, Some("contact-0"), Some("contact-1")]);
    assert!(
        contacts
            .iter()
            .all(|it| it["References"]["mail"]["Value"].as_str().unwrap().starts_with("https://bridge.example/"))
    );
}
