//! Dialling for a session: with which credential, how often, and when no more.

use std::time::{Duration, Instant};

use shared::{
    domain::gateway::{
        failure::{Cause, Stage, Verdict},
        patience::Patience,
    },
    secret::Secret,
};
use tokio::time::sleep;
use tracing::{Instrument, debug_span};

use super::{
    super::{
        connect::connect,
        handshake::{Field, Mode, Peer, shake},
        refusal::Refused,
    },
    Session, Target, close,
};

impl<'a> Session<'a> {
    /// The credential to connect with. What was issued to our device goes first: it outlives a change of the shared
    /// token.
    fn credential(&self) -> Option<&'a Secret> {
        self.target.device_token.filter(|_| !self.is_device_token_refused).or(self.target.token)
    }

    /// How long to wait before a call is repeated; `None` if there is no time for it. What the gateway asked for takes
    /// nothing of the attempt's time.
    pub(in crate::gateway) fn granted(
        &mut self,
        told: Option<Duration>,
        pause: Duration,
    ) -> Option<Duration> {
        let until = Instant::now() + self.dialer.limits.redial_max;
        let Some(told) = told else {
            let then = Instant::now() + pause;
            return (until + pause < self.deadline.at() && self.may_dial_at(then)).then_some(pause);
        };
        let wait = self.pause(told);
        if until >= self.deadline.at() || !self.deadline.grant(wait) {
            return None;
        }
        self.first_dial = self.first_dial.map(|first| first + wait);
        Some(wait)
    }

    fn may_dial_at(&self, then: Instant) -> bool {
        let is_late = |first: Instant| then > first + self.dialer.limits.waiting_dials;
        then < self.deadline.at()
            && (self.target.patience == Patience::Background || !self.first_dial.is_some_and(is_late))
    }

    pub(super) async fn ensure(&mut self) -> Result<(), Refused> {
        let mut repeats = 0_u32;
        if self.open.is_none() && self.was_open {
            if !self.may_dial_at(Instant::now() + self.dialer.limits.redial_min) {
                return Err(self.lost_for_good().into());
            }
            sleep(self.dialer.limits.redial_min).await;
        }
        while self.open.is_none() {
            let refused = match self.dial().await {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            // Nothing was rejected yet: the credential is a password, and goes into its own field once.
            if refused.wants_password && self.field == Field::Token && self.target.token.is_some() {
                self.field = Field::Password;
                continue;
            }
            // The device was removed on the gateway, or its token is too old: the shared one is another credential.
            let has_another = self.target.device_token.is_some() && !self.is_device_token_refused;
            if refused.failure.cause == Cause::CredentialRejected && has_another {
                self.is_device_token_refused = true;
                continue;
            }
            self.is_rejected = refused.failure.cause.verdict() == Verdict::NeverRepeat;
            let Some(pause) = self.redial(&refused, repeats) else { return Err(refused) };
            self.unreached = Some(refused);
            sleep(pause).await;
            repeats += 1;
        }
        Ok(())
    }

    async fn dial(&mut self) -> Result<(), Refused> {
        self.first_dial.get_or_insert_with(Instant::now);
        let url = self.target.url;
        let scheme = if url.is_tls() { "https" } else { "http" };
        let origin = (self.target.mode == Mode::ControlUi).then(|| format!("{scheme}://{}", url.authority()));
        self.dials += 1;
        let dialled = connect(self.dialer, url, self.target.certificate, origin.as_deref()).await;
        let mut socket = dialled.inspect_err(|failure| {
            if matches!(failure.stage, Stage::Policy | Stage::Dns) {
                self.dials -= 1;
            }
        })?;
        let Target { mode, secrets, .. } = &self.target;
        let peer = Peer { url, token: self.credential(), mode: *mode, field: self.field, secrets };
        let shaking = Instant::now();
        match shake(self.dialer, peer, &mut socket).instrument(debug_span!("ws.handshake")).await {
            Ok(hello) => {
                self.dialer.progress.passed(Stage::Handshake, shaking);
                if let Some(token) = &hello.device_token {
                    self.target.secrets.push(token.clone());
                    self.issued = Some(token.clone());
                }
                self.unreached = None;
                self.open = Some((socket, hello));
                self.was_open = true;
                Ok(())
            }
            Err(refused) => {
                close(socket).await;
                Err(refused)
            }
        }
    }

    /// The pause before the next dial; `None` ends the attempt.
    fn redial(&self, refused: &Refused, repeats: u32) -> Option<Duration> {
        let limits = &self.dialer.limits;
        let cause = refused.failure.cause;
        if cause.verdict() != Verdict::Transient || cause == Cause::TimedOut {
            return None;
        }
        let is_absent = matches!(cause, Cause::ConnectionRefused | Cause::HostUnknown);
        let was_there = self.was_open || self.was_found;
        if is_absent && !was_there && (self.target.patience == Patience::Background || repeats > 0) {
            return None;
        }
        let pause = (limits.redial_min * 2_u32.saturating_pow(repeats.min(8))).min(limits.redial_max);
        let pause = refused.retry_after.map_or(pause, |told| self.pause(told));
        self.may_dial_at(Instant::now() + pause).then_some(pause)
    }
}
