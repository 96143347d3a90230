//! What is done with a registered gateway afterwards: it is changed and moved, its agent's files are written anew, and
//! the agent checks in.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness::{
    databases::{TestStore, postgres, sqlite},
    openclaw::{Gateway, Options, Proxy, Version},
};
use serde_json::{Value, json};

use crate::{
    compatibility::Look,
    registration::{MissionControl, NAME, Registered, Registration},
};

#[tokio::test]
async fn a_2026_9_6_is_changed_synced_and_moved_and_its_agent_checks_in() {
    // What is written on a gateway does not depend on the database; that it works with each is seen all the same.
    changed(Version::V2026_9_6, postgres().await).await;
}

#[tokio::test]
async fn a_2026_6_11_is_changed_synced_and_moved_and_its_agent_checks_in() {
    changed(Version::V2026_6_11, sqlite().await).await;
}

#[tokio::test]
async fn a_2026_2_9_is_changed_synced_and_moved_and_its_agent_checks_in() {
    changed(Version::V2026_2_9, postgres().await).await;
}

async fn changed(version: Version, store: TestStore) {
    let elsewhere = Options { secret: "the-other-secret-1147".to_owned(), ..Options::new(version) };
    let (mut gateway, mut other) = Gateway::start_two(Options::new(version), elsewhere).await;
    let control = MissionControl::start_on(store).await;
    let proxy = Proxy::before(&gateway).await;
    let registered = control.register(&Registration::of(&gateway, &proxy)).await.expect("it is registered");
    gateway.until_run_of(&registered.on_gateway()).await;
    let known = (&control, &registered);

    its_agent_checks_in(known, &gateway).await;
    its_name_is_changed(known, &gateway, &proxy).await;
    its_files_are_written_anew(known, &gateway, &proxy).await;
    its_agents_token_is_rotated(known, &gateway, &proxy).await;
    its_token_is_changed(known, &mut gateway, &proxy).await;
    it_is_moved(known, (&gateway, &proxy), &other).await;

    control.remove(&registered).await.expect("it is removed");
    assert_eq!(other.held().await.agent_ids(), ["main"]);
    control.stop().await;
    gateway.stop().await;
    other.stop().await;
}

type Known<'a> = (&'a MissionControl, &'a Registered);

/// The agent's own folder on the gateway's host.
fn workspace(gateway: &Gateway, registered: &Registered) -> PathBuf {
    gateway.workspace_root().join(registered.on_gateway())
}

fn read(workspace: &Path, name: &str) -> String {
    fs::read_to_string(workspace.join(name)).unwrap_or_default()
}

/// A line of the agent's credentials, from whichever of its files has them.
fn credential(workspace: &Path, name: &str) -> String {
    let text = read(workspace, "TOOLS.md") + "\n" + &read(workspace, "AGENTS.md");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    line.unwrap_or_else(|| panic!("no {name} on the gateway's disk")).to_owned()
}

async fn check_in(control: &MissionControl, workspace: &Path) -> u16 {
    control.check_in(&credential(workspace, "BASE_URL"), &credential(workspace, "AUTH_TOKEN")).await
}

async fn its_agent_checks_in((control, registered): Known<'_>, gateway: &Gateway) {
    let workspace = workspace(gateway, registered);
    assert_eq!(credential(&workspace, "AGENT_ID"), registered.agent_id);
    let before = control.agent(registered).await;
    assert_eq!(before["checked_in_at"], Value::Null, "provisioned is not checked in: {before}");
    let look = Look::at(gateway);
    assert_eq!(check_in(control, &workspace).await, 200);
    look.saw("check in with the token in the agent's files", "checked in");
    let after = control.agent(registered).await;
    assert!(after["checked_in_at"].is_string(), "{after}");
}

async fn its_name_is_changed((control, registered): Known<'_>, gateway: &Gateway, proxy: &Proxy) {
    let workspace = workspace(gateway, registered);
    let before = gateway.held().await;
    assert!(read(&workspace, "IDENTITY.md").contains(r#""Ring \"gateway\"""#));
    let look = Look::through(proxy, gateway);
    let read_back = control.change(registered, &json!({"name": "Renamed"})).await.expect("it is changed");
    look.saw("change its name", "changed");
    assert_eq!(read_back["name"], "Renamed");
    assert!(read(&workspace, "IDENTITY.md").contains("Renamed"), "{}", read(&workspace, "IDENTITY.md"));
    assert!(!read(&workspace, "IDENTITY.md").contains("Ring"), "{}", read(&workspace, "IDENTITY.md"));
    let after = gateway.held().await;
    let id = registered.on_gateway();
    assert_eq!(before.label(&id), Some(format!("{NAME} ({})", registered.agent_id)));
    assert_eq!(after.label(&id), Some(format!("Renamed ({})", registered.agent_id)));
    assert_eq!((after.entries(), after.settings()), (before.entries(), before.settings()));
    assert_eq!(after.files("main"), before.files("main"));
    assert_eq!(gateway.runs_of(&id), 1, "a change wakes nobody");
}

async fn its_files_are_written_anew((control, registered): Known<'_>, gateway: &Gateway, proxy: &Proxy) {
    let workspace = workspace(gateway, registered);
    let written = ["SOUL.md", "AGENTS.md", "MEMORY.md", "USER.md"].map(|name| (name, read(&workspace, name)));
    for (name, text) in &written {
        assert!(text.starts_with("# "), "{name}: {text}");
        fs::write(workspace.join(name), "# Mine\n").expect("the agent may write its files");
    }
    let look = Look::through(proxy, gateway);
    let synced = control.sync(registered, "").await.expect("it is synced");
    look.saw("sync its templates", "written; MEMORY.md and USER.md kept");
    assert_eq!((&synced["main_updated"], &synced["errors"]), (&json!(true), &json!([])), "{synced}");
    for (name, text) in &written {
        let is_kept = ["MEMORY.md", "USER.md"].contains(name);
        assert_eq!(read(&workspace, name), if is_kept { "# Mine\n" } else { text }, "{name}");
    }
    let synced = control.sync(registered, "?overwrite=true").await.expect("it is synced");
    assert_eq!((&synced["main_updated"], &synced["errors"]), (&json!(true), &json!([])), "{synced}");
    for (name, text) in &written {
        assert_eq!(&read(&workspace, name), text, "{name}, overwritten");
    }
}

async fn its_agents_token_is_rotated((control, registered): Known<'_>, gateway: &Gateway, proxy: &Proxy) {
    let workspace = workspace(gateway, registered);
    let (base, old) = (credential(&workspace, "BASE_URL"), credential(&workspace, "AUTH_TOKEN"));
    let look = Look::through(proxy, gateway);
    let synced = control.sync(registered, "?rotate_tokens=true").await.expect("it is synced");
    look.saw(
        "sync its templates and rotate the agent's token",
        "the old token is refused, the new one works",
    );
    assert_eq!(synced["main_updated"], true, "{synced}");
    assert_ne!(credential(&workspace, "AUTH_TOKEN"), old);
    assert_eq!(control.check_in(&base, &old).await, 401);
    assert_eq!(check_in(control, &workspace).await, 200);
}

async fn its_token_is_changed((control, registered): Known<'_>, gateway: &mut Gateway, proxy: &Proxy) {
    let look = Look::through(proxy, gateway);
    let refusal = control.change(registered, &json!({"token": "not-the-secret"})).await;
    let refusal = refusal.expect_err("a wrong token is refused");
    look.saw("change its token to a wrong one", &format!("{}; the old one serves", refusal.in_words()));
    assert_eq!(control.status(registered).await["connected"], true, "the old token serves");

    gateway.stop().await;
    gateway.change_secret("another-secret-0815");
    gateway.start_again().await;
    let look = Look::through(proxy, gateway);
    let change = json!({"token": "another-secret-0815"});
    control.change(registered, &change).await.expect("it is changed");
    look.saw("change its token", "changed");
    let status = control.status(registered).await;
    assert_eq!(status["connected"], true, "{status}");
}

async fn it_is_moved(
    (control, registered): Known<'_>,
    (gateway, proxy): (&Gateway, &Proxy),
    other: &Gateway,
) {
    let id = registered.on_gateway();
    let change = json!({"url": other.url(), "workspace_root": other.workspace_root().display().to_string()});
    let refusal = control.change(registered, &change).await.expect_err("the other one has another token");
    assert_eq!(refusal.what(), (502, "gateway_auth_failed", "handshake"), "{refusal:?}");
    assert_eq!(control.status(registered).await["gateway_url"], json!(proxy.url()));

    let mut change = change;
    change["token"] = json!(other.secret());
    let look = Look::at(other);
    let moved = control.change(registered, &change).await.expect("it is moved");
    look.saw("move it to another gateway", "moved; nothing left where it was");
    assert_eq!(moved["url"], json!(other.url()));
    let there = other.held().await;
    assert!(there.agent(&id).is_some());
    assert_eq!(there.heartbeat("main").as_deref(), Some("45m"));
    assert_eq!(check_in(control, &workspace(other, registered)).await, 200);
    until_it_is_gone(gateway, &id).await;
    assert_eq!(gateway.held().await.heartbeat("main").as_deref(), Some("45m"));
}

/// It is taken away where it was by a job of its own, after the answer.
async fn until_it_is_gone(gateway: &Gateway, id: &str) {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let held = gateway.held().await;
        if held.agent(id).is_none() {
            assert!(held.entries().get(id).is_none() && held.sessions(id).is_empty());
            return;
        }
        assert!(Instant::now() < until, "the agent is still where it was");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
