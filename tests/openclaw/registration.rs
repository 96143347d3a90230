//! How a test registers a gateway: the one place that knows by which way. It is the documented one.

use harness::{
    databases::{TestStore, sqlite},
    openclaw::{Gateway, Proxy},
    world::{Answer, Setup, World},
};
use serde_json::{Value, json};

/// The documented fields of a gateway, in their order.
const DOCUMENTED: [&str; 10] = [
    "id",
    "organization_id",
    "name",
    "url",
    "workspace_root",
    "gateway_agent_id",
    "allow_insecure_tls",
    "disable_device_pairing",
    "created_at",
    "updated_at",
];

/// Waits for the outcome as long as may be: these machines are busy.
const PATIENT: [(&str, &str); 1] = [("Prefer", "wait=60")];

/// What a person posts.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) url: String,
    pub(crate) token: Option<String>,
    pub(crate) workspace_root: String,
    pub(crate) allow_insecure_tls: bool,
    pub(crate) disable_device_pairing: bool,
}

/// Every gateway of the ring has this name: a text that must be quoted.
pub(crate) const NAME: &str = "Ring \"gateway\"";

impl Registration {
    /// Through the proxy, with what the gateway asks for.
    pub(crate) fn of(gateway: &Gateway, proxy: &Proxy) -> Self {
        Self {
            url: proxy.url().to_owned(),
            token: gateway.secret().map(ToOwned::to_owned),
            workspace_root: gateway.workspace_root().display().to_string(),
            allow_insecure_tls: gateway.options().tls,
            disable_device_pairing: false,
        }
    }

    fn body(&self) -> Value {
        json!({
            "name": NAME, "url": self.url, "workspace_root": self.workspace_root, "token": self.token,
            "allow_insecure_tls": self.allow_insecure_tls,
            "disable_device_pairing": self.disable_device_pairing,
        })
    }
}

/// A gateway that is registered.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) id: String,
    /// `agent-<ULID>`, as Mission Control writes it.
    pub(crate) agent_id: String,
    pub(crate) runtime_version: String,
}

impl Registered {
    fn of(read: &Value) -> Self {
        let text = |key: &str| read[key].as_str().expect("a text").to_owned();
        Self { id: text("id"), agent_id: text("gateway_agent_id"), runtime_version: text("runtime_version") }
    }

    /// The id as gateways hold it.
    pub(crate) fn on_gateway(&self) -> String {
        self.agent_id.to_ascii_lowercase()
    }
}

/// Why a gateway is not registered: the problem document.
#[derive(Debug)]
pub(crate) struct Refusal(Value);

impl Refusal {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    /// For the table of docs/compatibility.md.
    pub(crate) fn in_words(&self) -> String {
        let (status, code, stage) = self.what();
        format!("{status} `{code}` at `{stage}`")
    }

    /// Status, code and stage.
    pub(crate) fn what(&self) -> (u64, &str, &str) {
        (self.0["status"].as_u64().unwrap_or_default(), self.text("code"), self.text("stage"))
    }
}

/// Mission Control, whole and in this process, with an organization of its own.
pub(crate) struct MissionControl {
    world: World,
    _store: TestStore,
}

impl MissionControl {
    pub(crate) async fn start() -> Self {
        Self::start_on(sqlite().await).await
    }

    /// On this database.
    pub(crate) async fn start_on(store: TestStore) -> Self {
        let world = World::with(std::sync::Arc::clone(&store.store), Setup::default()).await;
        Self { world, _store: store }
    }

    /// Where the agents are told to check in.
    pub(crate) fn base_url(&self) -> String {
        self.world.url("")
    }

    /// Registers it and waits for the outcome.
    pub(crate) async fn register(&self, registration: &Registration) -> Result<Registered, Refusal> {
        let answer = self.world.post(&registration.body()).await;
        if let Some(token) = &registration.token {
            assert!(!answer.text.contains(token), "the token is in the answer: {}", answer.text);
        }
        if answer.status != 200 {
            let (code, stage) = (answer.code().to_owned(), answer.json["stage"].as_str().map(str::to_owned));
            answer.assert_problem(502, &code, stage.as_deref());
            return Err(Refusal(answer.json));
        }
        let fields = answer.json.as_object().expect("a gateway is an object").keys().take(DOCUMENTED.len());
        assert_eq!(fields.collect::<Vec<_>>(), DOCUMENTED);
        Ok(Registered::of(&answer.json))
    }

    /// Asks for it; the outcome is found at what is returned.
    pub(crate) async fn begin(&self, registration: &Registration) -> String {
        let answer = self.world.post_with(&registration.body(), &[("Prefer", "respond-async")]).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.header("location").to_owned()
    }

    /// Waits for the outcome of what was begun.
    pub(crate) async fn outcome(&self, operation: &str) -> Result<Registered, Refusal> {
        let answer = self.world.outcome(operation).await;
        let Value::Object(mut operation) = answer.json else { panic!("no operation: {}", answer.text) };
        match (operation.remove("result"), operation.remove("error")) {
            (Some(read), _) if read.is_object() => Ok(Registered::of(&read)),
            (_, error) => Err(Refusal(error.unwrap_or_default())),
        }
    }

    /// An operation as it is now.
    pub(crate) async fn operation(&self, operation: &str) -> Value {
        self.world.get(operation).await.json
    }

    /// The live status of a gateway.
    pub(crate) async fn status(&self, registered: &Registered) -> Value {
        self.world.get(&format!("/api/v1/gateways/{}/status", registered.id)).await.json
    }

    /// Runs a failed registration again.
    pub(crate) async fn retry(&self, gateway_id: &str) -> Result<Registered, Refusal> {
        let path = format!("/api/v1/gateways/{gateway_id}/retry");
        let answer = Answer::of(self.as_owner(reqwest::Method::POST, &path)).await;
        if answer.status == 200 { Ok(Registered::of(&answer.json)) } else { Err(Refusal(answer.json)) }
    }

    /// Changes it and waits for the outcome.
    pub(crate) async fn change(&self, registered: &Registered, change: &Value) -> Result<Value, Refusal> {
        let path = format!("/api/v1/gateways/{}", registered.id);
        let answer = self.world.send(reqwest::Method::PATCH, &path, change, &PATIENT).await;
        if answer.status == 200 { Ok(answer.json) } else { Err(Refusal(answer.json)) }
    }

    /// Writes its agents anew.
    pub(crate) async fn sync(&self, registered: &Registered, query: &str) -> Result<Value, Refusal> {
        let path = format!("/api/v1/gateways/{}/templates/sync{query}", registered.id);
        let answer = self.world.send(reqwest::Method::POST, &path, &json!({}), &PATIENT).await;
        if answer.status == 200 { Ok(answer.json) } else { Err(Refusal(answer.json)) }
    }

    /// Its main agent as Mission Control knows it.
    pub(crate) async fn agent(&self, registered: &Registered) -> Value {
        self.world.get(&format!("/api/v1/agents/{}", registered.agent_id)).await.json
    }

    /// What an agent does with the lines in its own file; the status of the answer.
    pub(crate) async fn check_in(&self, base_url: &str, token: &str) -> u16 {
        let request = self.world.http.post(format!("{base_url}/api/v1/agent/heartbeat"));
        Answer::of(request.header("X-Agent-Token", token)).await.status
    }

    /// Takes it away again.
    pub(crate) async fn remove(&self, registered: &Registered) -> Result<(), Refusal> {
        let path = format!("/api/v1/gateways/{}", registered.id);
        let answer = Answer::of(self.as_owner(reqwest::Method::DELETE, &path)).await;
        if answer.status == 200 { Ok(()) } else { Err(Refusal(answer.json)) }
    }

    fn as_owner(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.world.http.request(method, self.world.url(path)).bearer_auth(self.world.owner.expose())
    }

    /// Stops it; the log is intact, every operation has one end, and nothing waits.
    pub(crate) async fn stop(mut self) {
        self.world.audit().await;
        self.world.stop().await;
    }
}
