//! An HTTP answer with everything that a test looks at.

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::contract;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// The body as JSON; null if it is none.
    pub json: Value,
}

impl Answer {
    /// Sends the request.
    ///
    /// # Panics
    ///
    /// If no answer comes, or one that the OpenAPI document does not name.
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.expect("a request that can be sent");
        let method = request.method().clone();
        let response = client.execute(request).await.expect("an HTTP answer");
        let path = response.url().path().to_owned();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a text");
        let json = serde_json::from_str(&text).unwrap_or_default();
        contract::check(&method, &path, status, &headers);
        Self { status, headers, text, json }
    }

    /// A header; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `code` of a problem document; empty if it is none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// Asserts status, code and stage of a problem document, and that it is one.
    ///
    /// # Panics
    ///
    /// If it is another answer.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str, stage: Option<&str>) {
        let stage_told = self.json["stage"].as_str();
        assert_eq!((self.status, self.code(), stage_told), (status, code, stage), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json["type"], format!("urn:mission-control:problem:{code}"));
        assert_eq!(self.json["status"], status);
        assert!(!self.json["detail"].as_str().unwrap_or_default().is_empty(), "{}", self.text);
        assert!(self.json["request_id"].is_string(), "{}", self.text);
    }
}
