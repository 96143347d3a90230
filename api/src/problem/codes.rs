//! The documented problem codes: status, title, meaning and what to do (API.md §1). The one table.

/// One code.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// As in `code` and at the end of `type`.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// The same for every problem of this code.
    pub title: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What to do next.
    pub action: &'static str,
}

macro_rules! codes {
    ($($name:ident = $code:literal, $status:literal, $title:literal, $meaning:literal, $action:literal;)*) => {
        $(
            #[doc = concat!("`", $code, "`: ", $title, ".")]
            pub static $name: Entry =
                Entry { code: $code, status: $status, title: $title, meaning: $meaning, action: $action };
        )*
        /// Every code, in the order of the documentation.
        pub static ALL: &[&Entry] = &[$(&$name),*];
    };
}

codes! {
    INVALID_JSON = "invalid_json", 400, "Body is not a JSON object",
        "The body is not valid JSON, or not an object.",
        "Send one JSON object in UTF-8.";
    MISSING_FIELD = "missing_field", 400, "Required field is missing",
        "A required field is absent or null.",
        "Add the fields that `errors` names.";
    INVALID_TYPE = "invalid_type", 400, "Field has the wrong type",
        "A field has another JSON type than the documented one.",
        "Send texts as strings and switches as true or false, without quotes.";
    UNKNOWN_FIELD = "unknown_field", 400, "Field is not known",
        "The body has a field that this endpoint does not take; ids and times are set by Mission Control.",
        "Remove the fields that `errors` names, and check their spelling.";
    DUPLICATE_FIELD = "duplicate_field", 400, "Field is given twice",
        "The body names a field more than once, so that it is not clear which value counts.",
        "Name each field once.";
    INVALID_URL = "invalid_url", 400, "Gateway URL is not valid",
        "The URL is not that of a gateway: ws:// or wss://, a host, a port from 1 to 65535, no user name, no fragment, no credential in the query.",
        "Write for example ws://gateway-host:18789 or wss://gateway.example.com; the credential belongs in `token`.";
    INVALID_PARAMETER = "invalid_parameter", 400, "Parameter is not valid",
        "A query parameter or a header has a value that is not allowed.",
        "Correct what `errors` names.";
    INVALID_IDEMPOTENCY_KEY = "invalid_idempotency_key", 400, "Idempotency-Key is not valid",
        "The Idempotency-Key is empty, longer than 255 bytes, given twice, or not readable.",
        "Send one key of 1 to 255 visible ASCII characters, for example a UUID.";
    UNAUTHENTICATED = "unauthenticated", 401, "Not authenticated",
        "There is no bearer token, or it is malformed, unknown, expired or revoked.",
        "Send `Authorization: Bearer <token>` with a valid token; the operator makes one with `mission-control token create`.";
    FORBIDDEN = "forbidden", 403, "Not permitted",
        "The token is valid, but its role does not permit this.",
        "Use a token of an admin or owner of the organization.";
    NOT_FOUND = "not_found", 404, "Not found",
        "There is nothing under this address for this organization.",
        "Check the id and the path. A gateway whose registration has not succeeded is shown by its operation.";
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "Method is not allowed",
        "The address exists, but not for this method.",
        "Use a method that the `Allow` header names.";
    NOT_ACCEPTABLE = "not_acceptable", 406, "No acceptable representation",
        "The Accept header excludes application/json.",
        "Accept application/json, or send no Accept header.";
    REQUEST_TIMEOUT = "request_timeout", 408, "Request took too long to arrive",
        "The body of the request did not arrive in time.",
        "Send the whole request at once, over a new connection.";
    IDEMPOTENCY_IN_FLIGHT = "idempotency_in_flight", 409, "The first request with this key is still running",
        "A request with the same Idempotency-Key was accepted and has no outcome yet.",
        "Wait for the operation that `operation` names, or repeat the request later.";
    GATEWAY_BUSY = "gateway_busy", 409, "Another change of this gateway is running",
        "A gateway is changed by one operation at a time.",
        "Wait until the running operation has ended, then try again.";
    NOT_RETRYABLE = "not_retryable", 409, "Registration cannot be retried",
        "The registration did not fail, or its token is no longer kept.",
        "POST the gateway again.";
    OPERATION_FINISHED = "operation_finished", 409, "Operation has ended already",
        "An operation that has its outcome cannot be cancelled.",
        "Read the outcome at the operation's address.";
    OPERATION_CANCELLED = "operation_cancelled", 409, "Operation was cancelled",
        "Somebody cancelled the operation before it had ended.",
        "Ask who cancelled it; POST again, or retry the registration.";
    POSITION_GONE = "position_gone", 410, "Position is no longer kept",
        "The log starts after the wanted position.",
        "Start again from the first position that is kept.";
    PRECONDITION_FAILED = "precondition_failed", 412, "Precondition failed",
        "The gateway has another revision than If-Match names.",
        "Read the gateway again and repeat the change with its new ETag.";
    BODY_TOO_LARGE = "body_too_large", 413, "Body is too large",
        "The body is larger than 64 KiB.",
        "Send a smaller body.";
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "Content type is not supported",
        "The content type is not application/json.",
        "Send `Content-Type: application/json`.";
    INVALID_NAME = "invalid_name", 422, "Name is not valid",
        "The name is blank, longer than 200 characters, or has control characters.",
        "Give a name of 1 to 200 characters.";
    INVALID_WORKSPACE_ROOT = "invalid_workspace_root", 422, "Workspace root is not valid",
        "The workspace root is blank, not absolute, or has control characters or a `..` segment.",
        "Give an absolute path on the gateway's host, for example /home/ubuntu/.openclaw/workspaces.";
    INVALID_TOKEN = "invalid_token", 422, "Gateway token is not valid",
        "The gateway's token is longer than 4,096 bytes or has control characters.",
        "Give the token as it stands in the gateway's configuration.";
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", 422, "Idempotency-Key was used for another request",
        "The same Idempotency-Key came with another body within 24 hours.",
        "Use a new key for a new request.";
    UNKNOWN_BOARD = "unknown_board", 422, "There are no boards",
        "Boards are not part of this service yet.",
        "Leave `board_id` out.";
    RATE_LIMITED = "rate_limited", 429, "Too many requests",
        "This token or address has sent more requests than it may.",
        "Wait for as long as `Retry-After` says.";
    INTERNAL_ERROR = "internal_error", 500, "Internal error",
        "Something broke in Mission Control.",
        "Tell the operator the `request_id`; the log has the cause.";
    GATEWAY_UNREACHABLE = "gateway_unreachable", 502, "Gateway is unreachable",
        "Nothing answers at the gateway's address, or it went away.",
        "Check the URL, that the gateway runs (ps aux | grep openclaw), and the network (nc -zv gateway-host 18789).";
    GATEWAY_TIMEOUT = "gateway_timeout", 502, "Gateway does not answer in time",
        "The gateway took too long at the step that `stage` names.",
        "Check the gateway's load and log, and the network (nc -zv gateway-host 18789).";
    GATEWAY_TLS_FAILED = "gateway_tls_failed", 502, "TLS with the gateway failed",
        "The certificate is not trusted, or one side speaks TLS and the other does not.",
        "Check ws:// against wss://; for a self-signed certificate in development set `allow_insecure_tls`.";
    GATEWAY_AUTH_FAILED = "gateway_auth_failed", 502, "Gateway refused the credential",
        "The gateway refused the token, the password or the device, or has locked this address out.",
        "Check `token` against gateway.auth in the gateway's openclaw.json. It is not tried again by itself.";
    GATEWAY_PAIRING_REQUIRED = "gateway_pairing_required", 502, "Gateway wants this device approved",
        "The gateway does not know this installation's device, or refuses control_ui mode.",
        "Approve the device on the gateway's host (openclaw devices approve <requestId>), or change what `detail` names.";
    GATEWAY_SCOPE_MISSING = "gateway_scope_missing", 502, "Gateway did not grant a needed scope",
        "The gateway let us in without a scope that provisioning needs, for example operator.read.",
        "With `disable_device_pairing: true` set dangerouslyDisableDeviceAuth: true in the gateway's config and restart it; else approve the device.";
    GATEWAY_ORIGIN_REJECTED = "gateway_origin_rejected", 502, "Gateway refused the origin",
        "In control_ui mode the gateway accepts only origins that it knows.",
        "Add the origin to gateway.controlUi.allowedOrigins, or set `disable_device_pairing: false`.";
    GATEWAY_PROTOCOL_ERROR = "gateway_protocol_error", 502, "Not a gateway, or one with another protocol",
        "What answers there does not speak the OpenClaw gateway protocol, version 3 or 4.",
        "Check the URL, and the gateway's version: openclaw --version.";
    GATEWAY_PROVISIONING_FAILED = "gateway_provisioning_failed", 502, "Gateway refused a provisioning step",
        "The gateway refused a call that the main agent needs, for example because the workspace cannot be written.",
        "Do what `detail` says, then retry.";
    GATEWAY_ADDRESS_REFUSED = "gateway_address_refused", 502, "Address is not allowed",
        "The operator's address policy forbids to dial this address.",
        "Use another address, or ask the operator about ALLOW_ADDRESSES, DENY_ADDRESSES and ALLOW_PRIVATE_ADDRESSES.";
    GATEWAY_VERSION_UNSUPPORTED = "gateway_version_unsupported", 503, "Gateway version is not supported",
        "The gateway's version is below the minimum, or cannot be determined.",
        "Upgrade the gateway to the `minimum_version` or newer; check it with openclaw --version.";
    STORE_UNAVAILABLE = "store_unavailable", 503, "Mission Control's database is away",
        "The database does not answer.",
        "Try again after `Retry-After`; with an Idempotency-Key a repeated POST is safe.";
}

/// The entry of a code; `internal_error` for one that is not in the table, which a test excludes.
#[must_use]
pub fn of(code: &str) -> &'static Entry {
    find(code).unwrap_or(&INTERNAL_ERROR)
}

/// The entry of a code.
#[must_use]
pub fn find(code: &str) -> Option<&'static Entry> {
    ALL.iter().copied().find(|entry| entry.code == code)
}

#[cfg(test)]
mod tests {
    use shared::domain::gateway::failure::Code;

    use super::*;

    #[test]
    fn gateway_failures_have_the_status_and_title_that_the_log_records() {
        for code in [
            Code::GatewayUnreachable,
            Code::GatewayTimeout,
            Code::GatewayTlsFailed,
            Code::GatewayAuthFailed,
            Code::GatewayPairingRequired,
            Code::GatewayScopeMissing,
            Code::GatewayOriginRejected,
            Code::GatewayProtocolError,
            Code::GatewayProvisioningFailed,
            Code::GatewayAddressRefused,
            Code::GatewayVersionUnsupported,
        ] {
            let entry = find(code.as_str()).unwrap();
            assert_eq!((entry.status, entry.title), (code.status(), shared::view::title(code)));
        }
    }

    #[test]
    fn the_codes_are_the_documented_ones() {
        let codes: Vec<String> = ALL.iter().map(|entry| format!("{} {}", entry.status, entry.code)).collect();
        insta::assert_snapshot!(codes.join("\n"));
    }
}
