//! The closed schemas of `connect` and of the calls, in the words of the real ones.

use serde_json::Value;

use super::Version;
use super::refusal::Refusal;

const CLIENT_IDS: [&str; 12] = [
    "webchat-ui",
    "openclaw-control-ui",
    "webchat",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-ios",
    "openclaw-android",
    "node-host",
    "test",
    "fingerprint",
    "openclaw-probe",
];
const CLIENT_MODES: [&str; 7] = ["webchat", "cli", "ui", "backend", "node", "probe", "test"];
const PARAMS: [&str; 13] = [
    "minProtocol",
    "maxProtocol",
    "client",
    "caps",
    "commands",
    "permissions",
    "pathEnv",
    "role",
    "scopes",
    "device",
    "auth",
    "locale",
    "userAgent",
];
const CLIENT: [&str; 8] =
    ["id", "displayName", "version", "platform", "deviceFamily", "modelIdentifier", "mode", "instanceId"];
const DEVICE: [&str; 5] = ["id", "publicKey", "signature", "signedAt", "nonce"];

/// Collects the errors of one object.
struct Check<'a> {
    at: &'static str,
    value: &'a Value,
    errors: Vec<String>,
}

impl<'a> Check<'a> {
    fn new(at: &'static str, value: &'a Value) -> Self {
        Self { at, value, errors: Vec::new() }
    }

    fn required(mut self, keys: &[&str]) -> Self {
        for key in keys.iter().filter(|key| self.value.get(**key).is_none()) {
            self.errors.push(format!("at {}: must have required property '{key}'", self.at));
        }
        self
    }

    fn only(mut self, keys: &[&str]) -> Self {
        let members = self.value.as_object().into_iter().flatten();
        for (key, _) in members.filter(|(key, _)| !keys.contains(&key.as_str())) {
            self.errors.push(format!("at {}: unexpected property '{key}'", self.at));
        }
        self
    }
}

/// What `connect` may say.
pub(crate) fn connect(version: Version, params: &Value) -> Result<(), Refusal> {
    let nothing = Value::Null;
    let part = |key: &str| params.get(key).unwrap_or(&nothing);
    let mut errors =
        Check::new("root", params).required(&["minProtocol", "maxProtocol", "client"]).only(&PARAMS).errors;
    let client = part("client");
    if client.is_object() {
        errors.extend(
            Check::new("/client", client)
                .required(&["id", "version", "platform", "mode"])
                .only(&CLIENT)
                .errors,
        );
        errors.extend(closed(version, "/client/id", client.get("id"), &CLIENT_IDS));
        errors.extend(closed(version, "/client/mode", client.get("mode"), &CLIENT_MODES));
    }
    if part("device").is_object() {
        let nonce: &[&str] = if version.has_detail_codes() { &["nonce"] } else { &[] };
        let required = [&["id", "publicKey", "signature", "signedAt"], nonce].concat();
        errors.extend(Check::new("/device", part("device")).required(&required).only(&DEVICE).errors);
    }
    if part("auth").is_object() {
        let known: &[&str] = if version.has_detail_codes() {
            &["token", "password", "deviceToken", "bootstrapToken"]
        } else {
            &["token", "password"]
        };
        errors.extend(Check::new("/auth", part("auth")).only(known).errors);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid(format!("invalid connect params: {}", errors.join("; "))))
    }
}

fn closed(version: Version, at: &str, value: Option<&Value>, allowed: &[&str]) -> Option<String> {
    let text = value?.as_str().unwrap_or_default();
    if allowed.contains(&text) {
        return None;
    }
    Some(if version.protocol() == 3 {
        format!("at {at}: must be equal to constant; at {at}: must match a schema in anyOf")
    } else {
        format!("at {at}: must be equal to one of the allowed values")
    })
}

/// What a call may say; methods that are not named here take anything.
pub(crate) fn call(method: &str, params: &Value) -> Result<(), Refusal> {
    let (required, optional): (&[&str], &[&str]) = match method {
        "agents.create" => (&["name", "workspace"], &["emoji", "avatar"]),
        "agents.update" => (&["agentId"], &["name", "workspace", "model", "avatar", "emoji"]),
        "agents.delete" => (&["agentId"], &["deleteFiles"]),
        "agents.files.list" => (&["agentId"], &[]),
        "agents.files.get" => (&["agentId", "name"], &[]),
        "agents.files.set" => (&["agentId", "name", "content"], &[]),
        "agents.list" | "config.get" | "config.schema" => (&[], &[]),
        "config.patch" => (
            &["raw"],
            &["baseHash", "sessionKey", "note", "restartDelayMs", "deliveryContext", "replacePaths"],
        ),
        "sessions.patch" => (
            &["key"],
            &[
                "label",
                "thinkingLevel",
                "verboseLevel",
                "reasoningLevel",
                "responseUsage",
                "elevatedLevel",
                "execHost",
                "execSecurity",
                "execAsk",
                "execNode",
                "model",
                "spawnedBy",
                "sendPolicy",
                "groupActivation",
            ],
        ),
        "sessions.delete" => (&["key"], &["deleteTranscript", "emitLifecycleHooks"]),
        "chat.send" => (
            &["sessionKey", "message", "idempotencyKey"],
            &["thinking", "deliver", "attachments", "timeoutMs"],
        ),
        "cron.add" => (
            &["name", "schedule", "sessionTarget", "wakeMode", "payload"],
            &["agentId", "description", "enabled", "deleteAfterRun", "delivery", "sessionKey"],
        ),
        "cron.list" => {
            (&[], &["includeDisabled", "agentId", "limit", "offset", "query", "enabled", "sortBy", "sortDir"])
        }
        "cron.remove" => (&[], &["id", "jobId"]),
        _ => return Ok(()),
    };
    let known = [required, optional].concat();
    let errors = Check::new("root", params).required(required).only(&known).errors;
    if errors.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(format!("invalid {method} params: {}", errors.join("; "))))
}
