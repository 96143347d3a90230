//! A gateway with a token, connected to as a device.

use std::time::Duration;

use harness::openclaw::{Gateway, Held, Options, Proxy, Version};
use serde_json::{Value, json};

use crate::{
    compatibility::Look,
    probe::assert_usable,
    registration::{MissionControl, NAME, Registered, Registration},
};

/// Longer than any restart that a gateway announces (2 s) and any that it makes without a word (0.6 s).
const LATE_RESTARTS: Duration = Duration::from_millis(3_500);

#[tokio::test]
async fn two_registrations_at_2026_9_6_make_two_agents_and_touch_nothing_else() {
    two_registrations(Version::V2026_9_6).await;
}

#[tokio::test]
async fn two_registrations_at_2026_6_11_make_two_agents_and_touch_nothing_else() {
    two_registrations(Version::V2026_6_11).await;
}

#[tokio::test]
async fn two_registrations_at_2026_2_9_make_two_agents_and_touch_nothing_else() {
    two_registrations(Version::V2026_2_9).await;
}

async fn two_registrations(version: Version) {
    let mut gateway = Gateway::start(Options::new(version)).await;
    let control = MissionControl::start().await;
    let untouched = gateway.held().await;
    assert_eq!(untouched.heartbeat("main").as_deref(), Some("45m"));
    assert_usable(&gateway, &[]).await;

    let first = register_once(&control, &gateway, "register").await;
    gateway.until_run_of(&first.on_gateway()).await;
    let after_first = gateway.held().await;
    assert_provisioned(&control, &gateway, &after_first, &first);
    assert_others_unchanged(&untouched, &after_first, &first.on_gateway());

    let second = register_once(&control, &gateway, "register a second agent").await;
    gateway.until_run_of(&second.on_gateway()).await;
    let after_second = gateway.held().await;
    assert_provisioned(&control, &gateway, &after_second, &second);
    assert_others_unchanged(&after_first, &after_second, &second.on_gateway());
    for agent in [&first, &second] {
        assert_eq!(gateway.runs_of(&agent.on_gateway()), 1, "each agent is woken once");
        assert_messages(&gateway, version, &agent.on_gateway()).await;
    }

    let proxy = Proxy::before(&gateway).await;
    let mut registration = Registration::of(&gateway, &proxy);
    registration.token = Some("not-the-secret".to_owned());
    let look = Look::through(&proxy, &gateway);
    let result = control.register(&registration).await;
    look.registered("register with a wrong token", &result);
    let refusal = result.expect_err("a wrong token is refused");
    assert_eq!(refusal.what(), (502, "gateway_auth_failed", "handshake"), "{refusal:?}");
    assert!(refusal.text("detail").contains("token mismatch"), "{refusal:?}");
    assert_eq!(proxy.connections(), 1, "a wrong token is sent once");
    assert_eq!(gateway.held().await.entries(), after_second.entries());

    registration.url = proxy.url().replace("ws://", "wss://");
    let look = Look::at(&gateway);
    let result = control.register(&registration).await;
    look.registered("register with wss:// where there is no TLS", &result);
    let refusal = result.expect_err("there is no TLS");
    assert_eq!(refusal.what(), (502, "gateway_tls_failed", "tls"), "{refusal:?}");
    control.stop().await;
    gateway.stop().await;
}

/// Registers, and proves that it took one connection and one more for each restart of the gateway.
async fn register_once(control: &MissionControl, gateway: &Gateway, step: &'static str) -> Registered {
    let version = gateway.options().version;
    let proxy = Proxy::before(gateway).await;
    let look = Look::through(&proxy, gateway);
    let restarts_before = gateway.restarts();
    let result = control.register(&Registration::of(gateway, &proxy)).await;
    look.registered(step, &result);
    let registered = result.expect("it is registered");
    let restarts = gateway.restarts() - restarts_before;
    assert_eq!(registered.runtime_version, version.number());
    assert_eq!(proxy.connections(), 1 + restarts);
    // Nothing can be waited for: that no restart comes late is what is proved.
    tokio::time::sleep(LATE_RESTARTS).await;
    assert_eq!(gateway.restarts() - restarts_before, restarts, "a restart came after the outcome");
    if version != Version::V2026_2_9 {
        assert_eq!(restarts, 0);
    }
    registered
}

fn assert_provisioned(control: &MissionControl, gateway: &Gateway, held: &Held, registered: &Registered) {
    let id = registered.on_gateway();
    let workspace = gateway.workspace_root().join(&id).display().to_string();
    let agent = held.agent(&id).expect("the agent is listed");
    assert_eq!(agent.get("name"), Some(&json!(registered.agent_id)));
    let entries = held.entries();
    let entry = entries.get(&id).expect("the agent has an entry");
    assert_eq!(entry.get("workspace"), Some(&json!(workspace)));
    assert_eq!(entry.get("name"), Some(&json!(registered.agent_id)));
    assert_eq!(entry.pointer("/heartbeat/every"), Some(&json!("30m")));
    assert_eq!(entry.pointer("/heartbeat/target"), Some(&json!("none")));
    assert_eq!(held.heartbeat(&id).as_deref(), Some("30m"));
    assert_eq!(held.label(&id), Some(format!("{NAME} ({})", registered.agent_id)));
    assert_files(&control.base_url(), held, registered);
}

fn assert_files(base_url: &str, held: &Held, registered: &Registered) {
    let id = registered.on_gateway();
    let file = |name: &str| held.file(&id, name).unwrap_or_else(|| panic!("no {name}"));
    let credentials = if held.has_entries() {
        assert_eq!(held.file(&id, "TOOLS.md"), None);
        assert_eq!(held.file(&id, "HEARTBEAT.md"), None);
        let agents = file("AGENTS.md");
        let (_, end) = agents.split_once("\n# Tools\n").expect("the content of TOOLS.md ends AGENTS.md");
        assert!(end.contains("\n# At each heartbeat\n"), "{end}");
        end
    } else {
        assert!(file("HEARTBEAT.md").contains("/api/v1/agent/heartbeat"));
        file("TOOLS.md")
    };
    let lines: Vec<&str> = credentials.lines().collect();
    let count = |line: &str| lines.iter().filter(|other| **other == line).count();
    assert_eq!(count(&format!("BASE_URL={base_url}")), 1, "{credentials}");
    assert_eq!(count(&format!("AGENT_ID={}", registered.agent_id)), 1, "{credentials}");
    let tokens: Vec<&&str> = lines.iter().filter(|line| line.starts_with("AUTH_TOKEN=")).collect();
    assert!(
        matches!(tokens.as_slice(), [token] if token.len() == "AUTH_TOKEN=mca_".len() + 36),
        "{credentials}"
    );
    assert!(file("AGENTS.md").contains(&registered.agent_id));
    assert!(file("IDENTITY.md").contains(r#""Ring \"gateway\"""#), "{}", file("IDENTITY.md"));
    for name in ["SOUL.md", "USER.md", "MEMORY.md"] {
        assert!(file(name).starts_with("# "), "{name}");
    }
}

/// The one message that the agent was sent. 2026.2.9 keeps none of a run that failed, and here all fail.
async fn assert_messages(gateway: &Gateway, version: Version, agent_id: &str) {
    let key = format!("agent:{agent_id}:main");
    let history = gateway.client().await.ok("chat.history", json!({"sessionKey": key})).await;
    let messages = history.get("messages").and_then(Value::as_array).expect("a history has messages");
    let from_user = messages.iter().filter(|message| message.get("role") == Some(&json!("user")));
    let texts: Vec<String> = from_user.map(|message| message["content"].to_string()).collect();
    if version == Version::V2026_2_9 {
        assert!(texts.is_empty(), "{texts:?}");
    } else {
        assert!(matches!(texts.as_slice(), [text] if text.contains("Read AGENTS.md")), "{texts:?}");
    }
}

/// Only our entry is new. The second agent of a gateway is the exception: then the gateway notes who the default agent
/// is, and that one gets an empty heartbeat, without which it would lose what it had.
fn assert_others_unchanged(before: &Held, after: &Held, ours: &str) {
    for id in before.agent_ids() {
        assert_eq!(before.heartbeat(&id), after.heartbeat(&id), "the heartbeat of {id}");
        assert_eq!(before.files(&id), after.files(&id), "the files of {id}");
        assert_eq!(before.label(&id), after.label(&id), "the label of {id}");
        assert_eq!(before.agent(&id), after.agent(&id), "the row of {id}");
    }
    let (mut known, mut entries) = (before.entries(), after.entries());
    let (mut settings_known, mut settings) = (before.settings(), after.settings());
    entries.remove(ours).expect("our entry is there");
    if before.agent_ids() == ["main"] {
        let workspace = settings.pointer("/agents/defaults/workspace").cloned();
        let main =
            entries.get_mut("main").and_then(Value::as_object_mut).expect("the default agent has an entry");
        assert_eq!(main.remove("heartbeat"), Some(json!({})));
        assert!([None, workspace].contains(&main.remove("workspace")), "{main:?}");
        known.entry("main").or_insert(json!({}));
        forget_first_agent(&mut settings_known);
        forget_first_agent(&mut settings);
    }
    assert_eq!(known, entries);
    assert_eq!(settings_known, settings);
}

/// What a gateway writes by itself when a second agent comes to its only one: 2026.9.6 who that was, 2026.2.9 the
/// defaults that its first write to the file fills in.
fn forget_first_agent(settings: &mut Value) {
    let mut remove = |parent: &str, key: &str| {
        settings.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|parent| parent.remove(key));
    };
    remove("/agents", "ownership");
    remove("/agents/defaults", "systemAgent");
    remove("", "talk");
    remove("/agents/defaults", "compaction");
}
