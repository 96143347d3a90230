//! Which crate and which module may name which.

use crate::facts::Name;
use crate::source::{Finding, Source};

/// The only file of `api` that names `worker`.
const MEETING: &str = "api/src/main.rs";

/// `api → shared ← worker`, and nothing of what ships names the tests.
pub(crate) fn crates(sources: &[Source]) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources {
        let forbidden: &[&str] = match source.path.split('/').next() {
            Some("api") if source.path != MEETING => &["worker", "harness"],
            Some("api") => &["harness"],
            Some("worker") => &["api", "harness"],
            Some("shared") => &["api", "worker", "harness"],
            _ => &[],
        };
        let names = source.facts.names.iter().filter(|name| forbidden.contains(&name.root()));
        found.extend(names.map(|name| source.finding(name.place.line, format!("names {}", name.text()))));
    }
    found
}

/// The modules of `shared` in the order in which they may use each other.
#[derive(Debug)]
pub(crate) struct Map(Vec<String>);

impl Map {
    /// Reads the links of the list in the head of `shared/src/lib.rs`.
    pub(crate) fn read(text: &str) -> Self {
        let head = text.lines().take_while(|line| line.starts_with("//!"));
        let list: String = head.skip_while(|line| !line.starts_with("//! - ")).collect();
        let links = list.split("[`").skip(1).filter_map(|rest| rest.split_once("`]"));
        Self(links.map(|(name, _)| name.to_owned()).collect())
    }

    fn rank(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|listed| listed == module)
    }

    /// Modules that are declared and not listed, listed twice, or listed and not declared.
    pub(crate) fn gaps(&self, lib: &Source) -> Vec<Finding> {
        let declared = lib.facts.modules.iter().filter(|module| !module.place.is_test);
        let unlisted = declared.clone().filter(|module| self.rank(&module.text).is_none());
        let mut found: Vec<Finding> = unlisted
            .map(|module| lib.finding(module.place.line, format!("the map does not list {}", module.text)))
            .collect();
        for (at, listed) in self.0.iter().enumerate() {
            if self.rank(listed) != Some(at) {
                found.push(lib.finding(1, format!("the map lists {listed} twice")));
            }
            if !declared.clone().any(|module| module.text == *listed) {
                found.push(lib.finding(1, format!("the map lists {listed}, which is not declared")));
            }
        }
        found
    }

    /// Names of a module that stands after the one that names it.
    pub(crate) fn turned_arrows(&self, sources: &[Source]) -> Vec<Finding> {
        let mut found = Vec::new();
        for source in sources {
            let Some(own) = module(&source.path).and_then(|module| self.rank(module)) else { continue };
            let names = source.facts.shipped_names().filter(|name| self.is_turned(own, name));
            found.extend(names.map(|name| {
                source
                    .finding(name.place.line, format!("{} stands after this module in the map", name.text()))
            }));
        }
        found
    }

    fn is_turned(&self, own: usize, name: &Name) -> bool {
        if name.root() != "crate" {
            return false;
        }
        let Some(used) = name.segments.get(1) else { return true };
        // Everything of the crate includes what stands after.
        used == "*" || self.rank(used).is_some_and(|used| used > own)
    }
}

/// The top module of `shared` that the file belongs to.
fn module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("shared/src/")?;
    inside.split('/').next().map(|first| first.trim_end_matches(".rs"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::in_one;

    #[test]
    fn a_crate_that_names_the_wrong_one_is_found() {
        for (path, text) in [
            ("api/src/wait.rs", "use worker::jobs;"),
            ("api/src/wait.rs", "use ::{shared::ids, worker};"),
            ("api/src/wait.rs", "fn f() { worker::jobs::run(); }"),
            ("api/src/wait.rs", "fn f(deps: &worker::Deps) {}"),
            ("api/src/wait.rs", "fn f() { tokio::select! { _ = worker::jobs::run() => {} } }"),
            ("api/src/wait.rs", "#[cfg(test)] mod tests { use worker::jobs; }"),
            ("worker/src/jobs.rs", "use api::state::State;"),
            ("worker/src/jobs.rs", "extern crate api;"),
            ("shared/src/ids.rs", "pub use worker as other;"),
            ("shared/src/ids.rs", "fn f() { tracing::info!(id = %api::ids::mint()); }"),
            ("worker/src/jobs.rs", "use harness::fake_gateway;"),
        ] {
            assert_eq!(in_one(crates, path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn main_and_the_tests_may_name_all() {
        for (path, text) in [
            ("api/src/main.rs", "use worker::jobs;"),
            ("tests/http/main.rs", "use {api::routes, worker::jobs};"),
            ("api/src/serve.rs", "async fn f(worker: impl FnOnce(u8)) { worker(1); state.worker.run(); }"),
            ("worker/src/jobs.rs", "/// Like [`api::wait`].\nconst TEXT: &str = \"api::wait\";"),
        ] {
            assert_eq!(in_one(crates, path, text), [""; 0], "{path}: {text}");
        }
    }

    const HEAD: &str = "//! Of [`later`].\n//!\n//! - [`ids`], [`secret`]: values (`now`).\n//! - [`store`]:\n//!   rows; [`later`] rests.\n";

    #[test]
    fn the_map_is_read_in_its_order() {
        assert_eq!(Map::read(HEAD).0, ["ids", "secret", "store", "later"]);
    }

    #[test]
    fn a_module_that_uses_a_later_one_is_found() {
        let turned = |sources: &[Source]| Map::read(HEAD).turned_arrows(sources);
        for (path, text) in [
            ("shared/src/ids.rs", "use crate::secret::Secret;"),
            ("shared/src/ids.rs", "use super::store;"),
            ("shared/src/secret.rs", "use crate::{ids::Id, store::{Store, sqlite}};"),
            ("shared/src/store/sqlite/commit.rs", "fn f() { super::super::super::later::f() }"),
            ("shared/src/store.rs", "fn f() -> Box<dyn crate::later::Later> { x }"),
            ("shared/src/store.rs", "fn f() { tracing::warn!(error = crate::later::chain(&e), \"lost\"); }"),
            ("shared/src/ids.rs", "use super::*;"),
            ("shared/src/ids.rs", "use crate as all;"),
        ] {
            assert!(!in_one(turned, path, text).is_empty(), "{path}: {text}");
        }
    }

    #[test]
    fn a_module_may_use_itself_the_earlier_ones_and_in_tests_all() {
        let turned = |sources: &[Source]| Map::read(HEAD).turned_arrows(sources);
        for (path, text) in [
            ("shared/src/store/plan.rs", "use super::{Head, sqlite}; use crate::ids::Id; use self::a::b;"),
            ("shared/src/secret.rs", "use std::fmt; use store::x; mod a { use super::*; }"),
            ("shared/src/ids.rs", "#[cfg(test)] mod tests { use super::*; use crate::store::Store; }"),
        ] {
            assert_eq!(in_one(turned, path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn a_map_that_differs_from_the_modules_is_found() {
        let lib = |text: &str| Source::new("shared/src/lib.rs", text);
        let modules = "mod ids; mod secret; mod store; mod later;";
        assert!(Map::read(HEAD).gaps(&lib(modules)).is_empty());
        assert_eq!(Map::read(HEAD).gaps(&lib(&format!("{modules} pub mod other;"))).len(), 1);
        assert_eq!(Map::read(HEAD).gaps(&lib("mod ids; mod secret; mod store;")).len(), 1);
        assert_eq!(Map::read(&format!("{HEAD}//! - [`ids`]")).gaps(&lib(modules)).len(), 1);
    }
}
