//! What a change of a registered gateway makes of its state.

use super::{
    change::{UpdateRequested, Updated},
    event::{Event, MainAgent, Verified},
    operation::{Kind, Operation},
    state::{Known, Occurrence, Phase},
    sync::{SyncRequested, Synced},
};

impl Known {
    pub(super) fn evolve_change(&mut self, event: &Event, occurrence: &Occurrence) {
        if let Event::UpdateRequested(update) = event {
            self.begin_update(update, occurrence);
        }
        if let Event::Updated(updated) = event {
            self.update(updated, occurrence);
        }
        if let Event::UpdateFailed(failed) = event {
            self.operation.fail(&failed.failure, failed.code, failed.attempts);
            let changes = self.changes.take().unwrap_or_default();
            if changes.url.is_none() && changes.token.is_none() {
                self.found_refused(&failed.failure);
            }
        }
        if let Event::SyncRequested(sync) = event {
            self.begin_sync(sync, occurrence);
        }
        if let Event::Synced(synced) = event {
            self.synced(synced, occurrence);
        }
        if let Event::SyncFailed(failed) = event {
            self.operation.fail(&failed.failure, failed.code, failed.attempts);
            self.found_refused(&failed.failure);
        }
    }

    fn begin_update(&mut self, update: &UpdateRequested, occurrence: &Occurrence) {
        self.operation = Operation::new((update.operation, Kind::Update), update.patience, occurrence);
        self.changes = Some(update.changes.clone());
    }

    fn update(&mut self, updated: &Updated, occurrence: &Occurrence) {
        self.operation.succeed();
        self.changes = None;
        self.changed_at = occurrence.at;
        let changed = updated.changes.applied(&self.request);
        let before = std::mem::replace(&mut self.request, changed);
        if updated.leaves.is_some() {
            self.moved_from = Some(Box::new(before));
        } else if before.url.key() != self.request.url.key() {
            self.moved_from = None;
        }
        self.agent_is_stale = updated.agent.is_none();
        self.written(updated.verified.as_ref(), updated.agent.as_ref(), occurrence);
    }

    fn begin_sync(&mut self, sync: &SyncRequested, occurrence: &Occurrence) {
        self.operation = Operation::new((sync.operation, Kind::Sync), sync.patience, occurrence);
        self.sync = Some((sync.options, None));
    }

    fn synced(&mut self, synced: &Synced, occurrence: &Occurrence) {
        self.operation.succeed();
        let options = self.sync.take().map(|(options, _)| options).unwrap_or_default();
        self.sync = Some((options, Some(synced.clone())));
        self.agent_is_stale &= synced.agent.is_none();
        self.written(synced.verified.as_ref(), synced.agent.as_ref(), occurrence);
    }

    fn written(&mut self, told: Option<&Verified>, written: Option<&MainAgent>, occurrence: &Occurrence) {
        let Phase::Active(verified, agent) = &mut self.phase else { return };
        if let Some(told) = told {
            verified.clone_from(told);
            self.ailment = None;
        }
        if let Some(written) = written {
            agent.clone_from(written);
            self.provisioned_at = Some(occurrence.at);
        }
    }
}
