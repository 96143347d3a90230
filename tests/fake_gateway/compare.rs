//! How an answer agrees with a recorded one.

use serde_json::Value;

/// Differences in `ok`, `error` and in keys and JSON types; empty when they agree.
pub(crate) fn frames(expected: &Value, actual: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for at in ["/type", "/ok", "/error/code", "/error/message", "/error/details/code", "/event"] {
        let (expected, actual) = (expected.pointer(at), actual.pointer(at));
        if text(expected) != text(actual) {
            found.push(format!("{at}: expected {expected:?}, got {actual:?}"));
        }
    }
    shapes("", expected, actual, &mut found);
    found
}

/// Ids differ from one run to the next, so texts are compared without them.
fn text(value: Option<&Value>) -> Option<String> {
    value.map(Value::to_string)
}

/// Same keys and types. In a list every element must look like one of the recorded.
fn shapes(at: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                match actual.get(key) {
                    Some(other) => shapes(&format!("{at}/{key}"), value, other, found),
                    None => found.push(format!("{at}/{key}: missing")),
                }
            }
            for key in actual.keys().filter(|key| !expected.contains_key(*key)) {
                found.push(format!("{at}/{key}: not recorded"));
            }
        }
        (Value::Array(expected), Value::Array(actual)) => lists(at, expected, actual, found),
        (expected, actual) if kind(expected) != kind(actual) => {
            found.push(format!("{at}: expected {}, got {}", kind(expected), kind(actual)));
        }
        _ => {}
    }
}

fn lists(at: &str, expected: &[Value], actual: &[Value], found: &mut Vec<String>) {
    if expected.is_empty() != actual.is_empty() {
        found.push(format!("{at}: expected {} elements, got {}", expected.len(), actual.len()));
        return;
    }
    for (index, element) in actual.iter().enumerate() {
        let nearest = expected
            .iter()
            .map(|recorded| {
                let mut differences = Vec::new();
                shapes(&format!("{at}/{index}"), recorded, element, &mut differences);
                differences
            })
            .min_by_key(Vec::len);
        found.extend(nearest.unwrap_or_default());
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::frames;

    #[test]
    fn a_wrong_expectation_is_detected() {
        let right = json!({ "type": "res", "ok": false, "error": { "code": "A", "message": "m", "details": { "code": "D" } } });
        assert!(frames(&right, &right).is_empty());
        for wrong in [
            json!({ "type": "res", "ok": true, "payload": {} }),
            json!({ "type": "res", "ok": false, "error": { "code": "B", "message": "m", "details": { "code": "D" } } }),
            json!({ "type": "res", "ok": false, "error": { "code": "A", "message": "n", "details": { "code": "D" } } }),
            json!({ "type": "res", "ok": false, "error": { "code": "A", "message": "m", "details": { "code": "E" } } }),
            json!({ "type": "res", "ok": false, "error": { "code": "A", "message": "m" } }),
            json!({ "type": "res", "ok": false, "error": { "code": "A", "message": "m", "details": { "code": "D", "x": 1 } } }),
        ] {
            assert!(!frames(&wrong, &right).is_empty(), "{wrong}");
            assert!(!frames(&right, &wrong).is_empty(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_type_inside_a_list_is_detected() {
        let recorded = json!({ "payload": { "files": [{ "name": "a", "size": 1 }] } });
        assert!(
            frames(&recorded, &json!({ "payload": { "files": [{ "name": "b", "size": 2 }] } })).is_empty()
        );
        assert!(
            !frames(&recorded, &json!({ "payload": { "files": [{ "name": "b", "size": "2" }] } })).is_empty()
        );
        assert!(!frames(&recorded, &json!({ "payload": { "files": [] } })).is_empty());
    }
}
