//! Taking our agent away again: after a failed attempt, and as a job of its own.

use std::time::{Duration, Instant};

use serde_json::json;
use shared::{
    domain::gateway::failure::{Failure, Stage},
    secret::sanitize,
};
use tokio::time::timeout;

use super::{
    Dialer,
    frame::ErrorBody,
    provision::{Leftover, Order, session_for},
    refusal::Refused,
    session::Session,
};

/// What a removal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Whether the agent was there.
    pub found: bool,
}

/// Removes the main agent of this order from its gateway.
///
/// # Errors
/// The gateway cannot be reached, or refuses.
pub async fn remove_agent(dialer: &Dialer, order: &Order) -> Result<Removed, Failure> {
    let mut session = session_for(dialer, order);
    session.stage = Stage::Agent;
    let deadline = session.deadline();
    let removing = async {
        let found = delete(&mut session, &order.agent_id.on_gateway()).await?;
        // On gateways that restart for it, one answered call shows that it is done.
        session.settle().await?;
        Ok::<bool, Refused>(found)
    };
    let result = deadline.bound(removing).await;
    session.close().await;
    match result {
        Ok(Ok(found)) => Ok(Removed { found }),
        Ok(Err(refused)) => Err(refused.failure),
        Err(_) => Err(super::connect::timed_out(Stage::Agent, &order.url)),
    }
}

/// The clean-up of a failed attempt: on the live connection or over one new dial, within its own limit.
pub(super) async fn clean_up(
    session: &mut Session<'_>,
    dialer: &Dialer,
    order: &Order,
    was_created: bool,
) -> Leftover {
    let agent_id = order.agent_id.on_gateway();
    if session.is_rejected() {
        let why = "the gateway rejected the credential; nothing dials it again by itself".to_owned();
        return Leftover::MayRemain { agent_id, why };
    }
    let limit = dialer.limits.clean_up;
    session.reopen_for(limit);
    session.stage = Stage::Agent;
    let until = Instant::now() + limit;
    let removing = async {
        loop {
            let found = delete(session, &agent_id).await?;
            // A gateway does not know an agent for some milliseconds after it created it.
            if found || !was_created || Instant::now() + Duration::from_millis(600) > until {
                return Ok::<(), Refused>(());
            }
            session.watch(Instant::now() + Duration::from_millis(150)).await;
        }
    };
    match timeout(limit, removing).await {
        Ok(Ok(())) => Leftover::Removed { agent_id },
        Ok(Err(refused)) => Leftover::MayRemain { agent_id, why: sanitize(&refused.failure.detail, []) },
        Err(_) => Leftover::MayRemain {
            agent_id,
            why: "the gateway did not answer the clean-up in time".to_owned(),
        },
    }
}

async fn delete(session: &mut Session<'_>, agent_id: &str) -> Result<bool, Refused> {
    match session.ask("agents.delete", json!({"agentId": agent_id, "deleteFiles": true})).await? {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(session.refused("agents.delete", &error)),
    }
}

fn is_absent(error: &ErrorBody) -> bool {
    error.message.contains("not found")
}
