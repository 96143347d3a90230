//! Ten thousand clients that wait for outcomes: what they cost in memory and in queries.

use std::time::Duration;

use crate::{
    creates::body,
    database::Database,
    http::{Ask, Http},
    numbers::float,
    processes::{Server, Start},
};

/// Operations that are waited for; nobody works on them.
const OPERATIONS: usize = 500;

/// What so many waiting clients cost.
#[derive(Debug)]
pub(crate) struct Cost {
    /// Of the server's memory.
    pub(crate) kib_each: f64,
    /// Queries per second of the server without any.
    pub(crate) queries_without: f64,
    /// And with all of them.
    pub(crate) queries_with: f64,
}

/// A server without a worker, so that the operations stay as they are.
pub(crate) async fn measure(database: &Database, clients: usize, time: Duration) -> Cost {
    let url = database.new_database().await;
    let settings = [("NO_WORKER", "true")];
    let server = Server::start(Start { database: Some(&url), settings: &settings, ..Start::default() }).await;
    let mut http = server.connect().await.expect("the server takes connections");
    let mut operations = vec![];
    for number in 0..OPERATIONS {
        let body = body("ws://127.0.0.1:9", &number.to_string());
        let (status, operation) = http.post("/api/v1/gateways", "prefer: respond-async\r\n", &body).await;
        assert_eq!(status, 202, "{operation}");
        operations.push(operation["id"].as_str().unwrap_or_default().to_owned());
    }
    wait_until_quiet(database, &url).await;
    let queries_without = queries(database, &url, time).await;
    let before = server.resident_kib();
    let mut waiting = Vec::with_capacity(clients);
    for number in 0..clients {
        let mut client: Http = server.connect().await.expect("the server takes connections");
        let path = format!("/api/v1/operations/{}", operations[number % OPERATIONS]);
        let ask = Ask { method: "GET", path: &path, header: "prefer: wait=60\r\n", body: "" };
        client.send(ask).await.expect("the request is sent");
        waiting.push(client);
    }
    // Each looks once when it begins to wait.
    wait_until_quiet(database, &url).await;
    let kib_each = (server.resident_kib() - before) / float(clients);
    let queries_with = queries(database, &url, time).await;
    drop(waiting);
    drop(server);
    Cost { kib_each, queries_without, queries_with }
}

async fn queries(database: &Database, url: &str, time: Duration) -> f64 {
    let before = database.transactions(url).await;
    tokio::time::sleep(time).await;
    (database.transactions(url).await - before) / time.as_secs_f64()
}

/// A session that does nothing more tells what it did after so long at the latest (`PGSTAT_IDLE_INTERVAL`).
const TOLD: Duration = Duration::from_secs(11);

/// Until there are few queries in a second: what began is done, and sessions have told of it.
async fn wait_until_quiet(database: &Database, url: &str) {
    tokio::time::sleep(TOLD).await;
    for _ in 0..15 {
        if queries(database, url, Duration::from_secs(2)).await < 30.0 {
            return;
        }
    }
    panic!("there are still more than 30 queries a second after half a minute");
}
