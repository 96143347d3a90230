//! The steps that write on a gateway, each safe to repeat.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::domain::gateway::failure::{Cause, Failure, Stage};

use super::{
    refusal::Refused,
    session::{Answer, Session},
};
use crate::agent::{
    files,
    templates::{Facts, Template, WAKE_MESSAGE, render},
};

/// What became of the files.
#[derive(Debug, Default)]
pub struct Files {
    /// Written under their own names.
    pub written: Vec<String>,
    /// Not taken; their content ends AGENTS.md.
    pub moved: Vec<String>,
    /// Not taken.
    pub not_taken: Vec<String>,
}

/// The agent, as the gateway answered to its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The id as the gateway holds it.
    pub id: String,
    /// It was there already.
    pub existed: bool,
}

/// Creates the agent; one that exists under our own id is ours.
///
/// # Errors
/// A refusal, or no answer.
pub async fn create_agent(
    session: &mut Session<'_>,
    name: &str,
    workspace: &str,
) -> Result<Created, Refused> {
    session.stage = Stage::Agent;
    let own = name.to_ascii_lowercase();
    match session.ask("agents.create", json!({"name": name, "workspace": workspace})).await? {
        Ok(payload) => {
            let id = payload.get("agentId").and_then(Value::as_str).unwrap_or(&own);
            // The id becomes part of session keys and of the clean-up: it must be ours.
            if id.eq_ignore_ascii_case(&own) {
                return Ok(Created { id: id.to_owned(), existed: false });
            }
            let detail = "The gateway created the agent under an id that was not asked for. Check its version: \
                          openclaw --version.";
            Err(Failure::new(Stage::Agent, Cause::CallRefused, detail).into())
        }
        Err(error) if error.message.contains("already exists") => Ok(Created { id: own, existed: true }),
        Err(error) => Err(session.refused("agents.create", &error)),
    }
}

/// Writes the agent's files, but for those that are kept as they are.
///
/// # Errors
/// A refusal other than "unsupported file", or no answer.
pub async fn write_files(
    session: &mut Session<'_>,
    agent_id: &str,
    facts: &Facts<'_>,
    kept: &[Template],
) -> Result<Files, Refused> {
    session.stage = Stage::Files;
    let mut first = Vec::new();
    for template in files::FIRST.into_iter().filter(|template| !kept.contains(template)) {
        first.push((template, render(template, facts).map_err(|error| bad_template(&error))?));
    }
    let mut files = Files::default();
    let mut moved = Vec::new();
    for (template, is_taken) in set(session, agent_id, first).await? {
        let name = template.file_name().to_owned();
        if is_taken {
            files.written.push(name);
        } else if files::MOVABLE.contains(&template) {
            moved.push(template);
            files.moved.push(name);
        } else {
            files.not_taken.push(name);
        }
    }
    let agents = files::agents_file(facts, &moved).map_err(|error| bad_template(&error))?;
    let taken = set(session, agent_id, vec![(Template::Agents, agents)]).await?;
    if taken.iter().all(|(_, is_taken)| *is_taken) {
        files.written.insert(0, Template::Agents.file_name().to_owned());
        return Ok(files);
    }
    // Without AGENTS.md what was moved is nowhere: then the agent cannot check in.
    let detail = "The gateway does not take AGENTS.md. Check its version: openclaw --version.";
    Err(Failure::new(Stage::Files, Cause::CallRefused, detail).into())
}

/// Which of these files the agent has.
///
/// # Errors
/// A refusal other than "unsupported file", or no answer.
pub async fn present(
    session: &mut Session<'_>,
    agent_id: &str,
    templates: &[Template],
) -> Result<Vec<Template>, Refused> {
    session.stage = Stage::Files;
    let request = |template: &Template| {
        ("agents.files.get", json!({"agentId": agent_id, "name": template.file_name()}))
    };
    let requests: Vec<(&'static str, Value)> = templates.iter().map(request).collect();
    let mut present = Vec::new();
    for (template, answer) in templates.iter().zip(session.ask_all(&requests).await?) {
        match answer {
            Ok(found) if found.pointer("/file/missing") == Some(&Value::Bool(true)) => {}
            Ok(_) => present.push(*template),
            Err(error) if error.message.contains("unsupported file") => {}
            Err(error) => return Err(session.refused("agents.files.get", &error)),
        }
    }
    Ok(present)
}

async fn set(
    session: &mut Session<'_>,
    agent_id: &str,
    files: Vec<(Template, String)>,
) -> Result<Vec<(Template, bool)>, Refused> {
    let requests: Vec<(&'static str, Value)> = files
        .iter()
        .map(|(template, content)| {
            (
                "agents.files.set",
                json!({"agentId": agent_id, "name": template.file_name(), "content": content}),
            )
        })
        .collect();
    let answers = ask_until_found(session, &requests).await?;
    let mut taken = Vec::new();
    for ((template, _), answer) in files.into_iter().zip(answers) {
        match answer {
            Ok(_) => taken.push((template, true)),
            Err(error) if error.message.contains("unsupported file") => taken.push((template, false)),
            Err(error) => return Err(session.refused("agents.files.set", &error)),
        }
    }
    Ok(taken)
}

/// Asks again while the gateway does not know the agent yet that it has just created.
async fn ask_until_found(
    session: &mut Session<'_>,
    requests: &[(&'static str, Value)],
) -> Result<Vec<Answer>, Refused> {
    // A busy gateway puts a creation into effect only seconds after it has answered it.
    let until = Instant::now() + session.call_limit();
    loop {
        let answers = session.ask_all(requests).await?;
        if Instant::now() >= until || !answers.iter().any(is_unknown_agent) {
            return Ok(answers);
        }
        session.watch(Instant::now() + Duration::from_millis(200)).await;
    }
}

fn is_unknown_agent(answer: &Answer) -> bool {
    answer.as_ref().err().is_some_and(|error| {
        let message = error.message.to_ascii_lowercase();
        message.contains("agent") && (message.contains("not found") || message.contains("unknown agent id"))
    })
}

/// Labels the agent's main session: at most 64 characters, unique by the agent's id.
///
/// # Errors
/// A refusal, or no answer.
pub async fn label_session(session: &mut Session<'_>, agent_id: &str, label: &str) -> Result<(), Refused> {
    session.stage = Stage::Wake;
    let request = ("sessions.patch", json!({"key": session_key(agent_id), "label": label}));
    let answer = ask_until_found(session, &[request]).await?.pop();
    match answer {
        Some(Err(error)) => Err(session.refused("sessions.patch", &error)),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Sends the first message; `started`, `ok`, or `error: …` where the gateway took it and the run failed.
///
/// # Errors
/// A refusal, or no answer.
pub async fn wake(
    session: &mut Session<'_>,
    agent_id: &str,
    idempotency_key: &str,
) -> Result<String, Refused> {
    session.stage = Stage::Wake;
    let request = (
        "chat.send",
        json!({
            "sessionKey": session_key(agent_id), "message": WAKE_MESSAGE, "deliver": false,
            "idempotencyKey": idempotency_key,
        }),
    );
    let payload = match ask_until_found(session, &[request]).await?.pop() {
        Some(Ok(payload)) => payload,
        Some(Err(error)) => return Err(session.refused("chat.send", &error)),
        None => Value::Null,
    };
    let text = |name: &str| payload.get(name).and_then(Value::as_str).unwrap_or_default();
    Ok(match text("status") {
        "error" => format!("error: {}", session.clean(text("summary"))),
        "ok" => "ok".to_owned(),
        _ => "started".to_owned(),
    })
}

/// The key of an agent's main session.
#[must_use]
pub fn session_key(agent_id: &str) -> String {
    format!("agent:{}:main", agent_id.to_ascii_lowercase())
}

/// `<name cut to 27> (<agent id>)`. Gateways count UTF-16 units, so the cut does too.
#[must_use]
pub fn label(name: &str, agent_id: &str) -> String {
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units <= 27
    };
    let cut: String = name.chars().take_while(fits).collect();
    format!("{} ({agent_id})", cut.trim_end())
}

fn bad_template(error: &minijinja::Error) -> Refused {
    Failure::new(
        Stage::Files,
        Cause::CallRefused,
        format!("A template of Mission Control is wrong: {error}."),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_never_longer_than_a_gateway_takes() {
        let id = "agent-01ARZ3NDEKTSV4RRFFQ69G5FAV";
        for name in ["x", &"y".repeat(200), &"🙂".repeat(200)] {
            let label = label(name, id);
            assert!(label.encode_utf16().count() <= 64 && label.ends_with(&format!(" ({id})")), "{label}");
        }
        assert_eq!(session_key("agent-ABC"), "agent:agent-abc:main");
    }
}
