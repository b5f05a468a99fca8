//! The store in trouble: no space, no answer. What was promised is kept, and work goes on by itself.
//!
//! The disk that fills up is a small tmpfs; where it cannot be mounted that story says so and is left out.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::{Bridge, SUPPORT, World, mail, until, until_so};

/// A disk of four megabytes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|it| it.status.success()).then(|| Self(at.to_owned()))
    }

    /// Takes what room there is, and returns the file that holds it.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the daemon of a story that failed may still hold a file.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_on_once_a_full_disk_has_room_again() {
    let world = World::new().await;
    let Some(disk) = SmallDisk::mount(&world.path("disk")) else {
        eprintln!("no tmpfs can be mounted here: the story of the full disk is left out");
        return;
    };
    let plan = world.plan().text("store", "url", &format!("sqlite:{}", disk.0.join("mailspan.db").display()));
    let bridge = Bridge::start(&plan).await;
    world.receives("Before");
    world.inbox.until_has(&["Before"]).await;
    let ballast = disk.fill();
    let mut large = mail("Too large for the rest of the disk");
    large.extend(b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(8_000));
    let large = world.tenant.receive(SUPPORT, large);
    let small = world.receives("While it is full");
    // Graph is acknowledged all the same, and the process lives.
    until_so("acknowledged notifications", async || {
        let counts = world.tenant.notification_counts();
        counts.sent > 0 && counts.delivered == counts.sent
    })
    .await;
    assert_eq!(plan.page("/health/live").await.unwrap().0, 200);
    plan.until_check("store", "", "nothing can be written", |it| it["status"] == "failing").await;
    assert!(!world.tenant.message(&large).unwrap().is_read, "what is not stored is not read");
    std::fs::remove_file(&ballast).unwrap();
    plan.until_check("store", "", "it is well again", |it| it["status"] == "ok").await;
    world.inbox.until_has(&["Before", "Too large for the rest of the disk", "While it is full"]).await;
    for id in [&large, &small] {
        world.until_read(id).await;
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_not_ready_and_comes_back_by_itself() {
    let Some(world) = World::postgres().await else { return };
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    world.receives("Before");
    world.inbox.until_has(&["Before"]).await;
    // A notification of a subscription that is not written down yet says nothing to anybody.
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    let (server, name) = world.database.url.rsplit_once('/').unwrap();
    let elsewhere = format!("{server}/postgres");
    let say = async |sql: String| {
        use sqlx::{Connection as _, Executor as _};
        let mut connection = sqlx::PgConnection::connect(&elsewhere).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    };
    say(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    say(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    until_so("503 from /health/ready", async || plan.page("/health/ready").await.is_some_and(|it| it.0 == 503)).await;
    assert_eq!(plan.page("/health/live").await.unwrap().0, 200);
    let (status, health) = plan.health().await;
    assert_eq!((status, &health["status"]), (503, &"failing".into()), "{health}");
    let before = world.tenant.notification_counts().sent;
    let id = world.receives("While it was away");
    until_so("an acknowledged notification", async || {
        let counts = world.tenant.notification_counts();
        counts.sent > before && counts.delivered == counts.sent
    })
    .await;
    say(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    world.inbox.until_has(&["Before", "While it was away"]).await;
    world.until_read(&id).await;
    plan.until_ready().await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_leaves_the_store_once_every_route_has_accepted_it() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("Leaves no trace");
    world.until_read(&id).await;
    let marked = "SELECT COUNT(*) FROM messages WHERE mark = 'done'";
    until_so("the mark is written", async || world.number(marked).await == 1).await;
    // The store is tidied once a minute, and at each start.
    bridge.stop().await;
    let bridge = Bridge::start(&plan).await;
    until_so("no content left", async || world.number("SELECT COUNT(*) FROM contents").await == 0).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bridges_on_one_database_deliver_each_mail_once() {
    let Some(world) = World::postgres().await else { return };
    let (first_plan, second_plan) = (world.plan(), world.plan());
    let first = Bridge::start(&first_plan).await;
    let second = Bridge::begin(&second_plan).await;
    // Room in a mailbox is shared by those who know of each other.
    for plan in [&first_plan, &second_plan] {
        let both = |it: &serde_json::Value| it["living"].as_array().is_some_and(|it| it.len() == 2);
        plan.until_check("replicas", "", "both live", both).await;
    }
    let wanted: Vec<String> = (0..40).map(|number| format!("Shared {number:02}")).collect();
    for subject in &wanted {
        world.receives(subject);
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    world.inbox.until_has(&wanted).await;
    until_so("everything read", async || world.tenant.unread(SUPPORT) == 0).await;
    world.inbox.has_exactly(&wanted).await;
    first.stop().await;
    // The other goes on alone.
    let late = world.receives("For the survivor");
    let read = until("its mark", async || world.tenant.message(&late).filter(|it| it.is_read)).await;
    assert_eq!(read.subject, "For the survivor");
    assert_eq!(world.tenant.counters().too_many_at_once, 0);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_may_reach_any_of_the_replicas() {
    let Some(world) = World::postgres().await else { return };
    let patient =
        |plan: crate::world::Plan| plan.text("sync", "sweep_interval", "15m").text("sync", "poll_interval", "15m");
    let first_plan = patient(world.plan());
    // Replicas share one public address; each would replace a subscription that leads to another.
    let shared = format!("http://{}", first_plan.public);
    let second_plan = patient(world.plan()).text("server", "public_url", &shared);
    let first = Bridge::start(&first_plan).await;
    let second = Bridge::begin(&second_plan).await;
    // A notification of one that is not written down yet says nothing to anybody.
    for plan in [&first_plan, &second_plan] {
        plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    }
    let subscription = until("a subscription", async || world.tenant.subscriptions_of(SUPPORT).pop()).await;
    world.tenant.notifications(mailspan_tenant::NotificationPolicy::silent());
    let state = subscription.client_state.unwrap();
    for (plan, subject) in [(&first_plan, "Heard by the first"), (&second_plan, "Heard by the second")] {
        let id = world.receives(subject);
        let url = plan.notifications();
        let status = world.tenant.forge_notification(&url, &subscription.id, &state, id.as_str()).await;
        assert_eq!(status, Some(202));
        world.inbox.until_has(&[subject]).await;
    }
    world.inbox.has_exactly(&["Heard by the first", "Heard by the second"]).await;
    first.stop().await;
    second.stop().await;
}
