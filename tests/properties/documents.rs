//! Real documents, and the same with something else in them.

use proptest::{
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Value, json};

/// What real gateways and clients send, for this target.
fn real(name: &str) -> Vec<Value> {
    let recorded = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let hello = recorded(include_str!("../samples/openclaw/2026.9.6/hello-ok.json"));
    let payload = hello.pointer("/2/frame/payload").unwrap().clone();
    let entries = json!({"main": {"default": true}, "agent-01ARZ3NDEKTSV4RRFFQ69G5FAV": {"heartbeat": {"every": "2m"}}});
    match name {
        "frame" => vec![
            json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}}),
            json!({"type": "event", "event": "shutdown", "payload": {"restartExpectedMs": 1_500}}),
            json!({"type": "res", "id": "1", "ok": true, "payload": {"restart": {"delayMs": 2_000}}}),
            json!({"type": "res", "id": "1", "ok": true, "payload":
                {"sentinel": {"payload": {"stats": {"requiresRestart": true}}}}}),
            json!({"type": "res", "id": "1", "ok": false, "error": {"code": "NOT_PAIRED", "message":
                "pairing required a-gateway-token-that-nobody-guesses", "retryable": true, "retryAfterMs": 500,
                "details": {"code": "PAIRING_REQUIRED", "requestId": "r-1", "issues": [{"message":
                "Unrecognized keys: \"target\", \"prompt\""}]}}}),
        ],
        "hello" => {
            let mut small = payload.clone();
            // The list of methods is long, and one of it is like the other.
            if let Some(methods) = small.pointer_mut("/features/methods").and_then(Value::as_array_mut) {
                methods.truncate(3);
            }
            vec![
                small,
                json!({"protocol": 4, "server": {"version": "dev"}, "auth": {"scopes": ["operator.read"],
                "deviceToken": "t"}, "policy": {"maxPayload": 1_024}}),
            ]
        }
        "config" => vec![
            json!({"agents": {"defaults": {"heartbeat": {"every": "0m"}}, "entries": entries}}),
            json!({"agents": {"list": [{"id": "main", "default": true, "heartbeat": {"every": "30m"}},
                {"id": "agent-01arz3ndektsv4rrffq69g5fav"}]}}),
            json!({"agents": {"list": [{"id": "agent-01arz3ndektsv4rrffq69g5fav"}]}, "heartbeat": {"agents":
                [{"agentId": "main", "enabled": true}]}}),
        ],
        "body" => vec![json!({"name": "Production Gateway", "url": "wss://gateway.example.com:18789/x?y=z",
            "workspace_root": "/home/ubuntu/.openclaw/workspaces", "token": "gateway-token",
            "allow_insecure_tls": false, "disable_device_pairing": true})],
        _ => vec![],
    }
}

/// Texts that are no JSON.
fn texts(name: &str) -> Vec<&'static str> {
    match name {
        "url" => vec![
            "ws://72.62.201.147:18789",
            "wss://gateway.example.com/a/b?c=d&e=f",
            "ws://[64:ff9b::a9fe:a9fe]:80",
            "ws://0x7f.1:1",
            "WS://xn--nxasmq6b.example:65535/%2e%2e",
        ],
        "version" => vec!["2026.2.9", "2026.02.9", "2026.2.22-1", "2026.7.1-beta.6", "2026.6.33", "dev"],
        _ => vec![],
    }
}

/// How many there are.
pub(crate) fn count(name: &str) -> usize {
    real(name).len() + texts(name).len()
}

/// Of them one, with another value somewhere in it, then with other bytes somewhere in it.
pub(crate) fn of(name: &str) -> BoxedStrategy<Vec<u8>> {
    let mut all = vec![];
    if !real(name).is_empty() {
        let changed = (select(real(name)), any::<Index>(), value());
        all.push(changed.prop_map(|(document, at, value)| put(document, at, value).to_string()).boxed());
    }
    if !texts(name).is_empty() {
        all.push(select(texts(name)).prop_map(str::to_owned).boxed());
    }
    let edits = prop::collection::vec((any::<Index>(), prop::collection::vec(any::<u8>(), 0..4)), 0..3);
    (prop::strategy::Union::new(all), edits)
        .prop_map(|(text, edits)| {
            let mut bytes = text.into_bytes();
            for (at, new) in edits {
                let at = at.index(bytes.len() + 1);
                let end = (at + new.len() / 2).min(bytes.len());
                drop(bytes.splice(at..end, new));
            }
            bytes
        })
        .boxed()
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        select(vec![
            "a-gateway-token-that-nobody-guesses",
            "UNAVAILABLE",
            "agent not found",
            "\u{0}",
            "2026.2.9"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{0,8}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The document with this value in place of one of its parts.
fn put(mut document: Value, at: Index, value: Value) -> Value {
    let mut pointers = vec![];
    collect(&document, String::new(), &mut pointers);
    let pointer = at.get(&pointers).clone();
    if let Some(part) = document.pointer_mut(&pointer) {
        *part = value;
    }
    document
}

fn collect(value: &Value, pointer: String, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(member, format!("{pointer}/{name}"), into);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{pointer}/{index}"), into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    into.push(pointer);
}
