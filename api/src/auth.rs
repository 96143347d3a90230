//! Who asks, and what they may do.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use shared::{
    domain::organization::{Role, Token},
    envelope::Actor,
    execute::Context,
    ids::{AgentId, OrganizationId},
    store::{Credential, StoreError},
    token,
};

use crate::{
    problem::{Failure, codes},
    request::Identity,
    state::App,
};

/// Somebody who may read what belongs to an organization.
#[derive(Debug, Clone)]
pub struct Member {
    /// Which organization.
    pub organization: OrganizationId,
    /// The lower of the member's role and the token's.
    pub role: Role,
    /// Recorded with what they cause.
    pub actor: Actor,
    /// The request.
    pub identity: Identity,
}

/// Somebody who may read the log.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Whose events; `None` is the operator, who sees the whole log.
    pub organization: Option<OrganizationId>,
    headers: HeaderMap,
}

/// Somebody who may change what belongs to an organization.
#[derive(Debug, Clone)]
pub struct Admin(pub Member);

impl Member {
    /// What is recorded with the events that this request causes.
    #[must_use]
    pub fn context(&self) -> Context {
        Context {
            actor: self.actor.clone(),
            request_id: Some(self.identity.request_id.to_string()),
            traceparent: Some(self.identity.traceparent.to_string()),
            worker_id: None,
            attempt: None,
            causation_id: None,
            only_for: None,
        }
    }
}

impl FromRequestParts<App> for Member {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let Found { organization, token, member } = admitted(parts, app).await?;
        let Some(organization) = organization else {
            return Err(forbidden("This token speaks for the operator and for no organization."));
        };
        let (name, role) = member.ok_or_else(|| unauthenticated("The bearer token's member was removed"))?;
        let id = token.member.map_or_else(|| token.token.to_string(), |member| member.to_string());
        let identity = parts
            .extensions
            .get::<Identity>()
            .cloned()
            .unwrap_or_else(|| Identity { request_id: "".into(), traceparent: "".into() });
        Ok(Self {
            organization,
            role: token.role.map_or(role, |cap| cap.min(role)),
            actor: Actor { kind: "member".to_owned(), id, name },
            identity,
        })
    }
}

impl Reader {
    /// Looks at the token again: whether it still reads what it read.
    pub async fn is_still_allowed(&self, app: &App) -> bool {
        let now = found(&self.headers, app).await.and_then(|found| Self::of(&self.headers, found));
        now.is_ok_and(|reader| reader.organization == self.organization)
    }

    fn of(headers: &HeaderMap, found: Found) -> Result<Self, Failure> {
        let Found { organization, token, member } = found;
        if organization.is_some() && member.is_none() {
            return Err(unauthenticated("The bearer token's member was removed"));
        }
        let mut kept = HeaderMap::new();
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            kept.insert(header::AUTHORIZATION, value.clone());
        }
        Ok(Self { organization: organization.filter(|_| !token.operator), headers: kept })
    }
}

impl FromRequestParts<App> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        Self::of(&parts.headers, admitted(parts, app).await?)
    }
}

struct Found {
    organization: Option<OrganizationId>,
    token: Token,
    member: Option<(String, Role)>,
}

/// The API token of a request, if it is good now and within its limits.
async fn admitted(parts: &Parts, app: &App) -> Result<Found, Failure> {
    let limiter = &app.guard.limiter;
    let hash = bearer(&parts.headers).map(token::hash);
    limiter.attempt(parts, hash.as_ref())?;
    let found = found(&parts.headers, app).await;
    if let Some(hash) = hash {
        learn(app, hash, found.as_ref().err());
    }
    let found = found?;
    limiter.token(parts, found.token.token)?;
    Ok(found)
}

/// Notes what a token was worth; a database that is away says nothing of it.
fn learn(app: &App, hash: [u8; 32], failure: Option<&Failure>) {
    match failure.map(|failure| failure.problem().status) {
        None | Some(403) => app.guard.limiter.learned(hash, true),
        Some(401) => app.guard.limiter.learned(hash, false),
        Some(_) => {}
    }
}

/// The API token of a request, if it is good now.
async fn found(headers: &HeaderMap, app: &App) -> Result<Found, Failure> {
    if !app.prepared.is_set() {
        return Err(StoreError::Closed.into());
    }
    let secret = bearer(headers).ok_or_else(|| unauthenticated("There is no usable bearer token"))?;
    let found = app.store.credential(&token::hash(secret)).await?;
    let Some(Credential::Token { organization, token, member }) = found else {
        return Err(match found {
            Some(_) => forbidden("An agent's token is good for /api/v1/agent/ only."),
            None => unauthenticated("The bearer token is not known"),
        });
    };
    if has_expired(&token, app) {
        return Err(unauthenticated("The bearer token has expired"));
    }
    Ok(Found { organization, token, member })
}

fn has_expired(token: &Token, app: &App) -> bool {
    token.expires_at.is_some_and(|until| until <= app.clock.now())
}

impl FromRequestParts<App> for Admin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let member = Member::from_request_parts(parts, app).await?;
        if member.role < Role::Admin {
            return Err(forbidden("This needs the role admin or owner; this token has the role member."));
        }
        Ok(Self(member))
    }
}

/// A main agent that calls by itself, within its limit.
#[derive(Debug, Clone, Copy)]
pub struct Agent(pub AgentId);

impl FromRequestParts<App> for Agent {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        if !app.prepared.is_set() {
            return Err(StoreError::Closed.into());
        }
        let hash = agent_token(&parts.headers).map(token::hash);
        app.guard.limiter.attempt(parts, hash.as_ref())?;
        let hash = hash.ok_or_else(|| not_an_agent("There is no usable agent token"))?;
        let agent = match app.store.credential(&hash).await? {
            Some(Credential::Agent { agent }) => Ok(agent),
            Some(Credential::Token { token, .. }) if has_expired(&token, app) => {
                Err(not_an_agent("The token has expired, and is no agent's"))
            }
            Some(Credential::Token { .. }) => Err(forbidden("Only an agent's own token is good here.")),
            None => Err(not_an_agent("The agent token is not known")),
        };
        learn(app, hash, agent.as_ref().err());
        let agent = agent?;
        app.beats.count(agent).map_err(|wait| {
            let seconds = wait.as_secs() + 1;
            let detail = format!("This agent calls too often. Wait {seconds} s.");
            Failure::new(&codes::RATE_LIMITED, detail).with(header::RETRY_AFTER, &seconds.to_string())
        })?;
        Ok(Self(agent))
    }
}

/// The token of exactly one `X-Agent-Token` header, else of `Authorization`.
fn agent_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("x-agent-token").iter();
    match (values.next(), values.next()) {
        (None, _) => bearer(headers),
        (Some(value), None) => value.to_str().ok().map(str::trim).filter(|token| !token.is_empty()),
        (Some(_), Some(_)) => None,
    }
}

fn not_an_agent(what: &str) -> Failure {
    let detail = format!("{what}. Send the AUTH_TOKEN of TOOLS.md in the header `X-Agent-Token`.");
    Failure::new(&codes::UNAUTHENTICATED, detail).with(header::WWW_AUTHENTICATE, "Bearer")
}

/// The bearer token of exactly one `Authorization` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    let secret = secret.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty() && !secret.contains(' ')).then_some(secret)
}

fn unauthenticated(what: &str) -> Failure {
    let detail = format!(
        "{what}. Send `Authorization: Bearer <token>`; the operator makes a token with `mission-control token create`."
    );
    Failure::new(&codes::UNAUTHENTICATED, detail).with(header::WWW_AUTHENTICATE, "Bearer")
}

fn forbidden(detail: &str) -> Failure {
    Failure::new(&codes::FORBIDDEN, detail)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_one_well_formed_bearer_token_is_taken() {
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            headers
        };
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bEARER  abc "])), Some("abc"));
        for bad in [
            &["Basic abc"][..],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a b"],
            &["Bearer abc", "Bearer abc"],
            &["Bearer \u{e9}"],
            &[],
        ] {
            assert_eq!(bearer(&headers(bad)), None, "{bad:?}");
        }
    }
}
