//! Sizes, names and what is left undone.

use crate::source::{Finding, Source};

const LINES_MAX: usize = 500;
const NAMES: [&str; 12] = [
    "common",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "service",
    "services",
    "shared",
    "util",
    "utils",
    "utilities",
];
const UNDONE: [&str; 2] = ["todo", "unimplemented"];

/// Files that are too long, or named `mod.rs`.
pub(crate) fn files(sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources {
        if source.lines > LINES_MAX {
            found.push(source.finding(source.lines, format!("is longer than {LINES_MAX} lines")));
        }
        if source.path.ends_with("/mod.rs") {
            found.push(source.finding(1, "is a mod.rs: write foo.rs beside foo/"));
        }
    }
    found
}

/// Modules whose name does not say what they hold.
pub(crate) fn module_names(sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources {
        let modules = source.facts.modules.iter().filter(|module| NAMES.contains(&module.text.as_str()));
        found.extend(modules.map(|module| {
            source.finding(
                module.place.line,
                format!("the module {} is not named for what it holds", module.text),
            )
        }));
    }
    found
}

/// Tests that are skipped, and code that is not written.
pub(crate) fn undone(sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources {
        found.extend(source.facts.ignores.iter().map(|place| source.finding(place.line, "is ignored")));
        let macros = source.facts.macros.iter().filter(|called| UNDONE.contains(&called.text.as_str()));
        found.extend(
            macros.map(|called| source.finding(called.place.line, format!("calls {}!", called.text))),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::in_one;

    #[test]
    fn a_long_file_and_a_mod_rs_are_found() {
        let lines = |number: usize| "fn f() {}\n".repeat(number);
        assert_eq!(in_one(files, "tests/http/main.rs", &lines(501)).len(), 1);
        assert_eq!(in_one(files, "tests/http/main.rs", &lines(500)), [""; 0]);
        assert_eq!(in_one(files, "api/src/gateways/mod.rs", "").len(), 1);
        assert_eq!(in_one(files, "api/src/gateways/model.rs", ""), [""; 0]);
    }

    #[test]
    fn a_module_that_is_named_for_nothing_is_found() {
        for text in
            ["mod utils;", "pub mod common { }", "mod a { mod helpers; }", "#[cfg(test)] mod service;"]
        {
            assert_eq!(in_one(module_names, "api/src/lib.rs", text).len(), 1, "{text}");
        }
        assert_eq!(in_one(module_names, "api/src/lib.rs", "mod server; mod wait; use utils::x;"), [""; 0]);
    }

    #[test]
    fn what_is_skipped_or_not_written_is_found() {
        for text in [
            "#[test] #[ignore] fn f() {}",
            "#[test] #[ignore = \"slow\"] fn f() {}",
            "mod tests { #[cfg_attr(unix, ignore)] #[test] fn f() {} }",
            "proptest! { #[test] #[ignore] fn f(a in 0..1) {} }",
            "/// ```ignore\n/// f();\n/// ```\nfn f() {}",
            "fn f() { todo!() }",
            "fn f() { unimplemented!(\"later\"); }",
            "fn f() { tokio::select! { _ = a => todo!(), } }",
            "fn f() { std::todo!() }",
        ] {
            assert_eq!(in_one(undone, "tests/http/main.rs", text).len(), 1, "{text}");
        }
        let done =
            "/// Ignores `todo!`.\nfn ignore() { if !todo { f(\"todo!()\") } else if todo != 1 { g() } }";
        assert_eq!(in_one(undone, "api/src/lib.rs", done), [""; 0]);
    }
}
