//! Which files are written, in which order, and what becomes of those that a gateway does not take.

use super::templates::{Facts, Template, render};

/// Files whose content a gateway may refuse and the agent still needs: it then ends AGENTS.md.
pub const MOVABLE: [Template; 2] = [Template::Tools, Template::Heartbeat];

/// Written first, together. AGENTS.md follows, when it is known what it must carry.
pub const FIRST: [Template; 6] = [
    Template::Tools,
    Template::Heartbeat,
    Template::Soul,
    Template::Identity,
    Template::User,
    Template::Memory,
];

/// AGENTS.md, ending with the content of the files that were not taken.
///
/// # Errors
/// A template is wrong, which its test excludes.
pub fn agents_file(facts: &Facts<'_>, moved: &[Template]) -> Result<String, minijinja::Error> {
    let mut text = render(Template::Agents, facts)?;
    for template in moved {
        text.push_str("\n---\n\n");
        text.push_str(&render(*template, facts)?);
    }
    Ok(text)
}
