//! `POST /api/v1/gateways/{id}/templates/sync`: writes the gateway's agents anew from the templates.

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use shared::{
    commit::SecretChange,
    domain::gateway::{
        Command,
        sync::{Options, SyncRequested},
    },
    job::Kind,
    problem::Problem,
    register::new_agent_token_owner,
    token,
    view::{OperationRead, SyncRead},
};

use super::{id, not_found};
use crate::{
    auth::Admin,
    change::{Change, Wait, owned, start},
    parameters::{Parameters, Segment},
    problem::{Failure, codes},
    state::App,
};

/// Writes the files of the gateway's agents anew from the templates.
///
/// What goes wrong with one agent stands in `errors` and does not stop the others. USER.md and MEMORY.md are the agent's
/// own and are kept unless `overwrite`.
#[utoipa::path(
    post,
    path = "/api/v1/gateways/{id}/templates/sync",
    operation_id = "syncTemplates",
    tag = "gateways",
    params(
        ("id" = String, Path, format = Uuid, description = "The gateway"),
        ("include_main" = Option<bool>, Query, description = "Write the main agent too; true by default"),
        ("lead_only" = Option<bool>, Query, description = "Of the agents of boards only the leads; there are no boards yet"),
        ("reset_sessions" = Option<bool>, Query, description = "Begin the agents' sessions anew"),
        ("rotate_tokens" = Option<bool>, Query, description = "Give the agents other tokens; the old ones end when the files are written"),
        ("force_bootstrap" = Option<bool>, Query, description = "Send the agents their first message again"),
        ("overwrite" = Option<bool>, Query, description = "Overwrite USER.md and MEMORY.md too"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`, `wait=<seconds>` or both (RFC 7240)"),
    ),
    responses(
        (status = 200, description = "Every agent was tried", body = SyncRead),
        (status = 202, description = "Recorded; the operation has the outcome", body = OperationRead,
         headers(("Location" = String), ("Operation-Location" = String), ("Retry-After" = String))),
        (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not an organization admin", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another change of this gateway is running", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There are no boards yet", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "Something broke on our side", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The gateway is unreachable, or authentication failed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gateway's version is not supported, or our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn sync(
    State(app): State<App>,
    Admin(member): Admin,
    Segment(text): Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let mut parameters = Parameters::of(query.as_deref());
    let options = Options {
        include_main: parameters.switch_on("include_main"),
        lead_only: parameters.switch("lead_only"),
        reset_sessions: parameters.switch("reset_sessions"),
        rotate_tokens: parameters.switch("rotate_tokens"),
        force_bootstrap: parameters.switch("force_bootstrap"),
        overwrite: parameters.switch("overwrite"),
    };
    let board = parameters.text("board_id");
    parameters.done()?;
    if board.is_some() {
        let detail = "There are no boards yet: leave `board_id` out.";
        return Err(Failure::new(&codes::UNKNOWN_BOARD, detail));
    }
    let known = owned(&app, &member, id(&text)?).await?;
    if !known.is_registered() {
        return Err(not_found(&text));
    }
    let mut change = Change::of(&known, Kind::SyncTemplates);
    if options.rotate_tokens && options.include_main {
        let owner = new_agent_token_owner(known.request.gateway);
        let sealed = app.vault.seal(&owner, &token::agent()).map_err(|error| Failure::internal(&error))?;
        change.secrets.push(SecretChange::Put { owner, sealed });
    }
    let wait = Wait::of(&headers, &app);
    let (patience, by) = (wait.patience, member.actor.name.clone());
    let command = |operation| Command::RequestSync(SyncRequested { operation, patience, by, options });
    start(&app, &member, change, wait, command).await
}
