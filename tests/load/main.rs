//! Many at once, on real processes: what waits for mute gateways holds nobody else up. A target of its own, one test after
//! the other, so that nothing else is measured along.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "what is not there must fail the test")]
#![expect(clippy::print_stdout, reason = "a measured value is worth more than that it was small enough")]

mod few_mute;
mod mute;

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

/// Nothing is measured beside something else.
async fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// Of how many per cent it is the longest.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times[rank - 1]
}

#[test]
fn a_percentile_is_one_of_the_times() {
    let mut times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
    let millis = |percent, times: &mut [Duration]| percentile(times, percent).as_millis();
    assert_eq!([1, 50, 99, 100].map(|percent| millis(percent, &mut times)), [2, 100, 198, 200]);
    assert_eq!(percentile(&mut times[..1], 99), Duration::from_millis(1));
}
