//! What a registered gateway is doing: the handshake, its version, and its sessions. Writes nothing.

use serde_json::{Value, json};
use shared::{
    domain::gateway::{
        failure::{Failure, Stage},
        version::Version,
    },
    ids::AgentId,
};
use tokio::time::timeout;

use super::{
    Dialer,
    connect::timed_out,
    probe::{Verified, verify},
    refusal::Refused,
    session::{Session, Target},
    write::session_key,
};

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub verified: Verified,
    /// How many sessions it has; `None` where it does not tell.
    pub sessions_count: Option<u64>,
    /// The key of the main agent's session, if it is there.
    pub main_session: Option<String>,
}

/// Looks at a gateway: whether it is new enough, and whether this agent's session is there.
///
/// # Errors
///
/// As for a provisioning attempt, up to the stage `version`.
pub async fn status(
    dialer: &Dialer,
    target: Target<'_>,
    (minimum, agent): (&Version, AgentId),
) -> Result<Status, Failure> {
    let url = target.url;
    let mut session = Session::new(dialer, target);
    let result = timeout(dialer.limits.attempt, look(&mut session, minimum, agent)).await;
    let stage = session.stage;
    session.close().await;
    match result {
        Ok(status) => status.map_err(|refused| refused.failure),
        Err(_) => Err(timed_out(stage, url)),
    }
}

async fn look(session: &mut Session<'_>, minimum: &Version, agent: AgentId) -> Result<Status, Refused> {
    let verified = verify(session, minimum).await?;
    session.stage = Stage::Agent;
    // A gateway that does not list its sessions is connected all the same.
    let answer = session.ask_optional("sessions.list", json!({})).await?.unwrap_or(Value::Null);
    let sessions = answer.get("sessions").and_then(Value::as_array);
    let wanted = session_key(&agent.on_gateway());
    let keys = sessions.into_iter().flatten().filter_map(|session| session.get("key")?.as_str());
    let main_session = keys.into_iter().find(|key| key.eq_ignore_ascii_case(&wanted)).map(str::to_owned);
    // `count` may be that of a page.
    let told = answer.get("totalCount").or_else(|| answer.get("count")).and_then(Value::as_u64);
    let counted = sessions.and_then(|sessions| u64::try_from(sessions.len()).ok());
    Ok(Status { verified, sessions_count: told.or(counted), main_session })
}
