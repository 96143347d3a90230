//! Shared secrets and the scopes they buy.

use serde_json::{Value, json};

use super::super::fault::Fault;
use super::super::refusal::Refusal;
use super::{Client, ControlUi, Refused, Version};

impl Client<'_> {
    pub(super) fn needs_secret(&self) -> bool {
        self.shared.options.token.is_some() || self.shared.options.password.is_some()
    }

    /// Checks token or password; a device token from an earlier hello will do.
    pub(super) fn secret(&self) -> Result<(), Refused> {
        if !self.needs_secret() {
            return Ok(());
        }
        let refused = if self.locked_out() { Some(self.lockout()) } else { self.wrong_secret() };
        let Some(refusal) = refused else { return Ok(()) };
        self.shared.state().rejected_tokens += 1;
        Err(refusal.into())
    }

    fn locked_out(&self) -> bool {
        let state = self.shared.state();
        let limit = self.shared.options.lockout_after;
        state.faults.has(&Fault::LockedOut) || limit.is_some_and(|limit| state.rejected_tokens >= limit)
    }

    fn lockout(&self) -> Refusal {
        let refusal = Refusal::invalid("unauthorized: too many failed authentication attempts (retry later)");
        let refusal = self.coded(
            refusal,
            json!({ "code": "AUTH_RATE_LIMITED", "authReason": "rate_limited",
                    "canRetryWithDeviceToken": false, "recommendedNextStep": "wait_then_retry" }),
        );
        if self.version == Version::V2026_9_6 { refusal.retryable(Some(299_988)) } else { refusal }
    }

    fn wrong_secret(&self) -> Option<Refusal> {
        let options = &self.shared.options;
        let (noun, expected, own, other) = match (&options.password, &options.token) {
            (Some(password), _) => ("password", password, "/auth/password", "/auth/token"),
            (None, Some(token)) => ("token", token, "/auth/token", "/auth/password"),
            (None, None) => return None,
        };
        // 2026.9.6 takes the secret in either field.
        let either = self.version == Version::V2026_9_6 && self.text(own).is_empty();
        let given = if either { self.text(other) } else { self.text(own) };
        if given == expected || self.is_device_token() {
            return None;
        }
        let (what, reason) = if given.is_empty() { ("missing", "missing") } else { ("mismatch", "mismatch") };
        let hint = if self.is_ui() && noun == "token" {
            "open the dashboard URL and paste the token in Control UI settings".to_owned()
        } else {
            format!("provide gateway auth {noun}")
        };
        let with_device = self.params.get("device").is_some() && what == "mismatch" && noun == "token";
        let step = match (with_device, what) {
            (true, _) => "retry_with_device_token",
            (false, "missing") => "update_auth_configuration",
            (false, _) => "update_auth_credentials",
        };
        let details = json!({
            "code": format!("AUTH_{}_{}", noun.to_uppercase(), what.to_uppercase()),
            "authReason": format!("{noun}_{reason}"),
            "canRetryWithDeviceToken": with_device,
            "recommendedNextStep": step,
        });
        Some(self.coded(Refusal::invalid(format!("unauthorized: gateway {noun} {what} ({hint})")), details))
    }

    fn is_device_token(&self) -> bool {
        let state = self.shared.state();
        let Some(issued) = state.device_tokens.get(self.text("/device/id")) else { return false };
        [self.text("/auth/token"), self.text("/auth/deviceToken")].contains(&issued.as_str())
    }

    /// Scopes of the connection, which hello does not always tell.
    pub(super) fn granted(&self, with_device: bool) -> Vec<String> {
        let open_ui = self.is_ui() && self.shared.options.control_ui != ControlUi::Strict;
        let backend = self.text("/client/mode") == "backend";
        let full = match self.version {
            Version::V2026_2_9 => {
                return ["operator.admin", "operator.read", "operator.write"].map(str::to_owned).to_vec();
            }
            Version::V2026_3_13 => with_device || open_ui,
            Version::V2026_6_11 => with_device || open_ui || (backend && !self.is_remote()),
            Version::V2026_9_6 => with_device || !self.is_remote(),
        };
        if full { self.requested() } else { Vec::new() }
    }

    /// `hello.auth`, which differs by version and by how the device got in.
    pub(super) fn hello_auth(&self, device: Option<&Value>, scopes: &[String]) -> Option<Value> {
        let token = device.and_then(|_| self.issue_device_token());
        let role = json!("operator");
        if self.version <= Version::V2026_3_13 {
            let token = token?;
            let mut sorted = self.requested();
            sorted.sort();
            return Some(
                json!({ "deviceToken": token, "role": role, "scopes": sorted, "issuedAtMs": self.now }),
            );
        }
        let mut auth = json!({ "role": role, "scopes": scopes });
        let members = auth.as_object_mut()?;
        if self.version == Version::V2026_9_6 {
            let method = if self.needs_secret() { "token" } else { "none" };
            members.insert("method".to_owned(), json!(method));
            members.insert("recoveryScope".to_owned(), json!("recovery-scope-of-the-fake-gateway"));
        }
        if let Some(token) = token {
            members.insert("deviceToken".to_owned(), json!(token));
            members.insert("issuedAtMs".to_owned(), json!(self.now));
            if self.version == Version::V2026_9_6 {
                members.insert("recoveryMigrationAllowed".to_owned(), json!(true));
            }
        }
        Some(auth)
    }
}
