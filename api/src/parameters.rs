//! Parameters of a query, where each fault is told and a repeated parameter is one, and of a path.

use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use shared::problem::FieldError;

use crate::{
    body::fault,
    problem::{Failure, codes},
};

/// The one parameter of a path; what is no text names nothing.
#[derive(Debug)]
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| {
            Failure::new(
                &codes::NOT_FOUND,
                "The path is not UTF-8, so it names nothing; /docs shows what there is.",
            )
        })?;
        Ok(Self(text))
    }
}

/// The query of a request.
#[derive(Debug)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
    faults: Vec<FieldError>,
}

impl Parameters {
    /// Takes a query apart.
    #[must_use]
    pub fn of(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self { pairs: pairs.into_owned().collect(), faults: vec![] }
    }

    /// A parameter as it was given.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let mut values = self.pairs.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.clone());
        if values.next().is_some() {
            self.refuse(name, "is given more than once");
        }
        value
    }

    /// A number within bounds; the default where it is not given.
    pub fn number<T: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        name: &str,
        (least, most): (T, T),
        or: T,
    ) -> T {
        let Some(text) = self.text(name) else { return or };
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<T>() {
            Ok(number) if is_plain && number >= least && number <= most => number,
            _ => {
                self.refuse(name, &format!("must be a whole number from {least} to {most}"));
                or
            }
        }
    }

    /// `true` or `false`; false where it is not given.
    pub fn switch(&mut self, name: &str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.refuse(name, "must be true or false");
                false
            }
        }
    }

    /// `true` or `false`; true where it is not given.
    pub fn switch_on(&mut self, name: &str) -> bool {
        self.text(name).is_none() || self.switch(name)
    }

    /// Adds a fault of a parameter.
    pub fn refuse(&mut self, name: &str, what: &str) {
        self.faults.push(fault(name, &codes::INVALID_PARAMETER, format!("`{name}` {what}.")));
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// `invalid_parameter` with every fault.
    pub fn done(self) -> Result<(), Failure> {
        if self.faults.is_empty() { Ok(()) } else { Err(Failure::of_faults(self.faults)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_within_their_bounds_only() {
        let number = |query: &str| {
            let mut parameters = Parameters::of(Some(query));
            let number = parameters.number("limit", (1_u32, 100), 50);
            parameters.done().map(|()| number).map_err(|failure| failure.problem().code.clone())
        };
        assert_eq!(number(""), Ok(50));
        assert_eq!(number("limit=100&x=1"), Ok(100));
        for bad in [
            "limit=0",
            "limit=101",
            "limit=",
            "limit=x",
            "limit=+5",
            "limit=-1",
            "limit=1&limit=1",
            "limit=1.0",
        ] {
            assert_eq!(number(bad), Err("invalid_parameter".to_owned()), "{bad}");
        }
    }
}
