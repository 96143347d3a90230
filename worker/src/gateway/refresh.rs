//! Writing a registered gateway's main agent anew: after a change, where it is or where it moves to.

use std::time::Instant;

use serde_json::json;
use shared::domain::gateway::{
    failure::{Failure, Stage},
    sync::Options,
};

use super::{
    Dialer,
    probe::{Verified, verify},
    provision::{Leftover, MainAgent, Order, session_for, wake, workspace, write_agent},
    refusal::Refused,
    remove::clean_up,
    session::Session,
    write::{create_agent, present, session_key},
};
use crate::agent::templates::Template;

/// What the agent itself writes in: left as it is where it exists.
const AGENTS_OWN: [Template; 2] = [Template::User, Template::Memory];

/// What changes for the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scope {
    /// It is written on another gateway than where it serves.
    pub moves: bool,
    /// Its workspace lies elsewhere.
    pub workspace: bool,
    /// What is asked for beside the files.
    pub sync: Options,
}

/// A refreshed agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// What the gateway is.
    pub verified: Verified,
    /// Its main agent.
    pub agent: MainAgent,
    /// It was not there before.
    pub created: bool,
    /// Its session was to begin anew, and the gateway did not let it: why.
    pub not_reset: Option<String>,
}

/// A refresh that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRefreshed {
    /// Where and why.
    pub failure: Failure,
    /// How long the gateway asked to wait.
    pub retry_after: Option<std::time::Duration>,
    /// The agent that a move may have left where it was tried.
    pub left_behind: Option<String>,
}

/// Whether the agent was created by this attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Creation {
    Unasked,
    Unanswered,
    Existed,
    Made,
}

/// One attempt.
///
/// # Errors
/// Why it failed. An agent that was made for a move is taken away again; one that was there is never touched.
pub async fn refresh(dialer: &Dialer, order: &Order, scope: Scope) -> Result<Refreshed, NotRefreshed> {
    let mut session = session_for(dialer, order);
    let mut creation = Creation::Unasked;
    let refused = match session.deadline().bound(attempt(&mut session, order, scope, &mut creation)).await {
        Ok(Ok((verified, (agent, not_reset)))) => {
            session.close().await;
            return Ok(Refreshed { verified, agent, created: creation == Creation::Made, not_reset });
        }
        Ok(Err(refused)) => refused,
        Err(_) => session.out_of_time(),
    };
    let left_behind = match creation {
        Creation::Made if scope.moves => match clean_up(&mut session, dialer, order, true).await {
            Leftover::MayRemain { agent_id, .. } => Some(agent_id),
            Leftover::Nothing | Leftover::Removed { .. } => None,
        },
        Creation::Unanswered if scope.moves => Some(order.agent_id.on_gateway()),
        Creation::Unasked | Creation::Unanswered | Creation::Existed | Creation::Made => None,
    };
    session.close().await;
    Err(NotRefreshed { failure: refused.failure, retry_after: refused.retry_after, left_behind })
}

/// The agent as it was written, and why its session was not reset.
type Written = (MainAgent, Option<String>);

async fn attempt(
    session: &mut Session<'_>,
    order: &Order,
    scope: Scope,
    creation: &mut Creation,
) -> Result<(Verified, Written), Refused> {
    let verified = verify(session, &order.minimum_version).await?;
    let version = verified.runtime_version.clone();
    let agent = write_all(session, order, scope, creation).await.map_err(|mut refused| {
        refused.failure.runtime_version.get_or_insert(version);
        refused
    })?;
    Ok((verified, agent))
}

async fn write_all(
    session: &mut Session<'_>,
    order: &Order,
    scope: Scope,
    creation: &mut Creation,
) -> Result<Written, Refused> {
    let path = workspace(&order.workspace_root, &order.agent_id.on_gateway());
    *creation = Creation::Unanswered;
    let creating = Instant::now();
    let created = create_agent(session, &order.agent_id.to_string(), &path).await?;
    session.passed(Stage::Agent, creating);
    *creation = if created.existed { Creation::Existed } else { Creation::Made };
    let mut kept = vec![];
    if created.existed {
        if scope.workspace {
            // Before the configuration: some versions lose a patch again by a later update.
            session.call("agents.update", json!({"agentId": created.id, "workspace": path})).await?;
        }
        if !scope.sync.overwrite {
            kept = present(session, &created.id, &AGENTS_OWN).await?;
        }
    }
    let not_reset = if scope.sync.reset_sessions && created.existed {
        session.stage = Stage::Agent;
        let key = session_key(&created.id);
        session.ask("sessions.delete", json!({"key": key})).await?.err()
    } else {
        None
    };
    let not_reset = not_reset.map(|error| session.refused("sessions.delete", &error).failure.detail);
    let mut agent = write_agent(session, order, (created.id, path), &kept).await?;
    if !created.existed || scope.sync.reset_sessions || scope.sync.force_bootstrap {
        wake(session, order, &mut agent).await?;
    }
    Ok((agent, not_reset))
}
