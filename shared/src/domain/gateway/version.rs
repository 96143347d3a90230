//! `OpenClaw` versions: calendar versions, mapped onto `semver` for their order.

use std::{fmt, str::FromStr};

use semver::Prerelease;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A calendar version such as `2026.9.6`.
///
/// Accepted: `v?YYYY.M.D` with leading zeros (`2026.02.9`), days above 31 (`2026.6.33` was published), `-N` for a
/// later revision and `-alpha.N`/`-beta.N`/`-rc.N` for what precedes the release. Two versions are equal if they
/// mean the same release, however they are written; `Display` prints what was parsed.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    /// Major, minor and patch are year, month and day; a pre-release sorts below its release.
    order: semver::Version,
    /// The `-N` revision; 0 for the release itself and for a pre-release.
    revision: u64,
}

/// A text that is not a calendar version, for example `dev`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a version such as 2026.9.6")]
pub struct InvalidVersion;

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let plain = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (date, suffix) = plain.split_once('-').map_or((plain, None), |(date, rest)| (date, Some(rest)));
        let mut parts = date.split('.');
        let year = number(parts.next(), 4)?;
        let month = number(parts.next(), 2)?;
        let day = number(parts.next(), 3)?;
        if parts.next().is_some() || year < 2000 || !(1..=12).contains(&month) || day == 0 {
            return Err(InvalidVersion);
        }
        let mut order = semver::Version::new(year, month, day);
        let mut revision = 0;
        match suffix.map(|suffix| suffix.split_once('.').ok_or(suffix)) {
            None => {}
            Some(Err(plain)) => revision = number(Some(plain), 6)?,
            Some(Ok((name, count))) if matches!(name, "alpha" | "beta" | "rc") => {
                let count = number(Some(count), 6)?;
                order.pre = Prerelease::new(&format!("{name}.{count}")).map_err(|_| InvalidVersion)?;
            }
            Some(Ok(_)) => return Err(InvalidVersion),
        }
        Ok(Self { text: text.to_owned(), order, revision })
    }
}

/// A decimal number of 1 to `digits_max` digits, leading zeros allowed.
fn number(text: Option<&str>, digits_max: usize) -> Result<u64, InvalidVersion> {
    let text = text.filter(|text| (1..=digits_max).contains(&text.len())).ok_or(InvalidVersion)?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidVersion);
    }
    text.parse().map_err(|_| InvalidVersion)
}

impl Version {
    fn key(&self) -> (&semver::Version, u64) {
        (&self.order, self.revision)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_sort_as_they_were_published() {
        let ascending = [
            "2026.1.29",
            "2026.2.9-beta.1",
            "2026.2.9-beta.2",
            "2026.2.9-beta.10",
            "2026.2.9-rc.1",
            "2026.02.9",
            "2026.2.9-1",
            "2026.2.9-2",
            "2026.2.9-10",
            "2026.2.10",
            "2026.6.11",
            "2026.6.33",
            "2026.9.6",
            "2026.10.1",
            "v2027.1.1",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn spelling_does_not_matter() {
        assert_eq!(version("2026.02.9"), version("v2026.2.09"));
        assert_eq!(version("2026.02.9").to_string(), "2026.02.9");
    }

    #[test]
    fn anything_else_is_not_a_version() {
        for text in [
            "",
            "dev",
            "unknown",
            "2026",
            "2026.2",
            "2026.2.9.1",
            "2026.13.1",
            "2026.0.1",
            "2026.1.0",
            "26.1.1",
            "2026.2.9-",
            "2026.2.9-x",
            "2026.2.9-beta",
            "2026.2.9-beta.",
            "2026.2.9-beta.x",
            "2026.2.-9",
            " 2026.2.9",
            "2026.2.9 ",
            "2026.2.9+1",
            "1.2.3",
            "2026.2.9-gamma.1",
            "vv2026.2.9",
            "２０２６.2.9",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = text.parse::<Version>();
        }
    }
}
