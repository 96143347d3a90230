//! Which devices need approval, and the tokens they get.

use serde_json::{Value, json};

use super::super::fault::Fault;
use super::super::refusal::Refusal;
use super::{Client, Refused, Version};

impl Client<'_> {
    /// Whether this device is let in without anybody's approval and without a record.
    fn is_exempt(&self) -> bool {
        if !self.needs_secret() {
            return true;
        }
        let backend = self.text("/client/mode") == "backend";
        let newer = self.version > Version::V2026_2_9;
        if self.is_remote() || (newer && backend && self.upgrade.origin.is_some()) {
            return false;
        }
        backend || self.shared.options.auto_approve_local
    }

    pub(super) fn pairing(&self, device: &Value) -> Result<(), Refused> {
        let id = device.get("id").and_then(Value::as_str).unwrap_or_default();
        let ordered = self.shared.state().faults.take(|fault, used| {
            let Fault::PairingRequired { request_id, approved_after } = fault else { return None };
            approved_after.is_none_or(|after| used < after).then(|| request_id.clone())
        });
        let paired = self.shared.state().paired.contains(id) && !self.wants_more_than_approved();
        if ordered.is_none() && (paired || self.is_exempt()) {
            return Ok(());
        }
        let request = ordered.unwrap_or_else(|| {
            let mut state = self.shared.state();
            state
                .pairing_requests
                .entry(id.to_owned())
                .or_insert_with(|| uuid::Uuid::new_v4().to_string())
                .clone()
        });
        Err(self.not_paired(id, &request))
    }

    /// 2026.2.9 asks again for a scope that was not approved; later ones take admin for all.
    fn wants_more_than_approved(&self) -> bool {
        self.version == Version::V2026_2_9 && self.requested().iter().any(|scope| scope == "operator.write")
    }

    fn not_paired(&self, id: &str, request: &str) -> Refused {
        if self.version == Version::V2026_2_9 {
            return Refusal::new("NOT_PAIRED", "pairing required")
                .details(json!({ "requestId": request }))
                .into();
        }
        let old = self.version == Version::V2026_3_13;
        let text = if old { "pairing required" } else { "pairing required: device is not approved yet" };
        let refusal = Refusal::new("NOT_PAIRED", text).details(json!({
            "code": "PAIRING_REQUIRED",
            "reason": "not-paired",
            "requestId": request,
            "remediationHint": "Approve this device from the pending pairing requests.",
            "deviceId": id,
            "requestedRole": "operator",
            "requestedScopes": self.requested(),
        }));
        let reason = if old { text.to_owned() } else { format!("{text} (requestId: {request})") };
        Refused { reason, ..Refused::from(refusal) }
    }

    /// A token for a device that has a pairing record, the same each time.
    pub(super) fn issue_device_token(&self) -> Option<String> {
        let id = self.text("/device/id");
        let mut state = self.shared.state();
        let recorded = state.paired.contains(id)
            || (self.needs_secret() && self.version == Version::V2026_2_9)
            || self.text("/client/mode") == "cli";
        if !recorded {
            return None;
        }
        let token = state
            .device_tokens
            .entry(id.to_owned())
            .or_insert_with(|| uuid::Uuid::new_v4().simple().to_string());
        Some(token.clone())
    }
}
