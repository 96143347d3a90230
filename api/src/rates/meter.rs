//! One allowance for each key, in bounded memory.

use std::{
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock, Reference as _},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};

/// An allowance that is spent grows back in this time.
pub const WINDOW: Duration = Duration::from_mins(1);
/// So many keys have an allowance of their own; beyond, all share one.
const KEYS_MAX: i64 = 100_000;
/// Most often that keys whose allowance is whole again are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How a caller stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which allowance.
    pub policy: &'static str,
    /// Requests in a [`WINDOW`].
    pub quota: u32,
    /// What is left of it.
    pub remaining: u32,
}

/// An allowance that is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// How the caller stands.
    pub standing: Standing,
    /// Until the next request is let through.
    pub wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key<K> {
    One(K),
    Others,
}

type Buckets<K, C> = RateLimiter<Key<K>, DashMapStateStore<Key<K>>, C, StateInformationMiddleware>;

/// Counts what each key spends.
pub struct Meter<K: Hash + Eq + Clone, C: Clock + Clone = DefaultClock> {
    policy: &'static str,
    quota: NonZeroU32,
    buckets: Buckets<K, C>,
    clock: C,
    keys_max: i64,
    /// Requests until there may be `keys_max` keys: each adds one at most.
    room: AtomicI64,
    swept: Mutex<Option<C::Instant>>,
}

impl<K: Hash + Eq + Clone> Meter<K> {
    /// With so many requests in a [`WINDOW`]; `None` for 0, which is no limit.
    #[must_use]
    pub fn new(policy: &'static str, quota: u32) -> Option<Self> {
        Self::by(DefaultClock::default(), policy, quota, KEYS_MAX)
    }
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Meter<K, C> {
    fn by(clock: C, policy: &'static str, quota: u32, keys_max: i64) -> Option<Self> {
        let quota = NonZeroU32::new(quota)?;
        let rate = Quota::with_period(WINDOW / quota.get())?.allow_burst(quota);
        let buckets = Buckets::new(rate, DashMapStateStore::default(), clock.clone());
        let (room, swept) = (AtomicI64::new(keys_max), Mutex::new(None));
        Some(Self { policy, quota, buckets, clock, keys_max, room, swept })
    }

    /// Spends one request.
    ///
    /// # Errors
    ///
    /// The allowance is spent.
    pub fn spend(&self, key: K) -> Result<Standing, Used> {
        let key = if self.has_room() { Key::One(key) } else { Key::Others };
        let standing = |remaining| Standing { policy: self.policy, quota: self.quota.get(), remaining };
        match self.buckets.check_key(&key) {
            Ok(state) => Ok(standing(state.remaining_burst_capacity())),
            Err(until) => Err(Used { standing: standing(0), wait: until.wait_time_from(self.clock.now()) }),
        }
    }

    /// Whether there is room for another key, after those that have not asked lately are forgotten.
    fn has_room(&self) -> bool {
        if self.room.fetch_sub(1, Ordering::Relaxed) > 0 {
            return true;
        }
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if self.room.load(Ordering::Relaxed) > 0 {
            return true;
        }
        let now = self.clock.now();
        if swept.is_some_and(|last| Duration::from(now.duration_since(last)) < SWEEP) {
            return false;
        }
        *swept = Some(now);
        self.buckets.retain_recent();
        let room = self.keys_max - i64::try_from(self.buckets.len()).unwrap_or(i64::MAX);
        self.room.store(room, Ordering::Relaxed);
        if room <= 0 {
            tracing::warn!(
                policy = self.policy,
                keys = self.keys_max,
                "too many callers: new ones share one allowance"
            );
        }
        room > 0
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn meter(quota: u32, keys_max: i64) -> (FakeRelativeClock, Meter<u32, FakeRelativeClock>) {
        let clock = FakeRelativeClock::default();
        (clock.clone(), Meter::by(clock, "token", quota, keys_max).unwrap())
    }

    #[test]
    fn each_key_has_an_allowance_that_grows_back() {
        let (clock, meter) = meter(3, 100);
        for remaining in [2, 1, 0] {
            assert_eq!(meter.spend(1), Ok(Standing { policy: "token", quota: 3, remaining }));
        }
        let standing = Standing { policy: "token", quota: 3, remaining: 0 };
        assert_eq!(meter.spend(1), Err(Used { standing, wait: WINDOW / 3 }));
        assert!(meter.spend(2).is_ok());
        clock.advance(WINDOW / 3);
        assert!(meter.spend(1).is_ok());
        assert!(meter.spend(1).is_err());
        clock.advance(WINDOW);
        assert_eq!(meter.spend(1).unwrap().remaining, 2);
    }

    #[test]
    fn zero_is_no_limit() {
        assert!(Meter::<u32>::new("token", 0).is_none());
    }

    #[test]
    fn old_keys_are_forgotten_and_new_ones_share_when_there_are_too_many() {
        let (clock, meter) = meter(2, 10);
        for key in 0..10 {
            assert!(meter.spend(key).is_ok());
        }
        // No room for these two, nor for a third: they share one allowance of two.
        assert!(meter.spend(10).is_ok() && meter.spend(11).is_ok() && meter.spend(12).is_err());
        assert_eq!(meter.buckets.len(), 11);
        clock.advance(2 * WINDOW);
        assert!(meter.spend(13).is_ok());
        assert_eq!(meter.buckets.len(), 1);
        assert!(meter.spend(13).is_ok() && meter.spend(13).is_err() && meter.spend(14).is_ok());
    }
}
