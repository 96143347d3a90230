//! The Rust files of the workspace.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::facts::{self, Facts};

/// The crates whose files are read.
const CRATES: [&str; 4] = ["api", "shared", "tests", "worker"];

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the workspace's folder, with `/`.
    pub(crate) path: String,
    pub(crate) lines: usize,
    pub(crate) facts: Facts,
}

/// What a rule has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) why: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.why)
    }
}

impl Source {
    /// Reads Rust text that stands at this path.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let file = syn::parse_file(text).expect("a file of the workspace is Rust");
        Self { path: path.to_owned(), lines: text.lines().count(), facts: facts::read(path, &file) }
    }

    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    pub(crate) fn finding(&self, line: usize, why: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, why: why.into() }
    }
}

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the workspace")
}

/// Every Rust file of the workspace, in the order of their paths; read once.
pub(crate) fn workspace() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let mut sources: Vec<Source> = CRATES
            .iter()
            .flat_map(|name| files(&root().join(name)))
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .map(|path| {
                Source::new(&relative(&path), &std::fs::read_to_string(&path).expect("a readable file"))
            })
            .collect();
        mark_tests(&mut sources);
        sources.sort_by(|one, other| one.path.cmp(&other.path));
        sources
    });
    &SOURCES
}

/// A module that is declared for tests only is one in its own file too.
fn mark_tests(sources: &mut [Source]) {
    let of_tests: Vec<String> = sources.iter().flat_map(|source| source.facts.test_files.clone()).collect();
    for source in sources {
        if source.is_in("tests/") || of_tests.contains(&source.path) {
            source.facts.is_test = true;
        }
    }
}

/// All files below the folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The path from the workspace's folder.
pub(crate) fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("a file of the workspace");
    inside.to_string_lossy().replace('\\', "/")
}
