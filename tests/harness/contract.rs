//! The OpenAPI document as the measure of every answer that a test gets.

use std::{collections::BTreeSet, sync::LazyLock};

use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

/// Header fields that the document names for every answer that has them.
const NAMED: [&str; 12] = [
    "allow",
    "connection",
    "etag",
    "location",
    "operation-location",
    "preference-applied",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
    "x-request-id",
    "vary",
];

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(api::routes::openapi()).expect("the document is JSON"));

/// One method of one path, as it is documented.
#[derive(Debug, Clone)]
pub struct Operation {
    /// `GET`.
    pub method: Method,
    /// With names in braces.
    pub path: String,
    /// Everything else.
    pub document: &'static Value,
}

impl Operation {
    /// Names of the security schemes that each open it; empty if it is open.
    #[must_use]
    pub fn schemes(&self) -> Vec<&'static str> {
        let Some(own) = self.document.get("security").or(DOCUMENT.get("security")) else { return vec![] };
        let own = own.as_array().expect("security is a list");
        if own.iter().any(|scheme| scheme.as_object().is_some_and(serde_json::Map::is_empty)) {
            return vec![];
        }
        own.iter().filter_map(|scheme| scheme.as_object()?.keys().next().map(String::as_str)).collect()
    }

    /// The documented statuses.
    #[must_use]
    pub fn statuses(&self) -> BTreeSet<u16> {
        let responses = self.document["responses"].as_object().expect("answers are documented");
        responses.keys().map(|status| status.parse().expect("a status is a number")).collect()
    }

    /// Parameters of this place: `path`, `query` or `header`.
    #[must_use]
    pub fn parameters(&self, place: &str) -> Vec<&'static Value> {
        let all = self.document["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|parameter| parameter["in"] == place).collect()
    }

    /// The path with its one parameter filled in.
    #[must_use]
    pub fn path_with(&self, value: &str) -> String {
        match self.path.split_once('{') {
            Some((before, rest)) => {
                let (_, after) = rest.split_once('}').expect("a brace is closed");
                format!("{before}{value}{after}")
            }
            None => self.path.clone(),
        }
    }

    fn is_of(&self, path: &str) -> bool {
        let (documented, asked) = (self.path.split('/'), path.split('/'));
        documented.clone().count() == asked.clone().count()
            && documented.zip(asked).all(|(known, given)| known == given || known.starts_with('{'))
    }
}

/// Everything that is documented.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let paths = DOCUMENT["paths"].as_object().expect("paths are documented");
    let mut operations = vec![];
    for (path, item) in paths {
        for (method, document) in item.as_object().expect("a path has methods") {
            let method = method.to_uppercase().parse().expect("a method is known");
            operations.push(Operation { method, path: path.clone(), document });
        }
    }
    operations
}

/// Status, content type and header fields of an answer must be documented. What is asked of no documented path, or by no
/// documented method, has only the answers that all such questions have.
///
/// # Panics
///
/// If they are not.
#[track_caller]
pub fn check(method: &Method, path: &str, status: u16, headers: &HeaderMap) {
    let asked = if method == Method::HEAD { &Method::GET } else { method };
    let mut known: Vec<Operation> = operations().into_iter().filter(|known| known.is_of(path)).collect();
    // What is written out goes before what is in braces.
    known.sort_by_key(|known| known.path.contains('{'));
    let Some(operation) = known.iter().find(|known| known.method == *asked) else {
        let is_undocumented = [404, 405, 406, 429].contains(&status) || method == Method::OPTIONS;
        assert!(is_undocumented, "{method} {path} is not documented, and is answered {status}");
        return;
    };
    let at = format!("{method} {path} ({})", operation.path);
    let response = &operation.document["responses"][status.to_string()];
    assert!(response.is_object(), "{at}: {status} is not documented");
    let content_type = headers.get("content-type").map(|value| value.to_str().expect("it is ASCII"));
    if let Some(given) = content_type {
        let essence = given.split(';').next().unwrap_or(given);
        assert!(response["content"][essence].is_object(), "{at}: {status} with {given} is not documented");
    }
    let documented: BTreeSet<String> = response["headers"]
        .as_object()
        .map(|fields| fields.keys().map(|name| name.to_ascii_lowercase()).collect())
        .unwrap_or_default();
    for name in NAMED {
        let is_given = headers.contains_key(name);
        // The last request of a connection may say so anywhere, and CORS adds to the one what is not told of the other.
        let is_prefer = headers.get(name).is_some_and(|value| value == "Prefer");
        let is_free = name == "connection" || (name == "vary" && !is_prefer);
        assert!(
            !is_given || is_free || documented.contains(name),
            "{at}: {status} with {name} is not documented"
        );
    }
}
