//! Names that are stored or sent. A row, a consumer or a script may hold one: a change here needs all of them to follow.

use api::problem::codes;
use shared::domain::{gateway, key, organization, queue};
use shared::job::Kind;

#[test]
fn stored_names_are_pinned() {
    let list = |names: Vec<&str>| names.join("\n  ");
    let pinned = [
        ("gateway events", list(gateway::Event::NAMES.to_vec())),
        ("organization events", list(organization::Event::NAMES.to_vec())),
        ("queue events", list(queue::Event::NAMES.to_vec())),
        ("key events", list(key::Event::NAMES.to_vec())),
        ("jobs", list(Kind::ALL.iter().map(|kind| kind.as_str()).collect())),
        ("problem codes", list(codes::ALL.iter().map(|entry| entry.code).collect())),
    ];
    let text: Vec<String> = pinned.iter().map(|(what, names)| format!("{what}\n  {names}")).collect();
    insta::assert_snapshot!(text.join("\n"));
}
