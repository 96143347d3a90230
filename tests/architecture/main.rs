//! The rules of the code that a compiler does not hold: arrows, purity, places, names. Read from the parsed files.
#![expect(clippy::expect_used, reason = "a file that cannot be read must stop the test")]

mod facts;
mod rules;
mod samples;
mod source;
mod stored_names;

use rules::arrows::Map;
use rules::migrations::{Folder, differences};
use rules::{arrows, purity, shape, storage, versions};
use source::{Source, files, relative, root, workspace};

#[track_caller]
fn assert_none<T: ToString>(findings: &[T]) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("a readable file")
}

#[test]
fn the_files_of_every_crate_are_read() {
    let sources = workspace();
    for path in [
        "api/src/main.rs",
        "shared/src/domain/gateway/decide.rs",
        "shared/src/store/sqlite/commit.rs",
        "tests/architecture/main.rs",
        "worker/src/jobs.rs",
    ] {
        assert!(sources.iter().any(|source| source.path == path), "{path} was not read");
    }
    let of_tests = |path: &str| sources.iter().any(|source| source.path == path && source.facts.is_test);
    assert!(of_tests("shared/src/domain/gateway/decide_tests.rs") && !of_tests("worker/src/jobs.rs"));
}

#[test]
fn crates_name_each_other_in_one_direction() {
    assert_none(&arrows::crates(workspace()));
}

#[test]
fn a_module_of_shared_uses_only_what_stands_above_it_in_the_map() {
    let lib = text("shared/src/lib.rs");
    let map = Map::read(&lib);
    assert_none(&map.gaps(&Source::new("shared/src/lib.rs", &lib)));
    assert_none(&map.turned_arrows(workspace()));
}

#[test]
fn the_domain_asks_nothing_of_the_world() {
    assert_none(&purity::domain(workspace()));
}

#[test]
fn sql_stands_in_the_store_and_the_migrations() {
    assert_none(&storage::sql(workspace()));
    let crates = ["api", "migrations", "shared", "worker"];
    let paths: Vec<String> =
        crates.iter().flat_map(|name| files(&root().join(name))).map(|path| relative(&path)).collect();
    assert_none(&storage::sql_files(paths.iter().map(String::as_str)));
}

#[test]
fn apalis_stands_in_the_runtime_and_the_queues() {
    assert_none(&storage::apalis(workspace()));
}

#[test]
fn a_gateway_version_is_compared_in_the_minimum_check_only() {
    let sources = workspace();
    assert_none(&versions::compared(sources));
    assert!(versions::has_check(sources), "the minimum check is not where this test looks for it");
}

#[test]
fn files_are_short_and_named_for_what_they_hold() {
    let sources = workspace();
    assert_none(&shape::files(sources));
    assert_none(&shape::module_names(sources));
}

#[test]
fn nothing_is_ignored_or_left_undone() {
    assert_none(&shape::undone(workspace()));
}

#[test]
fn both_databases_have_the_same_migrations() {
    let folders: Vec<Folder> = ["sqlite", "postgres"]
        .into_iter()
        .map(|name| (name, root().join("migrations").join(name)))
        .filter(|(name, folder)| *name == "sqlite" || folder.exists())
        .map(|(name, folder)| Folder {
            name: name.to_owned(),
            files: files(&folder)
                .iter()
                .filter_map(|path| path.file_name())
                .map(|file| file.to_string_lossy().into_owned())
                .collect(),
        })
        .collect();
    assert_none(&differences(&folders));
}
