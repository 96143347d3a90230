//! `PATCH /api/v1/gateways/{id}`: changes a gateway; what concerns the connection is tried first.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use shared::{
    commit::SecretChange,
    domain::gateway::{
        Command, Known,
        change::{Changes, TokenChange, UpdateRequested},
    },
    job::Kind,
    problem::Problem,
    register::{gateway_token_owner, new_token_owner},
    secret::Secret,
    view::{GatewayRead, OperationRead, gateway_read},
};
use utoipa::ToSchema;

use super::{
    fields::{self, Reader},
    id, not_found, schemas,
};
use crate::{
    auth::Admin,
    body::{Object, read},
    change::{Change, Wait, owned, start},
    parameters::Segment,
    problem::{Failure, codes},
    state::App,
    wait::etag,
};

const TYPES: [&str; 2] = ["application/json", "application/merge-patch+json"];

/// What is patched: a field that is absent stays as it is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "describes the body for OpenAPI; parsing finds all faults at once and is by hand"
)]
pub struct GatewayUpdate {
    #[schema(schema_with = schemas::name, required = false)]
    name: Option<String>,
    #[schema(schema_with = schemas::url, required = false)]
    url: Option<String>,
    #[schema(schema_with = schemas::workspace_root, required = false)]
    workspace_root: Option<String>,
    #[schema(schema_with = schemas::other_token, required = false)]
    token: Option<String>,
    /// Skip TLS certificate validation; for development only.
    #[schema(nullable = false)]
    allow_insecure_tls: Option<bool>,
    /// Connect in `control_ui` mode, without a device.
    #[schema(nullable = false)]
    disable_device_pairing: Option<bool>,
}

/// A body without faults: what it says, and the new token.
fn parse(object: &Object) -> Result<(Changes, Option<Secret>), Failure> {
    let mut reader = Reader::new(object);
    let name = reader.kept("name", fields::name);
    let url = reader.kept("url", fields::url);
    let workspace_root = reader.kept("workspace_root", fields::workspace_root);
    let token = reader.optional("token", fields::token);
    let allow_insecure_tls = reader.kept_switch("allow_insecure_tls");
    let disable_device_pairing = reader.kept_switch("disable_device_pairing");
    let is_cleared = reader.is_null("token");
    let faults = reader.into_faults();
    if !faults.is_empty() {
        return Err(Failure::of_faults(faults));
    }
    let secret = token.flatten();
    let token = match &secret {
        Some(_) => Some(TokenChange::Set),
        None => is_cleared.then_some(TokenChange::Cleared),
    };
    let changes = Changes {
        name: name.flatten(),
        url: url.flatten(),
        workspace_root: workspace_root.flatten(),
        token,
        allow_insecure_tls: allow_insecure_tls.flatten(),
        disable_device_pairing: disable_device_pairing.flatten(),
    };
    Ok((changes, secret))
}

/// Changes a gateway: fields that are absent stay as they are, `"token": null` clears the token.
///
/// What concerns the connection is tried against the gateway first; until then, and if it fails, the old configuration
/// serves. The main agent is refreshed by any change. A change that changes nothing contacts nobody.
#[utoipa::path(
    patch,
    path = "/api/v1/gateways/{id}",
    operation_id = "updateGateway",
    tag = "gateways",
    request_body(content(
        (GatewayUpdate = "application/json"),
        (GatewayUpdate = "application/merge-patch+json"),
    )),
    params(
        ("id" = String, Path, format = Uuid, description = "The gateway"),
        ("If-Match" = Option<String>, Header, description = "Only if the gateway has this `ETag`"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`, `wait=<seconds>` or both (RFC 7240)"),
    ),
    responses(
        (status = 200, description = "Changed, or as it was", body = GatewayRead,
         headers(("Location" = String), ("ETag" = String))),
        (status = 202, description = "Recorded; the operation has the outcome", body = OperationRead,
         headers(("Location" = String), ("Operation-Location" = String), ("Retry-After" = String))),
        (status = 400, description = "Invalid URL format, or malformed fields", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not an organization admin", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another change of this gateway is running", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The gateway has another revision than `If-Match` names", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Body over 64 KiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Validation failed", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "Something broke on our side", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The gateway is unreachable, or authentication failed; nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gateway's version is not supported, or our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn update(
    State(app): State<App>,
    Admin(member): Admin,
    Segment(text): Segment,
    request: Request,
) -> Result<Response, Failure> {
    let headers = request.headers().clone();
    let body = read(request, &TYPES, app.limits.body_wait).await?;
    let (given, secret) = parse(&Object::parse(&body)?)?;
    let known = owned(&app, &member, id(&text)?).await?;
    let shown = gateway_read(&known).ok_or_else(|| not_found(&text))?;
    let only_at = precondition(&headers, &known)?;
    let mut changes = given.against(&known.request);
    if changes.token == Some(TokenChange::Set) && is_kept(&app, &known, secret.as_ref()).await? {
        changes.token = None;
    }
    if changes.is_empty() {
        return Ok(([(header::ETAG, etag(shown.revision))], Json(shown)).into_response());
    }
    let mut change = Change::of(&known, Kind::UpdateGateway);
    if let Some(url) = &changes.url {
        change.gateway_key = url.key();
    }
    if let Some(secret) = secret.filter(|_| changes.token == Some(TokenChange::Set)) {
        let owner = new_token_owner(known.request.gateway);
        let sealed = app.vault.seal(&owner, &secret).map_err(|error| Failure::internal(&error))?;
        change.secrets.push(SecretChange::Put { owner, sealed });
    }
    let wait = Wait::of(&headers, &app);
    let (patience, by) = (wait.patience, member.actor.name.clone());
    let command = |operation| {
        let update = Box::new(UpdateRequested { operation, patience, by, changes });
        Command::RequestUpdate { update, only_at }
    };
    start(&app, &member, change, wait, command).await
}

/// The revision that `If-Match` insists on; the comparison is the strong one (RFC 9110 §13.1.1).
fn precondition(headers: &HeaderMap, known: &Known) -> Result<Option<u64>, Failure> {
    let values: Vec<&str> =
        headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let mut tags = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    if values.is_empty() || values == ["*"] {
        return Ok(None);
    }
    let etag = etag(known.revision);
    if tags.any(|tag| tag == etag) {
        return Ok(Some(known.revision));
    }
    let detail = format!("The gateway's ETag is {etag}. Read it again and repeat the change.");
    let gateway = known.request.gateway.to_string();
    Err(Failure::new(&codes::PRECONDITION_FAILED, detail)
        .with(header::ETAG, &etag)
        .change(|problem| problem.gateway_id = Some(gateway)))
}

/// Whether this is the token that the gateway has already.
async fn is_kept(app: &App, known: &Known, given: Option<&Secret>) -> Result<bool, Failure> {
    let owner = gateway_token_owner(known.request.gateway);
    let Some(sealed) = app.store.secret(&owner).await? else { return Ok(false) };
    let kept = app.vault.open_sealed(&owner, &sealed).map_err(|error| Failure::internal(&error))?;
    Ok(given.is_some_and(|given| given.expose() == kept.expose()))
}
