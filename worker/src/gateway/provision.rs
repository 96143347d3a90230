//! The way of a creation on the gateway's side, read top-down.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;
use shared::{
    domain::gateway::{
        failure::{Cause, Failure, Stage},
        patience::Patience,
        url::GatewayUrl,
        version::Version,
    },
    ids::{AgentId, GatewayId, OperationId},
    secret::Secret,
};

pub use super::probe::Verified;
use super::{
    Dialer,
    handshake::Mode,
    probe::verify,
    refusal::Refused,
    remove::clean_up,
    session::{Session, Target},
    tls::Certificate,
    write, write_config,
};
use crate::agent::{
    config_patch::ConfigForm,
    sources::Sources,
    templates::{Facts, Template},
};

/// Everything that one creation needs; the same for each of its attempts.
#[derive(Debug, Clone)]
pub struct Order {
    /// The gateway that is being created.
    pub gateway_id: GatewayId,
    /// The operation; the wake message's idempotency key is derived from it.
    pub operation: OperationId,
    /// The gateway's name as a person gave it.
    pub name: String,
    /// Its address.
    pub url: GatewayUrl,
    /// Where workspaces lie on the gateway's host.
    pub workspace_root: String,
    /// What the gateway issued to our device earlier.
    pub device_token: Option<Secret>,
    /// The gateway's token or password.
    pub token: Option<Secret>,
    /// Whether any certificate is taken.
    pub allow_insecure_tls: bool,
    /// Whether to connect as the Control UI, without a device.
    pub disable_device_pairing: bool,
    /// The main agent's id, minted with the request.
    pub agent_id: AgentId,
    /// The main agent's own token, minted with the request.
    pub agent_token: Secret,
    /// Where the agent reaches Mission Control.
    pub base_url: String,
    /// How often the agent checks in; `None` leaves the configuration alone.
    pub heartbeat_every: Option<Duration>,
    /// The lowest version that is taken.
    pub minimum_version: Version,
    /// The text of the agent's files.
    pub templates: Arc<Sources>,
    /// How long to try.
    pub patience: Patience,
    /// Whether an earlier attempt may have created the agent.
    pub agent_may_exist: bool,
}

/// The agent as the gateway holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MainAgent {
    /// As the gateway returned it.
    pub agent_id: String,
    /// Its workspace on the gateway's host.
    pub workspace: String,
    /// Files under their own names.
    pub files_written: Vec<String>,
    /// Files whose content ends AGENTS.md.
    pub files_moved: Vec<String>,
    /// Files that the gateway does not take.
    pub files_not_taken: Vec<String>,
    /// Where its heartbeat stands.
    pub config_form: ConfigForm,
    /// `started`, `ok` or `error: …`: what the gateway said to the first message; `not sent` where there was none.
    pub wake: String,
}

/// A provisioned gateway.
#[derive(Debug, Clone, Serialize)]
pub struct Provisioned {
    /// What it is.
    pub verified: Verified,
    /// Its main agent.
    pub agent: MainAgent,
    /// How many connections it took: one, plus one for each restart.
    pub dials: u32,
    /// A token that it issued to our device, to be sealed and used from now on.
    #[serde(skip)]
    pub issued_token: Option<Secret>,
}

/// What a failed attempt leaves on the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "left", rename_all = "snake_case")]
pub enum Leftover {
    /// No agent was created.
    Nothing,
    /// The agent was taken away again.
    Removed {
        /// Its id on the gateway.
        agent_id: String,
    },
    /// It may still be there.
    MayRemain {
        /// Its id on the gateway.
        agent_id: String,
        /// Why it was not taken away.
        why: String,
    },
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Where and why.
    pub failure: Failure,
    /// What is left of it.
    pub agent: Leftover,
    /// How long the gateway asked to wait.
    pub retry_after: Option<Duration>,
    /// How many connections were tried, the clean-up's included.
    pub dials: u32,
}

/// One attempt. Dropping the future drops the connection and leaves the clean-up to a later attempt.
///
/// # Errors
/// Why it failed, after the clean-up.
pub async fn provision(dialer: &Dialer, order: &Order) -> Result<Provisioned, Failed> {
    let mut session = session_for(dialer, order);
    if order.agent_may_exist {
        session.expect_back();
    }
    let mut asked = Asked::Nothing;
    let result = session.deadline().bound(attempt(&mut session, order, &mut asked)).await;
    let refused = match result {
        Ok(Ok((verified, agent))) => {
            session.close().await;
            let issued_token = session.issued_token().cloned();
            return Ok(Provisioned { verified, agent, dials: session.dials(), issued_token });
        }
        Ok(Err(refused)) => refused,
        Err(_) => session.out_of_time(),
    };
    let agent = if asked == Asked::Nothing && !order.agent_may_exist {
        Leftover::Nothing
    } else {
        clean_up(&mut session, dialer, order, asked == Asked::Created).await
    };
    session.close().await;
    Err(Failed { failure: refused.failure, agent, retry_after: refused.retry_after, dials: session.dials() })
}

/// How far the creation of the agent came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Sent,
    Created,
}

async fn attempt(
    session: &mut Session<'_>,
    order: &Order,
    asked: &mut Asked,
) -> Result<(Verified, MainAgent), Refused> {
    let verified = verify(session, &order.minimum_version).await?;
    let version = verified.runtime_version.clone();
    let agent = write_all(session, order, asked).await.map_err(|mut refused| {
        refused.failure.runtime_version.get_or_insert(version);
        refused
    })?;
    Ok((verified, agent))
}

async fn write_all(
    session: &mut Session<'_>,
    order: &Order,
    asked: &mut Asked,
) -> Result<MainAgent, Refused> {
    let workspace = workspace(&order.workspace_root, &order.agent_id.on_gateway());
    let name = order.agent_id.to_string();
    *asked = Asked::Sent;
    let creating = Instant::now();
    let agent_id = write::create_agent(session, &name, &workspace).await?.id;
    session.passed(Stage::Agent, creating);
    *asked = Asked::Created;
    let mut agent = write_agent(session, order, (agent_id, workspace), &[]).await?;
    wake(session, order, &mut agent).await?;
    Ok(agent)
}

/// Writes the files, the label and our entry of an agent that exists, and waits for announced restarts.
pub(super) async fn write_agent(
    session: &mut Session<'_>,
    order: &Order,
    (agent_id, workspace): (String, String),
    kept: &[Template],
) -> Result<MainAgent, Refused> {
    let every = order.heartbeat_every.map_or_else(|| "30 minutes".to_owned(), in_words);
    let name = order.agent_id.to_string();
    let facts = Facts {
        sources: &order.templates,
        gateway_name: &order.name,
        base_url: &order.base_url,
        agent_id: &name,
        agent_token: &order.agent_token,
        every: &every,
    };
    let writing = Instant::now();
    let files = write::write_files(session, &agent_id, &facts, kept).await?;
    session.passed(Stage::Files, writing);
    write::label_session(session, &agent_id, &write::label(&order.name, &name)).await?;
    // Last of what is written: for seconds after a change of their configuration some gateways answer nobody.
    let configuring = Instant::now();
    let config_form = write_config::write_config(session, &agent_id, order.heartbeat_every).await?;
    session.passed(Stage::Config, configuring);
    session.stage = Stage::Wake;
    // A restart would kill the agent's first run: it is woken when the announced ones are over.
    let agents = session.settle().await?;
    if !lists(&agents, &agent_id) {
        let detail = "The gateway does not list the agent after it was written. Check its openclaw.json, and its \
                      version: openclaw --version.";
        return Err(Failure::new(Stage::Wake, Cause::CallRefused, detail).into());
    }
    Ok(MainAgent {
        agent_id,
        workspace,
        files_written: files.written,
        files_moved: files.moved,
        files_not_taken: files.not_taken,
        config_form,
        wake: "not sent".to_owned(),
    })
}

/// Sends the first message of this operation.
pub(super) async fn wake(
    session: &mut Session<'_>,
    order: &Order,
    agent: &mut MainAgent,
) -> Result<(), Refused> {
    let waking = Instant::now();
    agent.wake =
        write::wake(session, &agent.agent_id, &format!("mission-control-{}", order.operation)).await?;
    // A gateway in its agent's first run answers slowly: it is asked again only if a restart was announced.
    if session.is_restart_announced() {
        session.settle().await?;
    }
    session.passed(Stage::Wake, waking);
    Ok(())
}

fn lists(agents: &Value, agent_id: &str) -> bool {
    let listed = agents.get("agents").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    listed.iter().filter_map(|agent| agent.get("id")?.as_str()).any(|id| id.eq_ignore_ascii_case(agent_id))
}

pub(super) fn session_for<'a>(dialer: &'a Dialer, order: &'a Order) -> Session<'a> {
    Session::new(dialer, target_for(order))
}

/// Where an order goes, as what and how patiently.
#[must_use]
pub fn target_for(order: &Order) -> Target<'_> {
    Target {
        url: &order.url,
        device_token: order.device_token.as_ref().filter(|_| !order.disable_device_pairing),
        token: order.token.as_ref(),
        certificate: if order.allow_insecure_tls { Certificate::Unchecked } else { Certificate::Checked },
        mode: if order.disable_device_pairing { Mode::ControlUi } else { Mode::Device },
        patience: order.patience,
        secrets: order.token.iter().chain(&order.device_token).chain([&order.agent_token]).cloned().collect(),
    }
}

pub(super) fn workspace(root: &str, agent_id: &str) -> String {
    let is_windows = root.as_bytes().get(1) == Some(&b':');
    let separator = if is_windows { '\\' } else { '/' };
    format!("{}{separator}{agent_id}", root.trim_end_matches(['/', separator]))
}

fn in_words(every: Duration) -> String {
    let seconds = every.as_secs();
    if seconds.is_multiple_of(60) {
        format!("{} minutes", seconds / 60)
    } else {
        format!("{seconds} seconds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_lies_under_its_root() {
        assert_eq!(workspace("/srv/ws", "agent-x"), "/srv/ws/agent-x");
        assert_eq!(workspace("/", "agent-x"), "/agent-x");
        assert_eq!(workspace("~/ws", "agent-x"), "~/ws/agent-x");
        assert_eq!(workspace("C:\\ws", "agent-x"), "C:\\ws\\agent-x");
    }
}
