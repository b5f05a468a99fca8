//! SIGKILL while refresh tokens are replaced, a hundred times: the sign-in survives.

use std::time::Duration;

use crate::ONE_AT_A_TIME;
use crate::signed_in::World;

const KILLS: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_survives_a_hundred_kills_during_rotation() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut world = World::start().await;
    for _ in 0..KILLS {
        world.kill_after(Duration::from_millis(fastrand::u64(150..1800))).await;
    }
    let sums = world.end().await;
    assert_eq!((sums.kills, sums.mails), (KILLS, KILLS as usize + 1));
    assert!(sums.handed_out > KILLS as usize, "only {} rotations", sums.handed_out);
}
