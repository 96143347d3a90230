//! What strangers send us never makes us panic: random bytes and texts, and real documents with something else in them.
//! Ten seconds for each function, by the clock: a fuzzer goes on where this ends (`tests/fuzz`).
#![expect(clippy::unwrap_used, reason = "what is not there must fail the test")]
#![expect(clippy::print_stdout, reason = "how many cases there were is worth a line")]

mod documents;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::time::{Duration, Instant};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// 60 s for all of them, one after the other.
const EACH: Duration = Duration::from_secs(10);
/// Cases between two looks at the clock.
const ROUND: u32 = 64;

fn try_for_its_time(name: &str) {
    let (_, target) = targets::ALL.into_iter().find(|(known, _)| *known == name).unwrap();
    let strategy = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        ".{0,200}".prop_map(String::into_bytes),
        documents::of(name),
    ];
    let config = Config { cases: ROUND, failure_persistence: None, ..Config::default() };
    let (started, mut cases) = (Instant::now(), 0);
    while started.elapsed() < EACH {
        // A new one each time: it counts what it has done.
        TestRunner::new(config.clone())
            .run(&strategy, |bytes| {
                target(&bytes);
                Ok(())
            })
            .unwrap();
        cases += ROUND;
    }
    println!("{name}: {cases} cases");
}

#[test]
fn a_frame_never_panics() {
    try_for_its_time("frame");
}

#[test]
fn a_hello_never_panics() {
    try_for_its_time("hello");
}

#[test]
fn a_configuration_never_panics() {
    try_for_its_time("config");
}

#[test]
fn a_url_never_panics() {
    try_for_its_time("url");
}

#[test]
fn a_version_never_panics() {
    try_for_its_time("version");
}

#[test]
fn a_body_never_panics() {
    try_for_its_time("body");
}

#[test]
fn every_target_has_its_fuzzer_and_its_test() {
    let manifest = include_str!("../fuzz/Cargo.toml");
    let own = include_str!("main.rs");
    for (name, _) in targets::ALL {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is not fuzzed");
        assert!(own.contains(&format!("try_for_its_time(\"{name}\");")), "{name} is not tested");
        assert!(documents::count(name) > 0, "{name} has no documents");
    }
}
