//! Mail becomes conversations of Genesys Cloud: one per thread, none twice.

use crate::genesys::{Genesys, Reply};
use crate::world::{Bridge, Plan, SUPPORT, World, until_so, written};

/// Answers that are lost are looked for at once. No answer is lost because the machine stands still for a while: what is only
/// taken once it was looked for in vain would be taken twice.
const IMPATIENT: &str = "timeout = '10s'\nsearch_after = '100ms'";

/// A schedule that is not used up by the answers that are lost on purpose, nor by those a busy machine loses.
pub(crate) fn patient() -> String {
    format!("retry = ['0s'{}]", ", '200ms'".repeat(30))
}

fn to_genesys(world: &World, genesys: &Genesys) -> Plan {
    let plan = world.bare_plan().text("server", "content_url", "https://bridge.example").mailbox(SUPPORT, "");
    plan.route_to("genesys", &patient(), &genesys.section(IMPATIENT))
}

/// The `n`-th mail of a thread.
pub(crate) fn link(n: usize) -> Vec<u8> {
    let id = |n: usize| format!("<{n}@chain.example>");
    let mut head = format!("From: Ann <ann@customer.example>\r\nTo: {SUPPORT}\r\nMessage-ID: {}", id(n));
    if n > 0 {
        head +=
            &format!("\r\nIn-Reply-To: {}\r\nReferences: {}", id(n - 1), (0..n).map(id).collect::<Vec<_>>().join(" "));
    }
    written(&head, &format!("Link {n}"))
}

async fn until_held(genesys: &Genesys, count: usize) {
    until_so(&format!("{count} mails at Genesys"), async || genesys.subjects().len() >= count).await;
}

async fn a_thread_of_three(world: World) {
    let genesys = Genesys::start().await;
    let bridge = Bridge::start(&to_genesys(&world, &genesys)).await;
    // All at once: their deliveries wait for each other.
    let mails: Vec<_> = (0..3).map(|n| world.tenant.receive(SUPPORT, link(n))).collect();
    let other = world.receives("Another matter");
    until_held(&genesys, 4).await;
    for mail in mails.iter().chain([&other]) {
        world.until_read(mail).await;
    }
    bridge.stop().await;
    let conversations = genesys.conversations();
    assert_eq!(conversations.len(), 2);
    let of_thread = conversations.iter().find(|it| it.messages.len() == 3).unwrap();
    let mut subjects: Vec<_> = of_thread.messages.iter().map(|it| it["subject"].as_str().unwrap()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["Link 0", "Link 1", "Link 2"]);
    let first = &of_thread.messages[0];
    assert_eq!(first["toAddress"], SUPPORT);
    assert_eq!((&first["fromAddress"], &first["fromName"]), (&"ann@customer.example".into(), &"Ann".into()));
    assert!(first["textBody"].as_str().unwrap().contains("this is about Link"));
    let url = first["attributes"]["mb_raw_url"].as_str().unwrap();
    assert!(url.starts_with("https://bridge.example/api/v1/interactions/"), "{url}");
    // A thread that comes back much later, after a restart, is still the same conversation.
    let bridge = Bridge::start(&to_genesys(&world, &genesys)).await;
    world.tenant.receive(SUPPORT, link(3));
    until_held(&genesys, 5).await;
    bridge.stop().await;
    assert_eq!(genesys.conversations().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_three_mails_is_one_conversation() {
    a_thread_of_three(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_three_mails_is_one_conversation_on_postgres() {
    let Some(world) = World::postgres().await else { return };
    a_thread_of_three(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_makes_no_second_conversation() {
    let world = World::new().await;
    let genesys = Genesys::start().await;
    genesys.will([Reply::TakeAndHang]);
    let bridge = Bridge::start(&to_genesys(&world, &genesys)).await;
    let first = world.tenant.receive(SUPPORT, link(0));
    world.until_read(&first).await;
    assert_eq!(genesys.subjects(), ["Link 0"]);
    assert!(genesys.counts().2 > 0, "it was looked for");
    // The same for a mail that goes into it, whether the answer is lost or an error.
    genesys.will([Reply::TakeAndHang, Reply::TakeAndSay(502)]);
    for n in 1..3 {
        let next = world.tenant.receive(SUPPORT, link(n));
        world.until_read(&next).await;
    }
    bridge.stop().await;
    assert_eq!(genesys.subjects(), ["Link 0", "Link 1", "Link 2"]);
    assert_eq!(genesys.conversations().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_not_taken_is_made_again() {
    let world = World::new().await;
    let genesys = Genesys::start().await;
    genesys.will([Reply::Hang, Reply::Refuse(503, vec![]), Reply::Refuse(429, vec![("retry-after", "1".into())])]);
    let bridge = Bridge::start(&to_genesys(&world, &genesys)).await;
    let mail = world.tenant.receive(SUPPORT, link(0));
    world.until_read(&mail).await;
    bridge.stop().await;
    assert_eq!(genesys.subjects(), ["Link 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_stops_in_the_middle_of_a_call_makes_no_second_conversation() {
    let world = World::new().await;
    let genesys = Genesys::start().await;
    genesys.will([Reply::TakeAndHang]);
    let plan = world.bare_plan().text("server", "content_url", "https://bridge.example").mailbox(SUPPORT, "");
    let plan = plan.route_to("genesys", &patient(), &genesys.section("timeout = '60s'\nsearch_after = '100ms'"));
    let bridge = Bridge::start(&plan.text("server", "shutdown_timeout", "100ms")).await;
    let mail = world.tenant.receive(SUPPORT, link(0));
    until_held(&genesys, 1).await;
    bridge.stop().await;
    let bridge = Bridge::start(&to_genesys(&world, &genesys)).await;
    world.until_read(&mail).await;
    bridge.stop().await;
    assert_eq!(genesys.subjects(), ["Link 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_has_ended_is_followed_by_another() {
    let world = World::new().await;
    let genesys = Genesys::start().await;
    let bridge = Bridge::start(&to_genesys(&world, &genesys)).await;
    for n in 0..2 {
        let mail = world.tenant.receive(SUPPORT, link(n));
        world.until_read(&mail).await;
    }
    genesys.end_conversations();
    for n in 2..4 {
        let mail = world.tenant.receive(SUPPORT, link(n));
        world.until_read(&mail).await;
    }
    bridge.stop().await;
    let counts: Vec<usize> = genesys.conversations().iter().map(|it| it.messages.len()).collect();
    assert_eq!(counts, [2, 2]);
    assert!(genesys.conversations()[1].messages[0]["textBody"].is_string(), "the first of a conversation has a body");
}
