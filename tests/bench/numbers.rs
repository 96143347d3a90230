//! Counting: percentiles of times, and how often something happens in a time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How long each of many things took, and all of them together.
#[derive(Debug, Default)]
pub(crate) struct Times {
    each: Vec<Duration>,
    pub(crate) together: Duration,
}

impl Times {
    pub(crate) fn new(mut each: Vec<Duration>, together: Duration) -> Self {
        each.sort_unstable();
        Self { each, together }
    }

    pub(crate) fn count(&self) -> f64 {
        float(self.each.len())
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count() / self.together.as_secs_f64()
    }

    /// In milliseconds: half of them took at most this long.
    pub(crate) fn p50_ms(&self) -> f64 {
        self.percentile_ms(50)
    }

    /// In milliseconds: all but one in a hundred took at most this long.
    pub(crate) fn p99_ms(&self) -> f64 {
        self.percentile_ms(99)
    }

    fn percentile_ms(&self, percent: usize) -> f64 {
        let index = (self.each.len() * percent / 100).min(self.each.len().saturating_sub(1));
        self.each.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    }
}

/// Does something again and again with so many at once, for a time. Each one is told its number and its round.
pub(crate) async fn repeat<F, Fut>(many: usize, time: Duration, what: F) -> Times
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Vec<Duration>> + Send + 'static,
{
    let started = Instant::now();
    let tasks: Vec<_> = (0..many).map(|number| tokio::spawn(what(number))).collect();
    let mut each = vec![];
    for task in tasks {
        each.extend(
            tokio::time::timeout(time * 4 + LATE, task).await.expect("it ends in time").expect("no panic"),
        );
    }
    Times::new(each, started.elapsed())
}

/// What a round may last beyond the time of a measurement.
const LATE: Duration = Duration::from_mins(1);

/// The rounds of one of [`repeat`]: does it until the time is over, and tells how long each took.
pub(crate) async fn rounds<Fut: Future<Output = ()>>(
    time: Duration,
    mut round: impl FnMut(usize) -> Fut,
) -> Vec<Duration> {
    let started = Instant::now();
    let mut each = vec![];
    while started.elapsed() < time {
        let before = Instant::now();
        round(each.len()).await;
        each.push(before.elapsed());
    }
    each
}

/// A count as a number that can be divided.
pub(crate) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
