//! What differs from one gateway version to the next.

use std::str::FromStr;

use serde_json::Value;

/// The gateway release whose behaviour is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Documented minimum: protocol 3, reports `dev`, restarts for every write.
    V2026_2_9,
    /// Protocol 3, `details.code` present, device-less clients get no scopes.
    /// Not recorded: follows the tables of the research page.
    V2026_3_13,
    /// Protocol 4, `agents.list`, arrays merge by id.
    V2026_6_11,
    /// Protocol 4, `agents.entries`, hot configuration, no control UI mode.
    V2026_9_6,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V2026_2_9, Self::V2026_3_13, Self::V2026_6_11, Self::V2026_9_6];

    /// The release number, as `config.schema` reports it.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::V2026_2_9 => "2026.2.9",
            Self::V2026_3_13 => "2026.3.13",
            Self::V2026_6_11 => "2026.6.11",
            Self::V2026_9_6 => "2026.9.6",
        }
    }

    /// What hello reports: 2026.2.9 only knows `dev`.
    #[must_use]
    pub fn reported(self) -> &'static str {
        if self == Self::V2026_2_9 { "dev" } else { self.number() }
    }

    /// The one protocol it speaks.
    #[must_use]
    pub fn protocol(self) -> u64 {
        if self <= Self::V2026_3_13 { 3 } else { 4 }
    }

    /// Largest frame it takes after hello, in bytes.
    #[must_use]
    pub fn frame_bytes_max(self) -> usize {
        if self == Self::V2026_2_9 { 512 * 1024 } else { 25 * 1024 * 1024 }
    }

    /// Longest session label, in characters.
    #[must_use]
    pub fn label_chars_max(self) -> usize {
        if self <= Self::V2026_3_13 { 64 } else { 512 }
    }

    /// How far `signedAt` may be from its clock, in milliseconds.
    pub(crate) fn skew_ms_max(self) -> u64 {
        if self == Self::V2026_2_9 { 600_000 } else { 120_000 }
    }

    /// Configuration writes allowed in 60 s; `None` has no limit.
    pub(crate) fn patches_max(self) -> Option<usize> {
        match self {
            Self::V2026_2_9 => None,
            Self::V2026_3_13 | Self::V2026_6_11 => Some(3),
            Self::V2026_9_6 => Some(30),
        }
    }

    pub(crate) fn has_detail_codes(self) -> bool {
        self > Self::V2026_2_9
    }

    pub(crate) fn has_entries(self) -> bool {
        self == Self::V2026_9_6
    }

    /// Files `agents.files.set` takes.
    pub(crate) fn takes_file(self, name: &str) -> bool {
        let removed = matches!(name, "TOOLS.md" | "HEARTBEAT.md");
        let known = matches!(
            name,
            "AGENTS.md"
                | "SOUL.md"
                | "TOOLS.md"
                | "IDENTITY.md"
                | "USER.md"
                | "HEARTBEAT.md"
                | "BOOTSTRAP.md"
                | "MEMORY.md"
        );
        known && !(removed && self.has_entries())
    }

    /// Files `agents.files.list` shows, missing or not.
    pub(crate) fn listed_files(self) -> &'static [&'static str] {
        if self.has_entries() {
            &["AGENTS.md", "SOUL.md", "USER.md", "BOOTSTRAP.md", "MEMORY.md"]
        } else {
            &[
                "AGENTS.md",
                "SOUL.md",
                "TOOLS.md",
                "IDENTITY.md",
                "USER.md",
                "HEARTBEAT.md",
                "BOOTSTRAP.md",
                "MEMORY.md",
            ]
        }
    }

    /// The recorded `hello-ok` payload, the shape of every hello. 2026.3.13
    /// was not recorded and borrows that of 2026.6.11.
    pub(crate) fn hello(self) -> Value {
        let recorded = match self {
            Self::V2026_2_9 => include_str!("../../samples/openclaw/2026.2.9/hello-ok.json"),
            Self::V2026_3_13 | Self::V2026_6_11 => {
                include_str!("../../samples/openclaw/2026.6.11/hello-ok.json")
            }
            Self::V2026_9_6 => include_str!("../../samples/openclaw/2026.9.6/hello-ok.json"),
        };
        let frames: Value = serde_json::from_str(recorded).expect("a recording is JSON");
        frames.pointer("/2/frame/payload").cloned().expect("the third frame is hello")
    }

    /// The recorded answer of a read method, by method name.
    pub(crate) fn recorded_read(self, method: &str) -> Option<Value> {
        let recorded = match self {
            Self::V2026_2_9 => include_str!("../../samples/openclaw/2026.2.9/read-calls.json"),
            Self::V2026_3_13 | Self::V2026_6_11 => {
                include_str!("../../samples/openclaw/2026.6.11/read-calls.json")
            }
            Self::V2026_9_6 => include_str!("../../samples/openclaw/2026.9.6/read-calls.json"),
        };
        let calls: Value = serde_json::from_str(recorded).expect("a recording is JSON");
        calls.get(method)?.get("payload").cloned()
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|version| version.number() == text).ok_or_else(|| {
            format!("no profile for {text}; there are 2026.2.9, 2026.3.13, 2026.6.11 and 2026.9.6")
        })
    }
}
