//! Behaviour follows what a gateway says of itself: its version is compared with the minimum and nowhere else.

use crate::facts::Comparison;
use crate::source::{Finding, Source};

/// The one place that compares: file and function.
const CHECK: (&str, &str) = ("worker/src/gateway/probe.rs", "check_version");
/// How versions are ordered.
const ORDER: &str = "shared/src/domain/gateway/version.rs";

/// Release numbers and comparisons of versions in what dials gateways, semver in all that ships.
pub(crate) fn compared(sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources {
        let names =
            source.facts.shipped_names().filter(|name| name.root() == "semver" && source.path != ORDER);
        found.extend(names.map(|name| source.finding(name.place.line, format!("names {}", name.text()))));
        if !source.is_in("worker/src/") {
            continue;
        }
        let texts = source.facts.shipped_texts().filter(|text| has_release(&text.text));
        found.extend(
            texts.map(|text| source.finding(text.place.line, format!("names a release: {}", text.text))),
        );
        let comparisons = source.facts.shipped_comparisons().filter(|comparison| is_of_version(comparison));
        let strange =
            comparisons.filter(|comparison| (source.path.as_str(), comparison.function.as_str()) != CHECK);
        found.extend(strange.map(|comparison| source.finding(comparison.place.line, "compares a version")));
    }
    found
}

/// Whether the check that all this is about is where it is thought to be.
pub(crate) fn has_check(sources: &[Source]) -> bool {
    sources.iter().filter(|source| source.path == CHECK.0).any(|source| {
        let mut comparisons = source.facts.shipped_comparisons();
        comparisons.any(|comparison| comparison.function == CHECK.1 && is_of_version(comparison))
    })
}

fn is_of_version(comparison: &Comparison) -> bool {
    comparison.words.iter().any(|word| word.to_lowercase().contains("version"))
}

/// A release number, `2026.2.9` or `2026.02`, anywhere in the text.
fn has_release(text: &str) -> bool {
    let numbers = text.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    numbers.into_iter().any(|number| {
        let mut parts = number.split('.');
        let is_year = parts.next().is_some_and(|year| year.len() == 4 && year.starts_with("20"));
        is_year && parts.next().is_some_and(|month| matches!(month.len(), 1 | 2))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::in_one;

    #[test]
    fn a_version_that_is_compared_elsewhere_is_found() {
        for (path, text) in [
            ("worker/src/gateway/write.rs", "fn f() { if version >= old { g() } }"),
            ("worker/src/gateway/write.rs", "fn f() { g(self.hello.server_version == Some(dev)); }"),
            ("worker/src/gateway/write.rs", "fn f() { runtime_version.starts_with(old); }"),
            ("worker/src/gateway/write.rs", "fn f() { assert!(order.minimum_version < told); }"),
            ("worker/src/agent/files.rs", "const OLD: &str = \"2026.2.9\";"),
            ("worker/src/agent/files.rs", "fn f() { match told { \"v2026.02.9-beta.1\" => 1, _ => 2 }; }"),
            ("worker/src/agent/files.rs", "fn f() { tracing::warn!(%told, \"not of 2026.9\"); }"),
            ("worker/src/gateway/probe.rs", "fn verify() { if version > minimum { g() } }"),
            ("worker/src/jobs.rs", "use semver::Version;"),
            ("shared/src/execute.rs", "use semver::Version;"),
        ] {
            assert_eq!(in_one(compared, path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn the_check_and_what_is_no_release_are_free() {
        for (path, text) in [
            ("worker/src/gateway/probe.rs", "fn check_version() { if version >= *minimum { g() } }"),
            (
                "worker/src/gateway/write.rs",
                "/// Not on 2026.9.\nfn f() { g(&version); if protocol == 3 { h() } }",
            ),
            ("worker/src/gateway/write.rs", "#[test] fn f() { assert_eq!(version(\"2026.2.9\"), 1); }"),
            (
                "worker/src/gateway/policy.rs",
                "const A: [&str; 3] = [\"127.0.0.1\", \"20.1\", \"in 2026. Then\"];",
            ),
            ("shared/src/domain/gateway/version.rs", "use semver::Version;"),
        ] {
            assert_eq!(in_one(compared, path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn a_check_that_has_moved_is_noticed() {
        let check = "fn check_version() { if version >= *minimum { g() } }";
        assert!(has_check(&[Source::new(CHECK.0, check)]));
        assert!(!has_check(&[Source::new("worker/src/gateway/version.rs", check)]));
        assert!(!has_check(&[Source::new(CHECK.0, "fn check_version() {}")]));
    }
}
