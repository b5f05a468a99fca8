//! Conversations: whatever comes in whatever order through whichever mailbox, one is one and two are two.
//!
//! The subject connects nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use base64::Engine as _;
use serde_json::Value;

use crate::world::{Bridge, Interaction, Plan, SUPPORT, World, until_so, written};

const MAILBOXES: [&str; 3] = [SUPPORT, "sales@contoso.example", "billing@contoso.example"];
const PEOPLE: [&str; 3] = ["ann@customer.example", "bob@customer.example", "cy@elsewhere.example"];
const CHAIN: usize = 20;

/// What an interaction says of its conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Says {
    thread: String,
    is_new: bool,
    previous: Option<String>,
    basis: String,
}

fn says(interaction: &Interaction) -> Says {
    let thread = &interaction.body["data"]["thread"];
    let text = |key: &str| thread[key].as_str().map(str::to_owned);
    Says {
        thread: text("threadId").unwrap(),
        is_new: thread["isNew"] == Value::Bool(true),
        previous: text("previousInteractionId"),
        basis: text("basis").unwrap(),
    }
}

fn threads(interactions: &[Interaction]) -> BTreeSet<String> {
    interactions.iter().map(|it| says(it).thread).collect()
}

fn three_mailboxes(world: &World) -> Plan {
    let plan = MAILBOXES.into_iter().fold(world.bare_plan(), |plan, it| plan.mailbox(it, ""));
    plan.route("all", "", &world.inbox)
}

/// How a mail names those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    All,
    OnlyTheLast,
}

/// The `n`-th mail of a chain, under a subject of its own.
fn link(n: usize, names: Names) -> Vec<u8> {
    let id = |n: usize| format!("<{n}@chain.example>");
    let mut head = format!("From: {}\r\nTo: {}\r\nMessage-ID: {}", PEOPLE[n % 3], MAILBOXES[n / 2 % 3], id(n));
    if n > 0 {
        head += &format!("\r\nIn-Reply-To: {}", id(n - 1));
        if names == Names::All {
            head += &format!("\r\nReferences: {}", (0..n).map(id).collect::<Vec<_>>().join("\r\n "));
        }
    }
    written(&head, &format!("Link {n}"))
}

fn answer(to: usize) -> Vec<u8> {
    let head = format!("From: dee@x.example\r\nTo: {SUPPORT}\r\nMessage-ID: <answer-{to}@x.example>");
    written(&format!("{head}\r\nIn-Reply-To: <{to}@chain.example>"), "Completely different")
}

async fn until_count(world: &World, count: usize) -> Vec<Interaction> {
    until_so(&format!("{count} interactions"), async || world.inbox.accepted().len() >= count).await;
    world.inbox.accepted()
}

/// The chain in an order of its own, with a restart in the middle, and then an answer to every mail of it. Returns what
/// was said of the chain and of the answers.
async fn chain(world: &World, seed: u64, names: Names) -> (Vec<Interaction>, Vec<Interaction>) {
    MAILBOXES[1..].iter().for_each(|it| world.tenant.add_mailbox(it));
    let plan = three_mailboxes(world);
    let mut order: Vec<usize> = (0..CHAIN).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    let arrives = |n: usize| drop(world.tenant.receive(MAILBOXES[n / 2 % 3], link(n, names)));
    let bridge = Bridge::start(&plan).await;
    order[..9].iter().for_each(|n| arrives(*n));
    until_count(world, 7).await;
    bridge.stop().await;
    order[9..12].iter().for_each(|n| arrives(*n));
    let bridge = Bridge::start(&plan).await;
    order[12..].iter().for_each(|n| arrives(*n));
    let links = until_count(world, CHAIN).await;
    for n in 0..CHAIN {
        world.tenant.receive(SUPPORT, answer(n));
    }
    let answers = until_count(world, 2 * CHAIN).await.split_off(CHAIN);
    bridge.stop().await;
    (links, answers)
}

/// Every interaction comes after one that was there, and only one comes after none.
fn follow_each_other(interactions: &[Interaction]) {
    let mut before = HashSet::new();
    let known: HashSet<&str> = interactions.iter().map(|it| it.id.as_str()).collect();
    for it in interactions {
        let Says { is_new, previous, .. } = says(it);
        assert_eq!(is_new, previous.is_none(), "{}", it.subject);
        assert!(previous.as_deref().is_none_or(|it| known.contains(it)));
        assert!(before.insert(previous), "each comes after another one: {}", it.subject);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_twenty_over_three_mailboxes_in_any_order_is_one_thread() {
    for seed in [1, 4711, 81_549_300] {
        let world = World::new().await;
        let (mut links, answers) = chain(&world, seed, Names::All).await;
        assert_eq!(links.len(), CHAIN, "seed {seed}");
        links.extend(answers);
        assert_eq!(threads(&links).len(), 1, "seed {seed}");
        follow_each_other(&links);
        let bases: BTreeSet<String> = links.iter().map(|it| says(it).basis).collect();
        assert!(bases.is_subset(&["in_reply_to", "none", "references"].map(str::to_owned).into()), "{bases:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_names_only_the_mail_before_grows_together() {
    for seed in [2, 4712] {
        let world = World::new().await;
        let (links, answers) = chain(&world, seed, Names::OnlyTheLast).await;
        assert_eq!(links.len(), CHAIN, "seed {seed}");
        let together = threads(&answers);
        assert_eq!(together.len(), 1, "seed {seed}: every further answer is in one");
        assert!(together.is_subset(&threads(&links)), "seed {seed}: in one that was handed out");
        assert!(answers.iter().all(|it| says(it).basis == "in_reply_to" && says(it).previous.is_some()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bridges_on_one_database_see_one_thread() {
    let Some(world) = World::postgres().await else { return };
    MAILBOXES[1..].iter().for_each(|it| world.tenant.add_mailbox(it));
    let (first_plan, second_plan) = (three_mailboxes(&world), three_mailboxes(&world));
    let first = Bridge::start(&first_plan).await;
    let second = Bridge::begin(&second_plan).await;
    for n in (0..CHAIN).rev() {
        world.tenant.receive(MAILBOXES[n / 2 % 3], link(n, Names::All));
    }
    let links = until_count(&world, CHAIN).await;
    assert_eq!(threads(&links).len(), 1);
    follow_each_other(&links);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_strangers_with_one_subject_and_one_conversation_of_exchange_are_two_threads() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let index = |bytes: usize| base64::engine::general_purpose::STANDARD.encode(vec![1; bytes]);
    let from = |who: &str, id: &str, more: &str| {
        let head = format!("From: {who}@x.example\r\nTo: {SUPPORT}\r\nMessage-ID: <{id}@x.example>{more}");
        world.tenant.receive(SUPPORT, written(&head, "Invoice"))
    };
    let indexed = |bytes| format!("\r\nThread-Index: {}", index(bytes));
    let mut told: HashMap<String, Says> = HashMap::new();
    for (n, (who, id, more)) in [
        ("ann", "a", indexed(22)),
        ("bob", "b", indexed(22)),
        // Outlook answers mail we never saw: nothing but Exchange's conversation connects these.
        ("ann", "c", indexed(27)),
        ("bob", "d", indexed(32) + "\r\nIn-Reply-To: <unseen@contoso.example>"),
        ("cy", "e", indexed(27)),
    ]
    .into_iter()
    .enumerate()
    {
        from(who, id, &more);
        let all = until_count(&world, n + 1).await;
        assert_eq!(all[n].body["data"]["source"]["conversationId"], all[0].body["data"]["source"]["conversationId"]);
        told.insert(id.to_owned(), says(&all[n]));
    }
    assert!(told["a"].is_new && told["b"].is_new && told["e"].is_new, "{told:?}");
    assert_ne!(told["a"].thread, told["b"].thread);
    assert_eq!((&told["c"].thread, told["c"].basis.as_str()), (&told["a"].thread, "conversation_id"));
    assert_eq!((&told["d"].thread, told["d"].basis.as_str()), (&told["b"].thread, "conversation_id"));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_leads_back_to_its_conversation() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("First");
    let first = says(&until_count(&world, 1).await[0]);
    world.until_read(&id).await;
    bridge.stop().await;
    let bridge = Bridge::start(&plan).await;
    let head = format!("From: other@x.example\r\nTo: support+{}@contoso.example", first.thread.to_uppercase());
    world.tenant.receive(SUPPORT, written(&head, "By its address"));
    until_count(&world, 2).await;
    let head = format!("From: o@x.example\r\nTo: {SUPPORT}\r\nIn-Reply-To: <{}.1@bridge.example>", first.thread);
    world.tenant.receive(SUPPORT, written(&head, "By an id"));
    until_count(&world, 3).await;
    world.tenant.receive(SUPPORT, written(&head.replace(&first.thread[3..9], "000000"), "Guessed"));
    let all = until_count(&world, 4).await;
    for (n, id) in [(1, &all[0].id), (2, &all[1].id)] {
        let joined = says(&all[n]);
        assert_eq!((&joined.thread, joined.basis.as_str()), (&first.thread, "token"));
        assert_eq!(joined.previous.as_ref(), Some(id));
    }
    let guessed = says(&all[3]);
    assert!(guessed.is_new && guessed.thread != first.thread);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_says_the_same_of_its_conversation() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    world.tenant.receive(SUPPORT, link(0, Names::All));
    until_count(&world, 1).await;
    world.inbox.will_answer([500, 500].map(crate::receiver::Answer::Status));
    world.tenant.receive(SUPPORT, link(1, Names::All));
    until_so("two failed attempts", async || world.inbox.received().len() >= 3).await;
    world.tenant.receive(SUPPORT, link(2, Names::All));
    until_count(&world, 3).await;
    let about = |it: &crate::receiver::Received| Interaction::read(it).subject == "Link 1";
    let bodies: HashSet<_> = world.inbox.received().iter().filter(|it| about(it)).map(|it| it.body.clone()).collect();
    assert_eq!(bodies.len(), 1);
    follow_each_other(&world.inbox.accepted().into_iter().filter(|it| it.subject != "Link 2").collect::<Vec<_>>());
    bridge.stop().await;
}
