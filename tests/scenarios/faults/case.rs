//! One row of the table: what is there, how it is registered, how that ends.

use std::{ops::RangeInclusive, time::Duration};

use harness::{
    fake_gateway::{Fault, Options},
    strangers::{Manner, Name},
};
use serde_json::{Value, json};

/// What is at the URL.
#[derive(Debug, Clone)]
pub(super) enum There {
    /// A gateway.
    Gateway(Box<Options>),
    /// A port that is closed.
    Closed,
    /// Something else that listens.
    Stranger(Manner),
    /// A host name.
    Named(Name),
}

/// How the registration ends.
#[derive(Debug, Clone)]
pub(super) enum End {
    Created,
    Failed {
        code: &'static str,
        stage: &'static str,
        /// Parts of `detail`; `{port}` becomes the port.
        says: Vec<&'static str>,
    },
}

/// Connections, those of the clean-up within the attempt included.
#[derive(Debug, Clone)]
pub(super) enum Dials {
    Within(RangeInclusive<usize>),
    AsRestarted,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) there: There,
    /// In place of the scheme that fits.
    pub(super) scheme: Option<&'static str>,
    /// Members of the body in place of the usual ones.
    pub(super) body: Value,
    /// Whether nobody waits for the answer.
    pub(super) is_background: bool,
    pub(super) end: End,
    pub(super) dials: Dials,
    /// Restarts that must be over when it is created.
    pub(super) restarts: usize,
    /// Tries with a credential that was rejected.
    pub(super) rejected: usize,
    pub(super) attempts: u64,
    /// In place of what the patience allows.
    pub(super) within: Option<Duration>,
}

/// What a person is told to try when nothing answers.
pub(super) const UNREACHABLE: [&str; 2] = ["ps aux | grep openclaw", "nc -zv 127.0.0.1 {port}"];

impl Case {
    fn new(name: impl Into<String>, there: There) -> Self {
        Self {
            name: name.into(),
            there,
            scheme: None,
            body: json!({}),
            is_background: false,
            end: End::Created,
            dials: Dials::Within(1..=1),
            restarts: 0,
            rejected: 0,
            attempts: 1,
            within: None,
        }
    }

    /// A gateway of the newest version with one fault.
    pub(super) fn fault(name: impl Into<String>, fault: Fault) -> Self {
        Self::gateway(name, Options::default().with(fault))
    }

    pub(super) fn gateway(name: impl Into<String>, options: Options) -> Self {
        Self::new(name, There::Gateway(Box::new(options)))
    }

    pub(super) fn closed(name: impl Into<String>) -> Self {
        // A closed port counts nothing; a name does.
        Self::new(name, There::Closed).dials(0..=0)
    }

    pub(super) fn stranger(name: impl Into<String>, manner: Manner) -> Self {
        Self::new(name, There::Stranger(manner))
    }

    pub(super) fn named(name: impl Into<String>, is: Name) -> Self {
        Self::new(name, There::Named(is))
    }

    pub(super) fn fails(mut self, code: &'static str, stage: &'static str, says: &[&'static str]) -> Self {
        self.end = End::Failed { code, stage, says: says.to_vec() };
        self
    }

    pub(super) fn scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = Some(scheme);
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = body;
        self
    }

    pub(super) fn dials(mut self, dials: RangeInclusive<usize>) -> Self {
        self.dials = Dials::Within(dials);
        self
    }

    /// One connection, one more for each that a restart cuts, and one for each upgrade that it refuses.
    pub(super) fn restarted(mut self, times: usize) -> Self {
        self.dials = Dials::AsRestarted;
        self.restarts = times;
        self
    }

    pub(super) fn rejected(mut self, times: usize) -> Self {
        self.rejected = times;
        self
    }

    pub(super) fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// The same with nobody waiting.
    pub(super) fn in_background(mut self, attempts: u64) -> Self {
        self.name.push_str(", in the background");
        self.is_background = true;
        self.attempts = attempts;
        self
    }
}
