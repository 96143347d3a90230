//! What the rules look at in one file: which paths it names, its literals, its comparisons.

mod attributes;
mod tokens;
mod visitor;

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    /// Under `#[test]` or `#[cfg(test)]` in its file.
    pub(crate) is_test: bool,
}

/// A path of at least two segments, or an import. `self`, `super` and `crate` are resolved to a path that begins
/// with `crate`; an import of everything ends in `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) segments: Vec<String>,
    pub(crate) place: Place,
}

/// A comparison, or a call of a method that compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Every identifier on both sides.
    pub(crate) words: Vec<String>,
    /// The function around it; empty for a constant.
    pub(crate) function: String,
    pub(crate) place: Place,
}

/// A word or a text with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// One file's facts.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The whole file belongs to tests.
    pub(crate) is_test: bool,
    /// Files of modules that are declared under `#[cfg(test)]`.
    pub(crate) test_files: Vec<String>,
    pub(crate) names: Vec<Name>,
    /// String literals; documentation is none.
    pub(crate) texts: Vec<Word>,
    pub(crate) comparisons: Vec<Comparison>,
    /// Names of macros that are called.
    pub(crate) macros: Vec<Word>,
    /// Names of modules that are declared.
    pub(crate) modules: Vec<Word>,
    /// `async` and `await`.
    pub(crate) asyncs: Vec<Place>,
    /// `#[ignore]`, and examples in documentation that are not compiled.
    pub(crate) ignores: Vec<Place>,
}

impl Facts {
    /// Names outside of tests.
    pub(crate) fn shipped_names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().filter(|name| self.ships(name.place))
    }

    /// Texts outside of tests.
    pub(crate) fn shipped_texts(&self) -> impl Iterator<Item = &Word> {
        self.texts.iter().filter(|text| self.ships(text.place))
    }

    /// Comparisons outside of tests.
    pub(crate) fn shipped_comparisons(&self) -> impl Iterator<Item = &Comparison> {
        self.comparisons.iter().filter(|comparison| self.ships(comparison.place))
    }

    pub(crate) fn ships(&self, place: Place) -> bool {
        !self.is_test && !place.is_test
    }
}

impl Name {
    /// The crate it begins at: `crate` for this one.
    pub(crate) fn root(&self) -> &str {
        self.segments.first().map_or("", String::as_str)
    }

    /// Whether it begins with these segments.
    pub(crate) fn starts_with(&self, segments: &[&str]) -> bool {
        self.segments.len() >= segments.len()
            && self.segments.iter().zip(segments).all(|(own, wanted)| own == wanted)
    }

    pub(crate) fn has(&self, segment: &str) -> bool {
        self.segments.iter().any(|own| own == segment)
    }

    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// The facts of a parsed file that stands at the path.
pub(crate) fn read(path: &str, file: &syn::File) -> Facts {
    visitor::Reader::new(path).read(file)
}
