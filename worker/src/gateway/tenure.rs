//! Whether a worker may still act on a gateway: only while the lease of its job is surely its own.
//!
//! A process that stood still (a suspended host, SIGSTOP, a long page fault) does not know that another worker has taken its
//! job. What it would send then, a clean-up above all, would undo what that worker has made.

use std::time::Instant;

use tokio::sync::watch;

/// Until when a lease is surely ours; clones are the same lease.
#[derive(Debug, Clone, Default)]
pub struct Tenure(Option<watch::Receiver<Instant>>);

impl Tenure {
    /// The lease ends at what this channel says, which moves when it is renewed. It has to be counted from before the
    /// database was asked: so it never ends later than there.
    #[must_use]
    pub fn of(until: watch::Receiver<Instant>) -> Self {
        Self(Some(until))
    }

    /// No lease stands behind the dial: a person probes, or nothing is written.
    #[must_use]
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// Whether it may act now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|until| Instant::now() < *until.borrow())
    }

    /// Waits until the lease was renewed. For ever if it never is: whoever holds it ends the delivery when it is known to
    /// be lost.
    pub async fn held(&self) {
        let Some(mut until) = self.0.clone() else { return };
        while !self.holds() {
            if until.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn who_may_not_act_waits_until_the_lease_is_renewed() {
        let (renew, until) = watch::channel(Instant::now());
        let tenure = Tenure::of(until);
        assert!(!tenure.holds());
        assert!(timeout(Duration::from_millis(20), tenure.held()).await.is_err());
        let waiting = tokio::spawn({
            let tenure = tenure.clone();
            async move { tenure.held().await }
        });
        renew.send_replace(Instant::now() + Duration::from_mins(1));
        waiting.await.unwrap();
        assert!(tenure.holds());
    }

    #[tokio::test]
    async fn a_lease_that_is_gone_is_never_held_again_and_none_is_always_held() {
        let (renew, until) = watch::channel(Instant::now());
        let tenure = Tenure::of(until);
        drop(renew);
        assert!(timeout(Duration::from_millis(20), tenure.held()).await.is_err());
        assert!(Tenure::unlimited().holds());
        Tenure::unlimited().held().await;
    }
}
