//! How often a token and an address may ask: each has an allowance that is spent by requests and grows back over a
//! minute. Each process counts by itself; what it counts is lost when it ends.

pub mod fields;
pub mod meter;
pub mod source;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use ipnet::IpNet;
use shared::ids::TokenId;

use self::{
    meter::{Meter, Standing, Used},
    source::Source,
};
use crate::problem::{Failure, codes};

/// Of so many tokens is it remembered that they are good.
const GOOD_MAX: usize = 100_000;

/// Requests in a minute; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// With one token.
    pub token: u32,
    /// From one address.
    pub address: u32,
    /// From one address without a token that is known to be good.
    pub attempts: u32,
}

/// Counts requests; the default lets all pass. Cheap to clone.
#[derive(Clone, Default)]
pub struct Limiter(Arc<Inner>);

#[derive(Default)]
struct Inner {
    token: Option<Meter<TokenId>>,
    address: Option<Meter<Source>>,
    attempts: Option<Meter<Source>>,
    trusted: Vec<IpNet>,
    /// Hashes of tokens that were good when they were last looked up.
    good: RwLock<HashSet<[u8; 32]>>,
}

/// Where a request comes from, and what its callers' allowances are; an extension of the request.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    source: Option<Source>,
    standings: Arc<Mutex<Vec<Standing>>>,
}

impl Caller {
    fn note(&self, standing: Standing) {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).push(standing);
    }

    fn standings(&self) -> Vec<Standing> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Limiter {
    /// With these limits; the header `X-Forwarded-For` counts where it comes from one of the trusted.
    #[must_use]
    pub fn new(rates: Rates, trusted: Vec<IpNet>) -> Self {
        Self(Arc::new(Inner {
            token: Meter::new("token", rates.token),
            address: Meter::new("address", rates.address),
            attempts: Meter::new("attempts", rates.attempts),
            trusted,
            good: RwLock::default(),
        }))
    }

    /// Counts an attempt with a token (its hash) that is not known to be good, or with none.
    ///
    /// # Errors
    ///
    /// `rate_limited`.
    pub fn attempt(&self, parts: &Parts, token: Option<&[u8; 32]>) -> Result<(), Failure> {
        let Some(meter) = &self.0.attempts else { return Ok(()) };
        let known = self.0.good.read().unwrap_or_else(PoisonError::into_inner);
        if token.is_some_and(|token| known.contains(token)) {
            return Ok(());
        }
        drop(known);
        let caller = caller(parts);
        let Some(source) = caller.source else { return Ok(()) };
        match meter.spend(source) {
            // Not told while it lasts: it is nobody's allowance but that of those who guess.
            Ok(_) => Ok(()),
            Err(used) => {
                Err(refused(&caller, used, "This address has sent too many requests without a valid token"))
            }
        }
    }

    /// Notes whether a token (its hash) is good.
    pub fn learned(&self, token: [u8; 32], is_good: bool) {
        if self.0.attempts.is_none() {
            return;
        }
        let is_known = self.0.good.read().unwrap_or_else(PoisonError::into_inner).contains(&token);
        if is_known == is_good {
            return;
        }
        let mut good = self.0.good.write().unwrap_or_else(PoisonError::into_inner);
        if !is_good {
            good.remove(&token);
            return;
        }
        if good.len() >= GOOD_MAX {
            good.clear();
        }
        good.insert(token);
    }

    /// Counts a request with a valid token.
    ///
    /// # Errors
    ///
    /// `rate_limited`.
    pub fn token(&self, parts: &Parts, token: TokenId) -> Result<(), Failure> {
        let Some(meter) = &self.0.token else { return Ok(()) };
        let caller = caller(parts);
        match meter.spend(token) {
            Ok(standing) => {
                caller.note(standing);
                Ok(())
            }
            Err(used) => Err(refused(&caller, used, "This token has sent too many requests")),
        }
    }
}

fn caller(parts: &Parts) -> Caller {
    parts.extensions.get::<Caller>().cloned().unwrap_or_default()
}

fn refused(caller: &Caller, used: Used, what: &str) -> Failure {
    let Used { standing, wait } = used;
    let seconds = wait.max(Duration::from_secs(1)).as_millis().div_ceil(1_000);
    shared::meter::rate_limited(standing.policy);
    let detail = format!("{what}: {} in a minute are allowed. Wait {seconds} s.", standing.quota);
    caller.note(standing);
    Failure::new(&codes::RATE_LIMITED, detail).with(header::RETRY_AFTER, &seconds.to_string())
}

/// Health checks are answered whoever asks how often.
#[must_use]
pub fn is_exempt(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// Counts the request of an address, and tells the caller how it stands.
pub async fn around(State(limiter): State<Limiter>, mut request: Request, next: Next) -> Response {
    if is_exempt(request.uri().path()) {
        return next.run(request).await;
    }
    let source = source::of(&request, &limiter.0.trusted);
    let caller = Caller { source, ..Caller::default() };
    request.extensions_mut().insert(caller.clone());
    let admitted = match (&limiter.0.address, source) {
        (Some(meter), Some(source)) => match meter.spend(source) {
            Ok(standing) => {
                caller.note(standing);
                Ok(())
            }
            Err(used) => Err(refused(&caller, used, "This address has sent too many requests")),
        },
        _ => Ok(()),
    };
    let mut response = match admitted {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    fields::tell(response.headers_mut(), &caller.standings());
    response
}
