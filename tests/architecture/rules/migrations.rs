//! The migrations of both databases: forward only, the same numbers and names.

/// The files of one database's folder.
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) files: Vec<String>,
}

/// What is wrong with the folders; each must hold the same files as the first.
pub(crate) fn differences(folders: &[Folder]) -> Vec<String> {
    let mut found = Vec::new();
    for folder in folders {
        let mut files = folder.files.clone();
        files.sort();
        for (at, file) in files.iter().enumerate() {
            if !is_named_right(at + 1, file) {
                found.push(format!("{}/{file} is not named {:04}_what_it_does.sql", folder.name, at + 1));
            }
        }
    }
    let Some((first, others)) = folders.split_first() else { return vec!["no migrations".to_owned()] };
    if first.files.is_empty() {
        found.push(format!("{} is empty", first.name));
    }
    for other in others {
        let missing = first.files.iter().filter(|file| !other.files.contains(file));
        found.extend(missing.map(|file| format!("{} lacks {file}", other.name)));
        let more = other.files.iter().filter(|file| !first.files.contains(file));
        found.extend(more.map(|file| format!("{} lacks {file}", first.name)));
    }
    found
}

fn is_named_right(number: usize, file: &str) -> bool {
    let Some(name) = file.strip_prefix(&format!("{number:04}_")) else { return false };
    let Some(name) = name.strip_suffix(".sql") else { return false };
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    !name.is_empty() && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, files: &[&str]) -> Folder {
        Folder { name: name.to_owned(), files: files.iter().map(|file| (*file).to_owned()).collect() }
    }

    #[test]
    fn folders_that_differ_are_found() {
        let sqlite = || folder("sqlite", &["0001_event_log.sql", "0002_agents.sql"]);
        for other in [
            folder("postgres", &["0001_event_log.sql"]),
            folder("postgres", &["0001_event_log.sql", "0002_agents.sql", "0003_more.sql"]),
            folder("postgres", &["0001_event_log.sql", "0002_agent.sql"]),
            folder("postgres", &[]),
        ] {
            let files = other.files.clone();
            assert!(!differences(&[sqlite(), other]).is_empty(), "{files:?}");
        }
        let same = folder("postgres", &["0002_agents.sql", "0001_event_log.sql"]);
        assert_eq!(differences(&[sqlite(), same]), [""; 0]);
        assert_eq!(differences(&[sqlite()]), [""; 0]);
    }

    #[test]
    fn names_and_gaps_are_found() {
        for files in [
            &["0002_event_log.sql"][..],
            &["0001_event_log.sql", "0003_agents.sql"],
            &["0001_event_log.sql", "0001_again.sql"],
            &["1_event_log.sql"],
            &["0001_Event-Log.sql"],
            &["0001_.sql"],
            &["0001_event_log.down.sql"],
            &["0001_event_log.txt"],
            &[],
        ] {
            assert_eq!(differences(&[folder("sqlite", files)]).len(), 1, "{files:?}");
        }
        assert_eq!(differences(&[]).len(), 1);
    }
}
