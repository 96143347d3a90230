//! `domain` decides from values: no IO, no clock, no randomness, no environment, nothing to wait for.

use crate::facts::Name;
use crate::source::{Finding, Source};

const DOMAIN: &str = "shared/src/domain";

const CRATES: [&str; 16] = [
    "apalis",
    "apalis_core",
    "async_trait",
    "axum",
    "futures_util",
    "getrandom",
    "metrics",
    "rand",
    "reqwest",
    "rustls",
    "sqlx",
    "tokio",
    "tokio_tungstenite",
    "tower",
    "tracing",
    "ulid",
];

const MODULES: [&[&str]; 8] = [
    &["crate", "clock"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "os"],
    &["std", "process"],
    &["std", "sync"],
    &["std", "thread"],
];

/// Types and functions that ask the system, wherever they are imported from.
const ITEMS: [&str; 9] = [
    "Instant",
    "Local",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "new_v4",
    "now_v7",
];

/// What the domain names and may not.
pub(crate) fn domain(sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.is_in(DOMAIN)) {
        let names = source.facts.shipped_names().filter(|name| is_impure(name));
        found.extend(names.map(|name| source.finding(name.place.line, format!("names {}", name.text()))));
        let asyncs = source.facts.asyncs.iter().filter(|place| source.facts.ships(**place));
        found.extend(asyncs.map(|place| source.finding(place.line, "is asynchronous")));
    }
    found
}

fn is_impure(name: &Name) -> bool {
    let last = name.segments.last().map_or("", String::as_str);
    CRATES.contains(&name.root())
        || MODULES.iter().any(|module| name.starts_with(module))
        || ITEMS.iter().any(|item| name.has(item))
        || (last == "now" && name.segments.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::in_one;

    const FILE: &str = "shared/src/domain/gateway/decide.rs";

    #[test]
    fn whatever_asks_the_world_is_found() {
        for text in [
            "use tokio::sync::watch;",
            "use sqlx::Row as _;",
            "use axum::Json;",
            "fn f() { tracing::info!(\"decided\"); }",
            "#[tracing::instrument] fn f() {}",
            "use crate::clock::Clock;",
            "use crate::{clock, ids};",
            "use super::super::super::clock;",
            "use rand::Rng;",
            "use std::{env, fmt};",
            "fn f() { std::fs::read(path); }",
            "use std::time::SystemTime;",
            "fn f() { let at = chrono::Utc::now(); }",
            "fn f() { let id = Uuid::now_v7(); }",
            "fn f() { let id = format!(\"{}\", Uuid::new_v4()); }",
            "async fn f() {}",
            "fn f() { async {}; }",
            "trait T { async fn f(); }",
        ] {
            assert_eq!(in_one(domain, FILE, text).len(), 1, "{text}");
        }
    }

    #[test]
    fn values_and_tests_are_free() {
        for (path, text) in [
            (
                FILE,
                "use std::{fmt, net::IpAddr, time::Duration}; use chrono::{DateTime, Utc}; use uuid::Uuid;",
            ),
            (
                FILE,
                "/// Waits for `tokio::time`.\nfn f(now: DateTime<Utc>) -> bool { now > Event::now_or_never(now) }",
            ),
            (FILE, "#[cfg(test)] mod tests { use rand::Rng; #[test] fn f() { std::env::vars(); } }"),
            ("shared/src/execute.rs", "use crate::clock::Clock; async fn f() {}"),
        ] {
            assert_eq!(in_one(domain, path, text), [""; 0], "{path}: {text}");
        }
    }
}
