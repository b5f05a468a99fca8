//! A disk that is full for a while under the store.
//!
//! Needs to mount a small tmpfs, and so root.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ONE_AT_A_TIME;
use crate::sending;
use crate::sending::letters::{Door, Letter};
use crate::world::{Setting, World};

/// A disk of 24 MiB that goes with it.
struct Disk(PathBuf);

impl Disk {
    fn mount() -> Option<Self> {
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("drill-disk-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&place).output();
        if mounted.is_ok_and(|it| it.status.success()) {
            return Some(Self(place));
        }
        drop(std::fs::remove_dir(&place));
        None
    }

    fn file(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.file()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while ballast.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
        drop(std::fs::remove_dir(&self.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_is_said() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(disk) = Disk::mount() else {
        println!("full disk: SKIPPED, this user may not mount a tmpfs");
        return;
    };
    let mut world = World::start(Setting {
        store: Some(format!("sqlite:{}", Path::new(&disk.0).join("mailspan.db").display())),
        pause_ms: 150..350,
        ..Setting::new("full disk")
    })
    .await;
    world.bridge.live(Duration::from_secs(3)).await;

    disk.fill();
    let posted = world.tenant.notification_counts();
    let said = until_health(&world, |code, health| code == 503 && store_of(health)["status"] == "failing").await;
    assert!(said, "health does not say that the store cannot be written: {:?}", world.bridge.health().await);
    // Hints are taken all the same.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let now = world.tenant.notification_counts();
    assert!(now.delivered > posted.delivered + 5, "no hints were acknowledged: {posted:?}, then {now:?}");
    assert_eq!(now.failed_posts, posted.failed_posts, "hints were refused");
    // A crash on a full disk must not make it worse.
    disk.free_and_crash(&mut world).await;
    let well = until_health(&world, |_, health| store_of(health)["status"] == "ok").await;
    assert!(well, "health does not say that the store is well again: {:?}", world.bridge.health().await);
    world.end(Duration::from_secs(90)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_over_nothing_that_it_cannot_keep() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(disk) = Disk::mount() else {
        println!("full disk at submission: SKIPPED, this user may not mount a tmpfs");
        return;
    };
    let store = Some(format!("sqlite:{}", Path::new(&disk.0).join("mailspan.db").display()));
    let pause = Duration::ZERO;
    let name = "full disk at submission";
    let setting = sending::Setting { name, store, letters: 0, at_once: 0, pause, smtp: true, lost: 0.0 };
    let world = sending::World::start(setting).await;
    disk.fill();
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for letter in (0..120).map(Letter).filter(|it| it.door() != Door::Reply && !it.comes_back()) {
        // 503 or 4xx, never 202 or 250 and never a lie that it is the mail's fault.
        match world.offers(letter).await.unwrap() {
            true => taken.push(letter),
            false => refused.push(letter),
        }
    }
    assert!(refused.len() > 20, "{} of {} were refused", refused.len(), refused.len() + taken.len());
    std::fs::remove_file(disk.file()).unwrap();
    let begun = Instant::now();
    for letter in &refused {
        while !world.offers(*letter).await.unwrap() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not recover\n{}", world.bridge.tail());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let all = taken.len() + refused.len();
    while world.tenant.sent_count() < all {
        assert!(begun.elapsed() < Duration::from_secs(120), "not all left\n{}", world.bridge.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let left: std::collections::HashSet<String> =
        world.tenant.sent().into_iter().map(|it| it.recipients[0].clone()).collect();
    println!("full disk: {} mails refused while it was full, {} taken over and kept", refused.len(), taken.len());
    assert_eq!((left.len(), world.tenant.sent_count()), (all, all), "each left once");
    world.close().await;
}

impl Disk {
    /// The space is back, and the program is killed while it catches up.
    async fn free_and_crash(&self, world: &mut World) {
        std::fs::remove_file(self.file()).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.bridge.kill().await;
        world.bridge.until_ready().await;
    }
}

fn store_of(health: &serde_json::Value) -> serde_json::Value {
    let checks = health["checks"].as_array().cloned().unwrap_or_default();
    checks.into_iter().find(|check| check["kind"] == "store").unwrap_or_default()
}

async fn until_health(world: &World, fine: impl Fn(u16, &serde_json::Value) -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if world.bridge.health().await.is_some_and(|(code, health)| fine(code, &health)) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}
