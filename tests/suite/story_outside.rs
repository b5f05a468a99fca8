//! What the operator sees: health, metrics, logs, signals and exit codes.

use crate::world::{Bridge, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_at_work_is_live_ready_and_ok() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    assert_eq!(plan.page("/health/live").await.unwrap().0, 200);
    assert_eq!(plan.page("/health/ready").await.unwrap().0, 200);
    bridge.stop().await;
    assert!(plan.page("/health/live").await.is_none(), "a stopped bridge does not answer");
}
