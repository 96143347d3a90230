//! Whatever a configuration holds, and whichever rule a gateway has, only our own agent differs in effect.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const OURS: &str = "agent-x";

/// Who beats where no entry has a heartbeat.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// 2026.2.9.
    OnlyTheDefaultAgent,
    /// 2026.6.11.
    EverybodyWhereDefaultsAreSet,
    /// 2026.9.6: as before, but `agents.defaults.heartbeat.agentId` names one.
    WhoeverIsNamed,
}

/// What a patch does to a list.
#[derive(Debug, Clone, Copy)]
enum Lists {
    Replaced,
    MergedById,
}

/// Each agent's entry, without its id, in order.
type Entries = Vec<(String, Map<String, Value>)>;

fn entries(config: &Value) -> Entries {
    let fields = |entry: &Value| entry.as_object().cloned().unwrap_or_default();
    match form(config) {
        Some(Agents::Entries(entries)) => {
            entries.iter().map(|(id, entry)| (id.clone(), fields(entry))).collect()
        }
        Some(Agents::List(list)) => list
            .iter()
            .map(|entry| {
                let mut fields = fields(entry);
                fields.remove("id");
                (id_of(entry).to_owned(), fields)
            })
            .collect(),
        None => Vec::new(),
    }
}

/// The cadence of each agent that beats.
fn cadences(config: &Value, rule: Rule) -> BTreeMap<String, String> {
    let agents = entries(config);
    let defaults = config.pointer("/agents/defaults/heartbeat");
    let default = agents.iter().find(|(_, entry)| entry.get("default") == Some(&Value::Bool(true)));
    let default = default.or_else(|| agents.iter().find(|(id, _)| id == "main")).or(agents.first());
    let named = defaults.and_then(|defaults| defaults.get("agentId")).and_then(Value::as_str);
    let enrolled = |id: &str| match (rule, named) {
        (Rule::WhoeverIsNamed, Some(named)) => named == id,
        (Rule::EverybodyWhereDefaultsAreSet | Rule::WhoeverIsNamed, _) if defaults.is_some() => true,
        _ => default.is_some_and(|(default, _)| default == id),
    };
    let is_explicit = agents.iter().any(|(_, entry)| entry.contains_key("heartbeat"));
    let mut cadences = BTreeMap::new();
    for (id, entry) in &agents {
        let own = entry.get("heartbeat");
        let every = own.and_then(|own| own.get("every")).or_else(|| defaults?.get("every"));
        let every = every.and_then(Value::as_str).unwrap_or("30m");
        if every != "0m" && if is_explicit { own.is_some() } else { enrolled(id) } {
            cadences.insert(id.clone(), every.to_owned());
        }
    }
    cadences
}

fn merge(into: &mut Value, patch: &Value, lists: Lists) {
    match (into, patch, lists) {
        (Value::Object(into), Value::Object(patch), _) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value, lists);
            }
        }
        (Value::Array(into), Value::Array(patch), Lists::MergedById) => {
            for value in patch {
                match into.iter_mut().find(|entry| id_of(entry) == id_of(value)) {
                    Some(entry) => merge(entry, value, lists),
                    None => into.push(value.clone()),
                }
            }
        }
        (into, patch, _) => into.clone_from(patch),
    }
}

fn without_heartbeats(config: &Value) -> Entries {
    let mut entries = entries(config);
    for (_, entry) in &mut entries {
        entry.remove("heartbeat");
    }
    entries
}

prop_compose! {
    fn an_entry()(
        heartbeat in prop::option::weighted(0.2, prop::sample::select(vec![
            json!({}), json!({"every": "10m"}), json!({"every": "0m", "target": "last"}),
        ])),
        is_default in prop::bool::weighted(0.2),
        secret in prop::option::of(Just("__OPENCLAW_REDACTED__")),
    ) -> Map<String, Value> {
        let mut entry = Map::new();
        entry.extend(heartbeat.map(|heartbeat| ("heartbeat".to_owned(), heartbeat)));
        entry.extend(is_default.then(|| ("default".to_owned(), json!(true))));
        entry.extend(secret.map(|secret| ("tools".to_owned(), json!({"key": secret, "allow": ["a"]}))));
        entry
    }
}

prop_compose! {
    /// Ours was created like every agent: last, without a heartbeat, and not as the default.
    fn a_config()(
        others in prop::collection::btree_map("main|a|b|c", an_entry(), 1..4),
        defaults in prop::option::of((
            prop::sample::select(vec!["45m", "0m"]),
            prop::option::weighted(0.3, prop::sample::select(vec!["main", "a", "gone"])),
        )),
        is_list in any::<bool>(),
    ) -> Value {
        let ours = (OURS.to_owned(), Map::from_iter([("workspace".to_owned(), json!("/w"))]));
        let agents = others.into_iter().chain([ours]);
        let mut config = json!({"gateway": {"port": 1}, "agents": {"defaults": {}}});
        if let Some((every, agent)) = defaults {
            config["agents"]["defaults"]["heartbeat"] = match agent {
                Some(agent) => json!({"every": every, "agentId": agent}),
                None => json!({"every": every}),
            };
        }
        if is_list {
            let entry = |(id, mut entry): (String, Map<String, Value>)| {
                entry.insert("id".to_owned(), json!(id));
                Value::Object(entry)
            };
            config["agents"]["list"] = agents.map(entry).collect();
        } else {
            config["agents"]["entries"] = agents.map(|(id, entry)| (id, Value::Object(entry))).collect();
        }
        config
    }
}

proptest! {
    #[test]
    fn only_our_agent_differs_in_effect(
        before in a_config(),
        rule in prop::sample::select(vec![
            Rule::OnlyTheDefaultAgent, Rule::EverybodyWhereDefaultsAreSet, Rule::WhoeverIsNamed,
        ]),
        lists in prop::sample::select(vec![Lists::Replaced, Lists::MergedById]),
    ) {
        let wanted = heartbeat(Duration::from_mins(30), "check in");
        let mut known = cadences(&before, rule);
        let beating: Vec<String> = known.keys().cloned().collect();
        let Step::Patch(_, patch) = decide(&before, OURS, &wanted, Some(&beating)) else { panic!("{before}") };
        let mut after = before.clone();
        merge(&mut after, &patch, lists);

        known.insert(OURS.to_owned(), "30m".to_owned());
        prop_assert_eq!(cadences(&after, rule), known, "{} became {}", before, after);
        prop_assert_eq!(without_heartbeats(&after), without_heartbeats(&before));
        let outside = |config: &Value| (config["gateway"].clone(), config["agents"]["defaults"].clone());
        prop_assert_eq!(outside(&after), outside(&before));
        let again = decide(&after, OURS, &wanted, None);
        prop_assert!(matches!(again, Step::Equal(_)), "{:?}", again);
    }
}
