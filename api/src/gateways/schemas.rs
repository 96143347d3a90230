//! The fields of a gateway as the OpenAPI document describes them: what these patterns take, [`super::fields`] takes.
//!
//! Nothing that people write is left out; a few spellings are (for example `0x7f.1` for an address).

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

/// Control characters, for use inside of a class.
const CONTROL: &str = r"\x00-\x1F\x7F-\x9F";

fn text(description: &str, pattern: String, length: (usize, usize)) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(Some(pattern))
        .min_length(Some(length.0))
        .max_length(Some(length.1))
}

pub(super) fn name() -> Object {
    let description = "Human-readable gateway name; what is blank at its ends is dropped.";
    let pattern = format!(r"^[^{CONTROL}]*[^\s{CONTROL}][^{CONTROL}]*$");
    text(description, pattern, (1, 200)).build()
}

pub(super) fn url() -> Object {
    let description =
        "WebSocket URL of the gateway: ws:// or wss://, without credentials; a host name in ASCII.";
    text(description, url_pattern(), (6, 2_048)).build()
}

/// Scheme, host, port from 1 to 65535, path and query.
fn url_pattern() -> String {
    let label = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
    // A host whose last part is a number is an IPv4 address or nothing.
    let name = format!(r"({label}\.)*[A-Za-z]([A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?");
    let octet = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let v4 = format!(r"({octet}\.){{3}}{octet}");
    let port = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
    let v6 = v6_pattern();
    format!(r#"^[Ww][Ss][Ss]?://({name}|{v4}|\[({v6})\])(:{port})?(/[!-"$->@-~]*)?(\?[!-"$-~]*)?$"#)
}

/// Eight groups, or fewer around one `::`.
fn v6_pattern() -> String {
    let group = "[0-9A-Fa-f]{1,4}";
    let mut forms = vec![format!("({group}:){{7}}{group}"), format!("({group}:){{1,7}}:"), "::".to_owned()];
    for after in 1..=6 {
        forms.push(format!("({group}:){{1,{}}}(:{group}){{{after}}}", 7 - after));
    }
    forms.push(format!("(:(:{group}){{1,7}})"));
    forms.join("|")
}

pub(super) fn workspace_root() -> Object {
    let description = "Absolute path for agent workspaces on the gateway's host, of at most 4,096 bytes.";
    // A segment that is not `..`.
    let other = format!(r"[^{CONTROL}/\\]");
    let not_dot = format!(r"[^{CONTROL}/\\.]");
    let segment = format!(r"({not_dot}{other}*|\.({not_dot}{other}*)?|\.\.{other}+)?");
    let pattern = format!(r"^(/|~/|[A-Za-z]:[/\\])({segment}[/\\])*{segment}$");
    text(description, pattern, (1, 4_096)).build()
}

fn token(description: &str) -> Object {
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    text(description, format!("^[^{CONTROL}]*$"), (0, 4_096)).schema_type(types).build()
}

pub(super) fn new_token() -> Object {
    token("The gateway's token or password, of at most 4,096 bytes; never shown again.")
}

pub(super) fn other_token() -> Object {
    token(
        "The gateway's token or password, of at most 4,096 bytes; never shown again. Null: none is used any more.",
    )
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, string::string_regex, test_runner::TestRunner};

    use super::super::fields;
    use super::*;

    /// Texts of a pattern are taken by its field.
    fn takes<T>(object: &Object, parse: fn(&str) -> Result<T, shared::problem::FieldError>) {
        let pattern = object.pattern.as_ref().unwrap();
        let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).unwrap();
        let texts = string_regex(inner).unwrap();
        TestRunner::default()
            .run(&texts, |text| {
                prop_assume!(text.len() <= object.max_length.unwrap());
                let taken = parse(&text);
                prop_assert!(taken.is_ok(), "{text:?}: {:?}", taken.err());
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_is_documented_is_taken() {
        takes(&name(), fields::name);
        takes(&url(), fields::url);
        takes(&workspace_root(), fields::workspace_root);
        takes(&new_token(), fields::token);
    }
}
