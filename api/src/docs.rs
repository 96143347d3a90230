//! `/openapi.json`, `/docs` and `/problems/{code}`: what the API is, for programs and for people. One endpoint, one
//! file.

pub mod complete;
pub mod document;
pub mod problem;
pub mod reader;

use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

/// The document without its paths.
#[must_use]
pub fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Mission Control, gateway service")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Registers and provisions OpenClaw gateways. Every GET answers HEAD too, without a body. Every error is \
             `application/problem+json` (RFC 9457); `/problems/{code}` explains its code.",
        ))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()))
        .build();
    let http = |description: &str| {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(description.to_owned());
        SecurityScheme::Http(http)
    };
    let header = ApiKeyValue::with_description("X-Agent-Token", "The token in an agent's files");
    let components = ComponentsBuilder::new()
        .security_scheme("bearer", http("An API token of a member or of the operator"))
        .security_scheme("agent_token", SecurityScheme::ApiKey(ApiKey::Header(header)))
        .security_scheme("metrics", http("What the setting METRICS_TOKEN says"))
        .security_scheme("agent_bearer", http("The token in an agent's files"))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new::<_, [&str; 0], &str>("bearer", [])]))
        .build()
}
