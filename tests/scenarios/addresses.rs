//! Attacks on the address policy (DESIGN.md §7): every spelling of a forbidden address, names that lie, redirects, and
//! ourselves. What is forbidden is refused before anything is dialled.

use std::{net::SocketAddr, sync::Arc};

use futures_util::future::join_all;
use harness::{
    fake_gateway::{FakeGateway, Fault, Options},
    process::Server,
    strangers::{Name, Names},
    world::{Answer, Setup, World},
};
use serde_json::{Value, json};
use worker::gateway::policy::AddressPolicy;

use crate::{Home, homes_with};

fn body(url: &str) -> Value {
    json!({"name": "x", "url": url, "workspace_root": "/ws", "token": "gateway-token"})
}

/// An installation per backend that asks this resolver, with this policy.
async fn homes(names: &Arc<Names>, policy: AddressPolicy) -> Vec<(&'static str, Home)> {
    let resolver = Arc::clone(names);
    homes_with(&Setup { policy, resolver, ..Setup::default() }).await
}

fn nets(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Registers each and holds that it is refused for this reason, before anything was dialled.
async fn assert_refused(world: &World, rows: &[(String, &str)]) {
    let refused = rows.iter().map(async |(url, why)| {
        let answer = world.post(&body(url)).await;
        let told = (answer.status, answer.code(), answer.json["stage"].as_str());
        assert_eq!(told, (502, "gateway_address_refused", Some("policy")), "{url}: {}", answer.text);
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{url}: {why:?} is not in {detail:?}");
    });
    join_all(refused).await;
    assert_eq!(world.get("/api/v1/gateways").await.json["total"], 0);
}

#[tokio::test]
async fn a_forbidden_address_is_refused_in_every_spelling() {
    let metadata = "cloud metadata";
    let rows = [
        ("169.254.169.254", metadata),
        ("2852039166", metadata),
        ("0xa9fea9fe", metadata),
        ("0xA9.0xFE.0xA9.0xFE", metadata),
        ("025177524776", metadata),
        ("0251.0376.0251.0376", metadata),
        ("169.254.43518", metadata),
        ("169.16689662", metadata),
        ("169.254.0xa9.0376", metadata),
        ("１６９.２５４.１６９.２５４", metadata),
        ("169%2e254%2e169%2e254", metadata),
        ("[::ffff:169.254.169.254]", metadata),
        ("[::ffff:a9fe:a9fe]", metadata),
        ("[::169.254.169.254]", metadata),
        ("[64:ff9b::169.254.169.254]", metadata),
        ("[64:ff9b::a9fe:a9fe]", metadata),
        ("[2002:a9fe:a9fe::]", metadata),
        ("[2002:a9fe:a9fe:1::2]", metadata),
        ("100.100.100.200", metadata),
        ("[fd00:ec2::254]", metadata),
        ("169.254.1.2", "link-local"),
        ("[fe80::1]", "link-local"),
        ("[64:ff9b::a9fe:102]", "link-local"),
        ("0.0.0.0", "unspecified"),
        ("0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("[::]", "unspecified"),
        ("[::ffff:0.0.0.0]", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("[ff02::1]", "multicast"),
        ("[2002:e000:1::]", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("4294967295", "broadcast"),
    ]
    .map(|(host, why)| (format!("ws://{host}:18789"), why));
    let names = Arc::new(Names::default());
    for (_, home) in homes(&names, AddressPolicy::default()).await {
        assert_refused(&home.world, &rows).await;
        home.world.audit().await;
    }
}

#[tokio::test]
async fn a_private_address_is_refused_in_every_spelling_where_private_ones_are_denied() {
    let gateway = FakeGateway::start(Options::default()).await;
    let port = gateway.port();
    let rows = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.9",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "0xa000001",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "[fc00::1]",
        "[fdff::1]",
        "[::ffff:192.168.0.1]",
        "localhost",
        "inside.test",
    ]
    .map(|host| (format!("ws://{host}:{port}"), "ALLOW_PRIVATE_ADDRESSES"));
    let names = Arc::new(Names::default());
    let here = || Name::Is(vec![vec![SocketAddr::from(([127, 0, 0, 1], port))]]);
    names.add("localhost", here());
    names.add("inside.test", here());
    let policy = AddressPolicy { allow_private: false, ..AddressPolicy::default() };
    for (name, home) in homes(&names, policy).await {
        assert_refused(&home.world, &rows).await;
        assert_eq!(gateway.dials(), 0, "{name}");
        home.world.audit().await;
    }
}

#[tokio::test]
async fn another_spelling_of_an_allowed_address_is_the_same_gateway() {
    let names = Arc::new(Names::default());
    for (name, home) in homes(&names, AddressPolicy::default()).await {
        for host in ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]"] {
            let gateway = FakeGateway::start(Options::default()).await;
            let url = format!("ws://{host}:{}", gateway.port());
            let created = home.world.post(&body(&url)).await;
            assert_eq!(created.status, 200, "{name} {host}: {}", created.text);
            assert_eq!(created.json["url"], url, "{name}: it is shown as it was given");
            assert_eq!(gateway.dials(), 1, "{name} {host}");
        }
        home.world.audit().await;
    }
}

#[tokio::test]
async fn a_name_of_a_metadata_service_is_not_even_resolved() {
    let known = [
        "metadata.google.internal",
        "metadata.google.internal.",
        "Metadata.Google.Internal",
        "metadata",
        "METADATA.",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
    ];
    let rows = known.map(|host| (format!("ws://{host}"), "cloud metadata"));
    let names = Arc::new(Names::default());
    for (name, home) in homes(&names, AddressPolicy::default()).await {
        assert_refused(&home.world, &rows).await;
        assert_eq!(names.asked_in_all(), 0, "{name}");
        home.world.audit().await;
    }
}

#[tokio::test]
async fn a_name_is_refused_if_any_of_its_addresses_is_forbidden() {
    let gateway = FakeGateway::start(Options::default()).await;
    let good = SocketAddr::from(([127, 0, 0, 1], gateway.port()));
    let names = Arc::new(Names::default());
    let bad = ["169.254.169.254:80", "[::ffff:169.254.169.254]:80", "[2002:a9fe:a9fe::]:80", "0.0.0.0:80"];
    let mut rows = vec![];
    for (number, bad) in bad.into_iter().enumerate() {
        let bad: SocketAddr = bad.parse().unwrap();
        for (order, list) in [("first", vec![bad, good]), ("last", vec![good, bad]), ("only", vec![bad])] {
            let host = format!("{order}-{number}.test");
            names.add(&host, Name::Is(vec![list]));
            rows.push((format!("ws://{host}:{}", good.port()), "The address policy forbids"));
        }
    }
    for (name, home) in homes(&names, AddressPolicy::default()).await {
        assert_refused(&home.world, &rows).await;
        assert_eq!(gateway.dials(), 0, "{name}");
        home.world.audit().await;
    }
}

#[tokio::test]
async fn what_was_checked_is_what_is_dialled_whatever_the_name_says_the_second_time() {
    let policy = || AddressPolicy { deny: nets(&["127.0.0.9/32"]), ..AddressPolicy::default() };
    let names = Arc::new(Names::default());
    for (name, home) in homes(&names, policy()).await {
        let gateway = FakeGateway::start(Options::default()).await;
        let good = SocketAddr::from(([127, 0, 0, 1], gateway.port()));
        let denied = SocketAddr::from(([127, 0, 0, 9], gateway.port()));
        names.add("turns.test", Name::Is(vec![vec![good], vec![denied]]));
        let created = home.world.post(&body("ws://turns.test:80")).await;
        assert_eq!(created.status, 200, "{name}: {}", created.text);
        assert_eq!((names.asked("turns.test"), gateway.dials()), (1, 1), "{name}: one question per dial");
        home.world.audit().await;
    }
}

#[tokio::test]
async fn a_name_that_turns_to_a_forbidden_address_is_not_followed_when_the_connection_is_lost() {
    let names = Arc::new(Names::default());
    for (name, home) in homes(&names, AddressPolicy::default()).await {
        let dropped = Fault::DropAt { method: "agents.files.set".to_owned(), times: 1 };
        let gateway = FakeGateway::start(Options::default().with(dropped)).await;
        let good = SocketAddr::from(([127, 0, 0, 1], gateway.port()));
        let metadata = SocketAddr::from(([169, 254, 169, 254], 80));
        names.add("turns.test", Name::Is(vec![vec![good], vec![metadata]]));
        let answer = home.world.post(&body("ws://turns.test:80")).await;
        answer.assert_problem(502, "gateway_address_refused", Some("policy"));
        assert_eq!(gateway.dials(), 1, "{name}");
        home.world.audit().await;
        let id = answer.json["gateway_id"].as_str().unwrap();
        let history = home.world.history(id).await;
        assert_eq!(history, ["GatewayRequested", "GatewayCreationFailed", "MainAgentLeftBehind"], "{name}");
    }
}

#[tokio::test]
async fn a_redirect_at_the_upgrade_is_not_followed() {
    let names = Arc::new(Names::default());
    for (name, home) in homes(&names, AddressPolicy::default()).await {
        let target = FakeGateway::start(Options::default()).await;
        for location in
            [target.url(), target.url().replace("ws://", "http://"), "http://169.254.169.254/".to_owned()]
        {
            let redirecting = Options::default().with(Fault::RedirectAtUpgrade(location.clone()));
            let gateway = FakeGateway::start(redirecting).await;
            let answer = home.world.post(&body(&gateway.url())).await;
            answer.assert_problem(502, "gateway_protocol_error", Some("upgrade"));
            assert_eq!((gateway.dials(), target.dials()), (1, 0), "{name}: to {location}");
        }
        home.world.audit().await;
    }
}

#[tokio::test]
async fn our_own_listener_is_refused_in_every_spelling() {
    let names = Arc::new(Names::default());
    for (_, home) in homes(&names, AddressPolicy::default()).await {
        let port = home.world.address.port();
        names.add("ourselves.test", Name::Is(vec![vec![home.world.address]]));
        names.add("localhost", Name::Is(vec![vec![SocketAddr::from(([0; 16], port)), home.world.address]]));
        let hosts = [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "127.0.0.9",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "ourselves.test",
        ];
        let rows =
            hosts.map(|host| (format!("ws://{host}:{port}/api/v1/gateways"), "Mission Control itself"));
        assert_refused(&home.world, &rows).await;
        let rows =
            ["0.0.0.0", "[::]", "localhost"].map(|host| (format!("ws://{host}:{port}"), "unspecified"));
        assert_refused(&home.world, &rows).await;
        home.world.audit().await;
    }
}

#[tokio::test]
async fn with_a_list_of_allowed_addresses_nothing_else_is_dialled_nor_any_name_resolved() {
    let names = Arc::new(Names::default());
    let policy = || AddressPolicy {
        allow: nets(&["127.0.0.0/8", "10.0.0.0/24"]),
        deny: nets(&["127.0.0.9/32"]),
        // The list says what is allowed, private or not.
        allow_private: false,
        ..AddressPolicy::default()
    };
    for (name, home) in homes(&names, policy()).await {
        let gateway = FakeGateway::start(Options::default()).await;
        let port = gateway.port();
        let here = || Name::Is(vec![vec![SocketAddr::from(([127, 0, 0, 1], port))]]);
        names.add("gateway.test", here());
        names.add("127.0.0.1.test", here());
        let rows = [
            ("8.8.8.8", "ALLOW_ADDRESSES"),
            ("10.0.1.1", "ALLOW_ADDRESSES"),
            ("[::1]", "ALLOW_ADDRESSES"),
            ("[64:ff9b::808:808]", "ALLOW_ADDRESSES"),
            ("127.0.0.9", "DENY_ADDRESSES"),
            ("gateway.test", "ALLOW_ADDRESSES"),
            ("127.0.0.1.test", "ALLOW_ADDRESSES"),
            ("localhost.test", "ALLOW_ADDRESSES"),
        ]
        .map(|(host, why)| (format!("ws://{host}:{port}"), why));
        assert_refused(&home.world, &rows).await;
        assert_eq!((names.asked_in_all(), gateway.dials()), (0, 0), "{name}");
        for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST"] {
            names.add("localhost", here());
            let created = home.world.post(&body(&format!("ws://{host}:{port}"))).await;
            assert_eq!(created.status, 200, "{name} {host}: {}", created.text);
        }
        names.forget();
        home.world.audit().await;
    }
}

#[tokio::test]
async fn the_policy_is_set_by_the_environment() {
    let gateway = FakeGateway::start(Options::default()).await;
    let url = gateway.url();
    let foreign = "ws://8.8.8.8:18789";
    for (variables, url, why) in [
        (vec![("ALLOW_PRIVATE_ADDRESSES", "false")], url.as_str(), "ALLOW_PRIVATE_ADDRESSES"),
        (vec![("DENY_ADDRESSES", "10.0.0.0/8,127.0.0.0/8")], &url, "DENY_ADDRESSES"),
        (vec![("ALLOW_ADDRESSES", "127.0.0.0/8,::1/128")], foreign, "ALLOW_ADDRESSES"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &variables).await;
        let request = reqwest::Client::new().post(format!("{}/api/v1/gateways", server.base));
        let answer = Answer::of(request.bearer_auth(server.token().expose()).json(&body(url))).await;
        answer.assert_problem(502, "gateway_address_refused", Some("policy"));
        assert!(answer.json["detail"].as_str().unwrap().contains(why), "{}", answer.text);
        assert_eq!(server.terminate().await, Some(0));
    }
    assert_eq!(gateway.dials(), 0);
}
