//! A client as the documentation advises it: an Idempotency-Key, and again whatever it was that went wrong on the way.

use std::time::{Duration, Instant};

use serde_json::Value;
use shared::secret::Secret;

use crate::{fake_gateway::FakeGateway, world::body};

/// Most that a registration takes, whatever is killed meanwhile.
const LIMIT: Duration = Duration::from_mins(1);

/// Registers gateways at any API of a fleet.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    apis: Vec<String>,
    owner: Secret,
    limit: Duration,
}

impl Client {
    /// Of these APIs, by their bases.
    #[must_use]
    pub fn new(apis: Vec<String>, owner: Secret) -> Self {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(35))
            .no_proxy()
            .build()
            .expect("as the API is documented");
        Self { http, apis, owner, limit: LIMIT }
    }

    /// Gives a registration so long instead of a minute.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Registers until an outcome is known; every second one waits for it, the others ask for it.
    pub async fn register(&self, number: usize, gateway: &FakeGateway) -> Value {
        let started = Instant::now();
        let mut last = String::new();
        for attempt in number.. {
            assert!(started.elapsed() < self.limit, "gateway {number} has no outcome: {last}");
            match self.once((number, attempt), gateway).await {
                Ok(outcome) => return outcome,
                Err(error) => last = error,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unreachable!("an attempt never ends the loop")
    }

    async fn once(&self, (number, attempt): (usize, usize), gateway: &FakeGateway) -> Result<Value, String> {
        let api = &self.apis[attempt % self.apis.len()];
        let mut request = self
            .http
            .post(format!("{api}/api/v1/gateways"))
            .bearer_auth(self.owner.expose())
            .header("Idempotency-Key", format!("gateway-{number}"))
            .json(&body(gateway));
        if number % 2 == 1 {
            request = request.header("Prefer", "respond-async");
        }
        let (status, answer) = send(request).await?;
        match status {
            200 => Ok(answer),
            202 => self.poll(api, answer["id"].as_str().expect("as the API is documented")).await,
            409 | 503 => Err(format!("{status} {answer}")),
            other => panic!("gateway {number} is answered {other}: {answer}"),
        }
    }

    async fn poll(&self, api: &str, operation: &str) -> Result<Value, String> {
        loop {
            let request = self.http.get(format!("{api}/api/v1/operations/{operation}"));
            let request = request.bearer_auth(self.owner.expose()).header("Prefer", "wait=5");
            let (status, answer) = send(request).await?;
            match (status, answer["status"].as_str().unwrap_or_default()) {
                (200, "succeeded") => return Ok(answer["result"].clone()),
                (200, "pending" | "running") => {}
                (503, _) => return Err(format!("503 {answer}")),
                _ => panic!("operation {operation} is answered {status}: {answer}"),
            }
        }
    }

    /// Waits for the outcome of an operation at the first API.
    pub async fn outcome(&self, operation: &str) -> Value {
        self.poll(&self.apis[0], operation).await.expect("as the API is documented")
    }

    /// The request as it is, for what a single answer says.
    ///
    /// # Errors
    /// How the answer was lost.
    pub async fn post(&self, gateway: &FakeGateway, prefer: &str) -> Result<(u16, Value), String> {
        let request = self.http.post(format!("{}/api/v1/gateways", self.apis[0]));
        send(request.bearer_auth(self.owner.expose()).header("Prefer", prefer).json(&body(gateway))).await
    }
}

/// Status and body, or how the answer was lost.
async fn send(request: reqwest::RequestBuilder) -> Result<(u16, Value), String> {
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    Ok((status, answer.json().await.map_err(|error| error.to_string())?))
}
