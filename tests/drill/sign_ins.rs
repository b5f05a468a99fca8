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
        world.kill_in_rotation(Duration::from_millis(fastrand::u64(0..250))).await;
    }
    let sums = world.end().await;
    assert_eq!((sums.kills, sums.mails), (KILLS, KILLS as usize + 1));
    eprintln!("{sums:?}");
    // Some are killed before their answer.
    assert!(sums.handed_out > KILLS as usize / 2, "only {} rotations", sums.handed_out);
}
