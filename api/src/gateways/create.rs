//! `POST /api/v1/gateways`: registers a gateway and provisions its main agent.

use axum::{
    extract::{Request, State},
    http::header,
    response::Response,
};
use serde_json::json;
use shared::{
    commit::KeyClaim,
    domain::gateway::{patience::Patience, url::GatewayUrl},
    ids::OperationId,
    problem::Problem,
    register::{RegisterError, Registration, register},
    secret::Secret,
    store::CommitError,
    view::{GatewayRead, OperationRead},
};
use utoipa::ToSchema;

use super::{
    fields::{self, Reader},
    schemas,
};
use crate::{
    auth::{Admin, Member},
    body::{Object, read},
    change::Wait,
    idempotency,
    prefer::Prefer,
    problem::{Failure, codes},
    request::touches,
    state::App,
    wait::{accepted, finished, location, shown},
};

/// The route, as idempotency keys are kept under it.
const ROUTE: &str = "POST /api/v1/gateways";

/// What is posted.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Production Gateway",
    "url": "ws://72.62.201.147:18789",
    "workspace_root": "/home/ubuntu/.openclaw/workspaces",
    "disable_device_pairing": true,
    "allow_insecure_tls": false
}))]
#[expect(
    dead_code,
    reason = "describes the body for OpenAPI; parsing finds all faults at once and is by hand"
)]
pub struct GatewayCreate {
    #[schema(schema_with = schemas::name)]
    name: String,
    #[schema(schema_with = schemas::url)]
    url: String,
    #[schema(schema_with = schemas::workspace_root)]
    workspace_root: String,
    #[schema(schema_with = schemas::new_token, required = false)]
    token: Option<String>,
    /// Skip TLS certificate validation; for development only.
    #[schema(default = false, nullable = false)]
    allow_insecure_tls: Option<bool>,
    /// Connect in `control_ui` mode, without a device.
    #[schema(default = false, nullable = false)]
    disable_device_pairing: Option<bool>,
}

/// A body without faults.
struct Parsed {
    name: String,
    url: GatewayUrl,
    workspace_root: String,
    token: Option<Secret>,
    allow_insecure_tls: bool,
    disable_device_pairing: bool,
}

impl Parsed {
    fn of(object: &Object) -> Result<Self, Failure> {
        let mut reader = Reader::new(object);
        let name = reader.required("name", fields::name);
        let url = reader.required("url", fields::url);
        let workspace_root = reader.required("workspace_root", fields::workspace_root);
        let token = reader.optional("token", fields::token);
        let allow_insecure_tls = reader.switch("allow_insecure_tls");
        let disable_device_pairing = reader.switch("disable_device_pairing");
        let faults = reader.into_faults();
        match (name, url, workspace_root, token, allow_insecure_tls, disable_device_pairing) {
            (
                Some(name),
                Some(url),
                Some(workspace_root),
                Some(token),
                Some(allow_insecure_tls),
                Some(disable_device_pairing),
            ) if faults.is_empty() => {
                Ok(Self { name, url, workspace_root, token, allow_insecure_tls, disable_device_pairing })
            }
            _ => Err(Failure::of_faults(faults)),
        }
    }

    /// The body as it was parsed, with defaults: what an idempotency key is compared by.
    fn canonical(&self) -> Vec<u8> {
        let token = self.token.as_ref().map(Secret::expose);
        let parts = json!([
            self.name,
            self.url.as_str(),
            self.workspace_root,
            token,
            self.allow_insecure_tls,
            self.disable_device_pairing
        ]);
        parts.to_string().into_bytes()
    }

    fn into_registration(self, patience: Patience) -> Registration {
        let Self { name, url, workspace_root, token, allow_insecure_tls, disable_device_pairing } = self;
        Registration {
            name,
            url,
            workspace_root,
            token,
            allow_insecure_tls,
            disable_device_pairing,
            patience,
        }
    }
}

/// Registers a gateway and provisions its main agent.
///
/// Waits for the outcome, at most 30 s, unless `Prefer` says otherwise; 202 then names the operation to poll.
#[utoipa::path(
    post,
    path = "/api/v1/gateways",
    operation_id = "createGateway",
    tag = "gateways",
    request_body = GatewayCreate,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`, `wait=<seconds>` or both (RFC 7240)"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes it safe to repeat the request for 24 hours; quoted or bare",
         pattern = r#"^([!#-~]{1,255}|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#),
    ),
    responses(
        (status = 200, description = "Registered and provisioned", body = GatewayRead,
         headers(("Location" = String), ("ETag" = String))),
        (status = 202, description = "Recorded; the operation has the outcome", body = OperationRead,
         headers(("Location" = String), ("Operation-Location" = String), ("Retry-After" = String))),
        (status = 400, description = "Invalid URL format, missing or malformed fields", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not an organization admin", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The first request with this key still runs", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Body over 64 KiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not application/json", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Validation failed", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "Something broke on our side", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The gateway is unreachable, or authentication failed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gateway's version is not supported, or our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(
    State(app): State<App>,
    Admin(member): Admin,
    request: Request,
) -> Result<Response, Failure> {
    let headers = request.headers().clone();
    let body = read(request, &["application/json"], app.limits.body_wait).await?;
    let parsed = Parsed::of(&Object::parse(&body)?)?;
    let key = idempotency::key(&headers)?;
    let wait = Wait::of(&headers, &app);
    let now = app.clock.now();
    let operation = OperationId::mint(now);
    let canonical = parsed.canonical();
    let claim = key.map(|key| KeyClaim {
        organization: member.organization,
        route: ROUTE.to_owned(),
        key,
        fingerprint: app.vault.fingerprint(&canonical),
        operation,
        created_at: now,
    });
    let waiter = wait.register(&app, operation);
    let registration = parsed.into_registration(wait.patience);
    let started =
        register(app.desk(), member.organization, registration, (operation, claim), &member.context()).await;
    match started {
        Ok(_) => {
            touches(operation);
            wait.answer(&app, waiter, operation).await
        }
        Err(RegisterError::Commit(CommitError::KeyTaken { operation, fingerprint: first })) => {
            drop(waiter);
            touches(operation);
            if !app.vault.is_fingerprint(&canonical, &first) {
                let detail =
                    "This Idempotency-Key came with another body within the last 24 hours. Use a new key.";
                return Err(Failure::new(&codes::IDEMPOTENCY_KEY_REUSED, detail));
            }
            replay(&app, &member, operation, wait.prefer).await
        }
        Err(error) => {
            // It may be recorded all the same, where the database did not tell.
            touches(operation);
            let is_unknown = matches!(error, RegisterError::Commit(CommitError::Store { .. }));
            let named = is_unknown.then(|| operation.to_string());
            Err(Failure::from(error).change(|problem| problem.operation = named))
        }
    }
}

/// The answer to a repeated request.
async fn replay(
    app: &App,
    member: &Member,
    operation: OperationId,
    prefer: Prefer,
) -> Result<Response, Failure> {
    let stored =
        app.store.operation(operation).await?.filter(|stored| stored.organization == member.organization);
    let read = shown(&stored.ok_or_else(gone)?)?;
    if read.is_finished() {
        return Ok(finished(&read, prefer));
    }
    if prefer.respond_async {
        return Ok(accepted(&read, prefer));
    }
    let detail = "The first request with this Idempotency-Key is still running; `operation` names it.";
    Err(Failure::new(&codes::IDEMPOTENCY_IN_FLIGHT, detail)
        .with(header::LOCATION, &location(operation))
        .with(header::RETRY_AFTER, "1")
        .change(|problem| {
            problem.operation = Some(operation.to_string());
            problem.gateway_id = Some(read.gateway_id.to_string());
        }))
}

fn gone() -> Failure {
    Failure::new(&codes::INTERNAL_ERROR, "The operation was recorded but cannot be read.")
}
