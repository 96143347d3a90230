//! The keys that a process knows, and which of them seals.

use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use super::key::{MasterKey, fingerprint};
use crate::clock::{from_micros, micros};

/// Key of the fingerprints of a former master key.
struct Former {
    until: DateTime<Utc>,
    key: Zeroizing<[u8; 32]>,
}

/// One key or more.
pub(super) struct Ring {
    /// The key that seals.
    sealing: MasterKey,
    others: Vec<MasterKey>,
    former: Vec<Former>,
}

impl Ring {
    pub(super) fn of(key: MasterKey) -> Self {
        Self { sealing: key, others: vec![], former: vec![] }
    }

    pub(super) fn sealing(&self) -> &MasterKey {
        &self.sealing
    }

    pub(super) fn seals_with(&self) -> &str {
        self.sealing.id()
    }

    fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.sealing).chain(&self.others)
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.all().map(|key| key.id().to_owned()).collect()
    }

    pub(super) fn key(&self, id: &str) -> Option<&MasterKey> {
        self.all().find(|key| key.id() == id)
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.key(id).is_some()
    }

    /// Nothing changes if it is known.
    pub(super) fn learn(&mut self, key: MasterKey) {
        if !self.knows(key.id()) {
            self.others.push(key);
        }
    }

    /// Lets this key seal; `false` if it is not known.
    pub(super) fn turn_to(&mut self, id: &str) -> bool {
        if self.sealing.id() == id {
            return true;
        }
        let Some(other) = self.others.iter_mut().find(|key| key.id() == id) else { return false };
        std::mem::swap(&mut self.sealing, other);
        true
    }

    pub(super) fn is_fingerprint(&self, body: &[u8], given: &[u8]) -> bool {
        self.all().any(|key| key.fingerprint(body) == given)
            || self.former.iter().any(|former| fingerprint(&former.key, body) == given)
    }

    /// A line for each: microseconds since 1970 until which it is needed, and the key in hex.
    pub(super) fn former(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> String {
        let is_here = |former: &Former| self.all().any(|key| *key.fingerprints() == *former.key);
        let kept = self.former.iter().filter(|former| former.until > now && !is_here(former));
        let kept = kept.map(|former| (former.until, former.key.as_slice()));
        let last = self.others.iter().map(|key| (until, key.fingerprints().as_slice()));
        let lines = kept.chain(last.filter(|(until, _)| *until > now));
        lines
            .map(|(until, key)| format!("{} {}", micros(until), hex::encode(key)))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Reads what [`Ring::former`] wrote; a line that is damaged is passed over.
    pub(super) fn learn_former(&mut self, text: &str) {
        self.former = text.lines().filter_map(read_former).collect();
    }
}

fn read_former(line: &str) -> Option<Former> {
    let (until, hex) = line.split_once(' ')?;
    let mut key = Zeroizing::new([0_u8; 32]);
    hex::decode_to_slice(hex, key.as_mut_slice()).ok()?;
    Some(Former { until: from_micros(until.parse().ok()?), key })
}
