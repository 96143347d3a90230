//! Waking an agent that stands already: one message to its session.

use shared::domain::gateway::failure::Failure;

use super::{
    Dialer,
    connect::timed_out,
    provision::{Order, session_for},
    write,
};

/// Sends the message; the gateway takes it once for each idempotency key. Returns what it said: `started`, `ok` or
/// `error: …`.
///
/// # Errors
///
/// The stages up to `handshake`, and `wake`.
pub async fn wake(dialer: &Dialer, order: &Order, (agent_id, key): (&str, &str)) -> Result<String, Failure> {
    let mut session = session_for(dialer, order);
    let woken = session.deadline().bound(write::wake(&mut session, agent_id, key)).await;
    let stage = session.stage;
    session.close().await;
    match woken {
        Ok(answer) => answer.map_err(|refused| refused.failure),
        Err(_) => Err(timed_out(stage, &order.url)),
    }
}
