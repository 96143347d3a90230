//! Settings of who may ask, how often, and from where.

use axum::http::HeaderValue;
use clap::Args;
use ipnet::IpNet;
use shared::secret::Secret;

/// How the API guards itself.
#[derive(Debug, Clone, Args)]
pub struct Access {
    /// Requests that one token may send in a minute; 0 is no limit. Each process counts by itself.
    #[arg(long, env = "RATE_LIMIT_TOKEN", default_value_t = 6_000)]
    pub rate_limit_token: u32,
    /// Requests that may come from one address (of IPv6: one /64) in a minute; 0 is no limit.
    #[arg(long, env = "RATE_LIMIT_ADDRESS", default_value_t = 12_000)]
    pub rate_limit_address: u32,
    /// Requests without a token that is known to be good, from one address in a minute, to what needs one; 0 is no limit.
    #[arg(long, env = "RATE_LIMIT_ATTEMPTS", default_value_t = 120)]
    pub rate_limit_attempts: u32,
    /// Networks of reverse proxies whose X-Forwarded-For is believed.
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may call the API from a browser, such as `https://console.example.com`; `*` is every one.
    #[arg(long, env = "CORS_ALLOW_ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub cors_allow_origins: Vec<HeaderValue>,
    /// Bearer token that /metrics asks for; without it /metrics is open.
    #[arg(long, env = "METRICS_TOKEN", hide_env_values = true, value_parser = metrics_token)]
    pub metrics_token: Option<Secret>,
}

/// `*`, or an origin as browsers send it: scheme, host and port, nothing else.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let is_origin = text == "*"
        || url::Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
        });
    let what = "must be an origin such as https://console.example.com, without a path, or *";
    HeaderValue::from_str(text).ok().filter(|_| is_origin).ok_or_else(|| what.to_owned())
}

fn metrics_token(text: &str) -> Result<Secret, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be visible ASCII characters".to_owned());
    }
    Ok(Secret::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_as_browsers_send_it() {
        for good in ["*", "https://console.example.com", "http://localhost:3000"] {
            assert_eq!(origin(good).unwrap(), good);
        }
        for bad in ["", "console.example.com", "https://a.example/", "https://a.example/x", "ftp://a", "null"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
