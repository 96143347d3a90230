//! The text of the templates: ours, or an operator's own from `TEMPLATES_DIR`, checked before anything is dialled.

use std::path::{Path, PathBuf};

use shared::secret::Secret;

use super::templates::{Facts, Template, render};

/// Why an operator's templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The folder or a file in it cannot be read.
    #[error("the template {path} cannot be read")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file of the folder is no template of ours.
    #[error(
        "{path} is no template; known are AGENTS.md.j2, SOUL.md.j2, TOOLS.md.j2, IDENTITY.md.j2, USER.md.j2, HEARTBEAT.md.j2 and MEMORY.md.j2"
    )]
    Unknown {
        /// Which.
        path: PathBuf,
    },
    /// A template is wrong.
    #[error("{path}:{line}: {problem}")]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// An operator's own templates; the built-in text stands for those that are not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources(Vec<(Template, String)>);

impl Sources {
    /// Ours alone.
    pub const BUILT_IN: Self = Self(vec![]);

    /// Reads the files named `<file>.j2` of a folder, and renders each once.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] with the file, and the line of what is wrong in it.
    pub fn read(folder: &Path) -> Result<Self, TemplateError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| TemplateError::File { path, source }
        };
        let mut own = vec![];
        for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            if path.extension().is_none_or(|extension| extension != "j2") {
                continue;
            }
            let stem = path.file_stem().unwrap_or_default().to_owned();
            let template = Template::ALL.into_iter().find(|template| template.file_name() == stem);
            let Some(template) = template else { return Err(TemplateError::Unknown { path }) };
            own.push((template, std::fs::read_to_string(&path).map_err(failed(&path))?));
        }
        let sources = Self(own);
        sources.check(folder)?;
        Ok(sources)
    }

    fn check(&self, folder: &Path) -> Result<(), TemplateError> {
        let token = Secret::from("mca_example");
        let facts = Facts {
            sources: self,
            gateway_name: "Example",
            base_url: "http://127.0.0.1:8000",
            agent_id: "agent-example",
            agent_token: &token,
            every: "30 minutes",
        };
        for (template, _) in &self.0 {
            render(*template, &facts).map_err(|error| TemplateError::Wrong {
                path: folder.join(format!("{}.j2", template.file_name())),
                line: error.line().unwrap_or(1),
                problem: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
            })?;
        }
        Ok(())
    }

    /// The text of a template.
    #[must_use]
    pub fn text(&self, template: Template) -> &str {
        let own = self.0.iter().find(|(known, _)| *known == template);
        own.map_or_else(|| template.source(), |(_, text)| text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Sources, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let told = |error: TemplateError| {
            shared::chain::chain(&error).replace(folder.path().to_str().unwrap(), "[dir]")
        };
        Sources::read(folder.path()).map_err(told)
    }

    #[test]
    fn an_operators_own_template_is_used_and_the_others_stay() {
        let sources = read(&[("SOUL.md.j2", "For {{ gateway_name }}."), ("README", "no template")]).unwrap();
        assert_eq!(sources.text(Template::Soul), "For {{ gateway_name }}.");
        assert_eq!(sources.text(Template::Tools), Template::Tools.source());
    }

    #[test]
    fn a_fault_is_told_with_file_and_line() {
        let wrong = read(&[("SOUL.md.j2", "one\ntwo {{ nobody }}\n")]).unwrap_err();
        assert!(wrong.starts_with("[dir]/SOUL.md.j2:2: "), "{wrong}");
        let wrong = read(&[("TOOLS.md.j2", "one\n\n{% if %}\n")]).unwrap_err();
        assert!(wrong.starts_with("[dir]/TOOLS.md.j2:3: "), "{wrong}");
        let unknown = read(&[("OTHER.md.j2", "")]).unwrap_err();
        assert!(unknown.starts_with("[dir]/OTHER.md.j2 is no template"), "{unknown}");
        assert!(Sources::read(Path::new("/nowhere/at/all")).is_err());
    }
}
