//! The rules, each a function from files to findings, with the proof that it finds something.

pub(crate) mod arrows;
pub(crate) mod migrations;
pub(crate) mod purity;
pub(crate) mod shape;
pub(crate) mod storage;
pub(crate) mod versions;

#[cfg(test)]
use crate::source::{Finding, Source};

/// What a rule finds in one file of this text.
#[cfg(test)]
fn in_one(rule: impl Fn(&[Source]) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
    rule(&[Source::new(path, text)]).iter().map(ToString::to_string).collect()
}
