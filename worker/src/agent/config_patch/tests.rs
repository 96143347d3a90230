use super::*;

fn wanted() -> Map<String, Value> {
    heartbeat(Duration::from_mins(30), "check in")
}

#[test]
fn a_list_is_sent_whole_with_the_default_agents_heartbeat_kept() {
    let config = json!({"agents": {"defaults": {}, "list": [
        {"id": "main", "key": "__OPENCLAW_REDACTED__"}, {"id": "other"}, {"id": "agent-x", "workspace": "/w"},
    ]}});
    let Step::Patch(ConfigForm::List, patch) = decide(&config, "Agent-X", &wanted(), None) else { panic!() };
    assert_eq!(
        patch,
        json!({"agents": {"list": [
            {"id": "main", "key": "__OPENCLAW_REDACTED__", "heartbeat": {}},
            {"id": "other"},
            {"id": "agent-x", "workspace": "/w", "heartbeat": {"every": "30m", "target": "none", "prompt": "check in"}},
        ]}})
    );
    assert_eq!(decide(&patch, "agent-x", &wanted(), None), Step::Equal(ConfigForm::List));
}

#[test]
fn a_map_is_patched_by_its_keys() {
    let config = json!({"agents": {"entries": {"boss": {"default": true}, "agent-x": {}, "main": {}}}});
    let Step::Patch(ConfigForm::Entries, patch) = decide(&config, "agent-x", &wanted(), None) else {
        panic!()
    };
    assert_eq!(
        patch,
        json!({"agents": {"entries": {
            "agent-x": {"heartbeat": {"prompt": "check in", "every": "30m", "target": "none"}},
            "boss": {"heartbeat": {}},
        }}})
    );
}

#[test]
fn where_somebody_has_a_heartbeat_only_ours_is_added() {
    let config = json!({"agents": {"list": [{"id": "main"}, {"id": "o", "heartbeat": {}}, {"id": "x"}]}});
    let Step::Patch(_, patch) = decide(&config, "x", &wanted(), Some(&["main".to_owned()])) else { panic!() };
    assert_eq!(patch.pointer("/agents/list/0"), Some(&json!({"id": "main"})));
    assert_eq!(patch.pointer("/agents/list/1"), Some(&json!({"id": "o", "heartbeat": {}})));
}

#[test]
fn whoever_beats_keeps_it_and_nobody_else_begins() {
    let status = json!({"heartbeat": {"agents": [
        {"agentId": "main", "enabled": true}, {"agentId": "quiet", "enabled": false},
        {"agentId": "other", "enabled": true}, {"agentId": "x", "enabled": true}, {"enabled": true}, 1,
    ]}});
    let beating = beating(&status).unwrap();
    assert_eq!(beating, ["main", "other", "x"]);
    let config = json!({"agents": {"list": [{"id": "main"}, {"id": "quiet"}, {"id": "other"}, {"id": "x"}]}});
    let Step::Patch(_, list) = decide(&config, "x", &wanted(), Some(&beating)) else { panic!() };
    let config = json!({"agents": {"entries": {"main": {}, "quiet": {}, "other": {}, "x": {}}}});
    let Step::Patch(_, entries) = decide(&config, "x", &wanted(), Some(&beating)) else { panic!() };
    for kept in ["/agents/list/0/heartbeat", "/agents/list/2/heartbeat"] {
        assert_eq!(list.pointer(kept), Some(&json!({})), "{list}");
    }
    assert_eq!(list.pointer("/agents/list/1"), Some(&json!({"id": "quiet"})));
    for kept in ["main", "other"] {
        assert_eq!(entries["agents"]["entries"][kept], json!({"heartbeat": {}}), "{entries}");
    }
    assert_eq!(entries["agents"]["entries"].get("quiet"), None);
    assert!(!is_explicit(&config) && is_explicit(&list) && is_explicit(&entries));
    assert_eq!(super::beating(&json!({"heartbeat": 1})), None);
}

#[test]
fn an_absent_agent_is_never_patched() {
    for config in [
        json!({}),
        json!(null),
        json!({"agents": 1}),
        json!({"agents": {"list": [{"id": "main"}, 1]}}),
        json!({"agents": {"entries": {}}}),
    ] {
        assert_eq!(decide(&config, "agent-x", &wanted(), None), Step::Absent, "{config}");
    }
}

#[test]
fn rejected_keys_are_read_from_issues_and_messages() {
    let details = json!({"issues": [{"path": "a.heartbeat", "message": "Unrecognized key: \"target\""}]});
    assert_eq!(rejected_keys("invalid config", &details), ["target"]);
    assert_eq!(rejected_keys("x: Unrecognized keys: \"a\", \"b\"", &Value::Null), ["a", "b"]);
    assert!(rejected_keys("other", &Value::Null).is_empty());
}
