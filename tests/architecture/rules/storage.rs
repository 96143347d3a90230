//! Where SQL, its crate and the queue's crate may be named.

use crate::source::{Finding, Source};

const STORE: &str = "shared/src/store/";
/// The trait, whose errors carry those of the database.
const TRAIT: &str = "shared/src/store.rs";
const RUNTIME: &str = "worker/src/jobs.rs";

/// A statement's first word and another that must follow; empty where the first tells enough.
const STATEMENTS: [(&str, &str); 16] = [
    ("select", " from "),
    ("select", "("),
    ("insert", " into "),
    ("update", " set "),
    ("delete", " from "),
    ("with", " select "),
    ("create", " table "),
    ("create", " index "),
    ("alter", " table "),
    ("drop", " table "),
    ("begin", " immediate"),
    ("pragma", " "),
    ("vacuum", " into "),
    ("notify", " "),
    ("listen", " "),
    ("truncate", " "),
];

/// SQL, or a name of its crate, outside of the store.
pub(crate) fn sql(sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_in(STORE)) {
        let texts = source.facts.shipped_texts().filter(|text| is_statement(&text.text));
        found.extend(texts.map(|text| source.finding(text.place.line, format!("holds SQL: {}", text.text))));
        let names = source.facts.shipped_names().filter(|name| name.root() == "sqlx" && source.path != TRAIT);
        found.extend(names.map(|name| source.finding(name.place.line, format!("names {}", name.text()))));
    }
    found
}

/// Statements stand at the front of a text; a sentence that begins with such a word lacks the second one.
fn is_statement(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = format!("{} ", words.join(" ").to_lowercase());
    STATEMENTS.iter().any(|(first, second)| {
        let Some(rest) = line.strip_prefix(first) else { return false };
        // A word that stands alone for an order is one only in capitals: "listen on" is a sentence.
        let is_order = *second != " " || text.trim_start().starts_with(&first.to_uppercase());
        rest.starts_with(' ') && rest.contains(second) && is_order
    })
}

/// SQL files outside of the migrations.
pub(crate) fn sql_files<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let sql = |path: &&str| path.rsplit_once('.').is_some_and(|(_, extension)| extension == "sql");
    paths.filter(sql).filter(|path| !path.starts_with("migrations/")).collect()
}

/// apalis outside of the two kinds of files that know it.
pub(crate) fn apalis(sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !knows_apalis(&source.path)) {
        let names = source.facts.names.iter().filter(|name| name.root().starts_with("apalis"));
        found.extend(names.map(|name| source.finding(name.place.line, format!("names {}", name.text()))));
    }
    found
}

fn knows_apalis(path: &str) -> bool {
    // A benchmark compares with the stock storage.
    let is_queue = path.strip_prefix(STORE).is_some_and(|inside| {
        let parts: Vec<&str> = inside.split('/').collect();
        matches!(parts.as_slice(), [_, "queue.rs"])
    });
    path == RUNTIME || is_queue || path.starts_with("tests/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::in_one;

    #[test]
    fn sql_outside_of_the_store_is_found() {
        for text in [
            "const Q: &str = \"SELECT id FROM events WHERE id = ?\";",
            "const Q: &str = \"\n    select id\n    from events\";",
            "fn f() { query(\"INSERT INTO jobs VALUES (1)\"); }",
            "fn f() { format!(\"UPDATE jobs SET id = {id}\"); }",
            "fn f() { assert!(run(\"DELETE FROM jobs\")); }",
            "const Q: &str = \"SELECT pg_advisory_lock(1)\";",
            "const Q: &str = \"PRAGMA optimize\";",
            "const Q: &str = \"NOTIFY commits\";",
            "const Q: &str = \"BEGIN IMMEDIATE\";",
            "use sqlx::SqlitePool;",
            "fn f(e: sqlx::Error) {}",
        ] {
            assert_eq!(in_one(sql, "shared/src/execute.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn sentences_tests_and_the_store_are_free() {
        let sentences = "const A: [&str; 4] = [\"Update the gateway and try again\", \"Select a gateway\", \"listen on a port\", \"Delete it\"];";
        for (path, text) in [
            ("api/src/problem.rs", sentences),
            ("api/src/wait.rs", "#[cfg(test)] mod tests { const Q: &str = \"DELETE FROM jobs\"; }"),
            ("shared/src/store/sqlite/load.rs", "use sqlx::Row; const Q: &str = \"SELECT 1 FROM jobs\";"),
            ("shared/src/store.rs", "fn f(e: sqlx::Error) {}"),
        ] {
            assert_eq!(in_one(sql, path, text), [""; 0], "{path}: {text}");
        }
        assert!(!in_one(sql, TRAIT, "const Q: &str = \"SELECT 1 FROM jobs\";").is_empty());
    }

    #[test]
    fn a_sql_file_elsewhere_is_found() {
        let paths = ["migrations/sqlite/0001_a.sql", "api/src/lib.rs", "shared/src/store/a.sql", "sql"];
        assert_eq!(sql_files(paths.into_iter()), ["shared/src/store/a.sql"]);
    }

    #[test]
    fn apalis_elsewhere_is_found() {
        for path in [
            "worker/src/retry.rs",
            "worker/src/jobs/outcome.rs",
            "shared/src/store/plan.rs",
            "api/src/ops.rs",
        ] {
            for text in ["use apalis::prelude::*;", "fn f(t: apalis_core::task::Task) {}"] {
                assert_eq!(in_one(apalis, path, text).len(), 1, "{path}: {text}");
            }
        }
        for path in ["worker/src/jobs.rs", "shared/src/store/sqlite/queue.rs", "tests/bench/main.rs"] {
            assert_eq!(in_one(apalis, path, "use apalis::prelude::*;"), [""; 0], "{path}");
        }
    }
}
