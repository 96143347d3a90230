//! Reading the configuration.

use serde_json::{Value, json};

use super::Version;
use super::state::{State, merge, now};

pub(crate) const PATH: &str = "/srv/openclaw/openclaw.json";

/// The configuration as answers show it: secrets are replaced.
pub(crate) fn redacted(state: &State) -> Value {
    let mut config = state.config.clone();
    for secret in ["/gateway/auth/token", "/gateway/auth/password"] {
        if let Some(secret) = config.pointer_mut(secret) {
            *secret = json!("__OPENCLAW_REDACTED__");
        }
    }
    config
}

/// What a real gateway adds for what is not set.
fn defaulted(version: Version, written: &Value) -> Value {
    let mut config = match version {
        Version::V2026_2_9 => json!({
            "agents": { "defaults": { "compaction": { "mode": "safeguard" }, "maxConcurrent": 4, "subagents": { "maxConcurrent": 8 } } },
            "commands": { "native": "auto", "nativeSkills": "auto" },
        }),
        Version::V2026_3_13 | Version::V2026_6_11 => json!({
            "agents": { "defaults": { "maxConcurrent": 4, "subagents": { "maxConcurrent": 8, "archiveAfterMinutes": 60 } } },
            "commands": { "native": "auto", "nativeSkills": "auto", "restart": true, "ownerDisplay": "raw" },
            "cron": { "maxConcurrentRuns": 8 },
        }),
        Version::V2026_9_6 => json!({
            "agents": { "defaults": { "maxConcurrent": 8, "subagents": { "maxConcurrent": 8, "archiveAfterMinutes": 60 },
                                      "compaction": { "mode": "safeguard" } } },
            "commands": { "native": "auto", "nativeSkills": "auto", "restart": true },
        }),
    };
    merge(&mut config, &json!({ "messages": { "ackReactionScope": "group-mentions" } }));
    merge(&mut config, written);
    config
}

/// 2026.9.6 shows `main` among the entries even while the file names no agent.
fn with_main(version: Version, written: &Value) -> Value {
    let mut source = written.clone();
    if version.has_entries() && written.pointer("/agents/entries").is_none() {
        merge(&mut source, &json!({ "agents": { "entries": { "main": {} } } }));
    }
    source
}

pub(crate) fn get(version: Version, state: &State) -> Value {
    let written = redacted(state);
    let source = with_main(version, &written);
    let config = defaulted(version, &source);
    let raw = serde_json::to_string_pretty(&written).unwrap_or_default();
    let mut answer = json!({ "path": PATH });
    if version == Version::V2026_9_6 {
        let more = json!({ "includedPaths": [], "includeProvenance": [], "agentRosterIncludeOwned": false, "bindingsIncludeOwned": false,
                           "configRevisionHash": state.hash(), "appliedConfigHash": state.hash() });
        merge(&mut answer, &more);
    }
    // 2026.2.9 writes its defaults into the file, so both views are one.
    let parsed = if version == Version::V2026_2_9 { &config } else { &written };
    let rest = json!({ "exists": true, "raw": raw, "parsed": parsed, "valid": true, "config": config, "hash": state.hash(),
                       "issues": [], "warnings": [], "legacyIssues": [] });
    merge(&mut answer, &rest);
    if version > Version::V2026_2_9 {
        merge(&mut answer, &json!({ "sourceConfig": source, "resolved": source, "runtimeConfig": config }));
    }
    answer
}

/// Only what a client cannot do without.
pub(crate) fn one_view(version: Version, state: &State) -> Value {
    let config = defaulted(version, &with_main(version, &redacted(state)));
    json!({ "path": PATH, "exists": true, "valid": true, "config": config, "hash": state.hash() })
}

/// What `config.patch` answers as the configuration: 2026.2.9 with defaults, later as written.
pub(crate) fn after_patch(version: Version, state: &State) -> Value {
    let written = redacted(state);
    if version == Version::V2026_2_9 { defaulted(version, &written) } else { written }
}

/// The schema itself is left out; only its frame and the version are here.
pub(crate) fn schema(version: Version) -> Value {
    json!({
        "schema": { "type": "object", "properties": {} },
        "uiHints": {},
        "version": version.number(),
        "generatedAt": now().to_rfc3339(),
    })
}
