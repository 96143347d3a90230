//! Nothing is left of an agent that was removed or could not be made.

use harness::openclaw::{Gateway, Held, Options, Proxy, Version};
use serde_json::json;

use crate::{
    compatibility::Look,
    registration::{MissionControl, Registered, Registration},
};

#[tokio::test]
async fn a_2026_9_6_holds_nothing_of_an_agent_that_was_removed() {
    removed(Version::V2026_9_6).await;
}

#[tokio::test]
async fn a_2026_6_11_holds_nothing_of_an_agent_that_was_removed() {
    removed(Version::V2026_6_11).await;
}

#[tokio::test]
async fn a_2026_2_9_holds_nothing_of_an_agent_that_was_removed() {
    removed(Version::V2026_2_9).await;
}

async fn removed(version: Version) {
    let mut gateway = Gateway::start(Options::new(version)).await;
    let control = MissionControl::start().await;
    let proxy = Proxy::before(&gateway).await;
    let registration = Registration::of(&gateway, &proxy);
    let kept = control.register(&registration).await.expect("it is registered");
    gateway.until_run_of(&kept.on_gateway()).await;
    let before = gateway.held().await;
    let look = Look::through(&proxy, &gateway);
    let status = control.status(&kept).await;
    look.saw(
        "read its status",
        if status["connected"] == json!(true) { "connected" } else { "not connected" },
    );
    assert_eq!((&status["connected"], &status["runtime_version"]), (&json!(true), &json!(version.number())));
    assert_eq!(status["main_session"], json!(format!("agent:{}:main", kept.on_gateway())));

    unwritable_workspace(&control, &gateway, &registration, &before).await;

    let gone = control.register(&registration).await.expect("it is registered");
    gateway.until_run_of(&gone.on_gateway()).await;
    let look = Look::through(&proxy, &gateway);
    control.remove(&gone).await.expect("it is removed");
    let removing = look.end();

    let after = gateway.held().await;
    assert_gone(&gateway, &after, &gone);
    removing.saw("remove", "removed, nothing left");
    assert_eq!(after.entries(), before.entries());
    assert_eq!(after.settings(), before.settings());
    for id in before.agent_ids() {
        assert_eq!(after.heartbeat(&id), before.heartbeat(&id), "the heartbeat of {id}");
        assert_eq!(after.files(&id), before.files(&id), "the files of {id}");
        assert_eq!(after.label(&id), before.label(&id), "the label of {id}");
    }

    control.remove(&kept).await.expect("it is removed");
    let empty = gateway.held().await;
    assert_gone(&gateway, &empty, &kept);
    assert_eq!(empty.agent_ids(), ["main"]);
    assert_eq!(empty.heartbeat("main").as_deref(), Some("45m"));
    control.stop().await;
    gateway.stop().await;
}

fn assert_gone(gateway: &Gateway, held: &Held, registered: &Registered) {
    let id = registered.on_gateway();
    assert!(held.agent(&id).is_none(), "the agent is there");
    assert!(held.entries().get(&id).is_none(), "its entry is there");
    assert!(held.cron_jobs(&id).is_empty(), "its jobs are there: {:?}", held.cron_jobs(&id));
    assert!(held.sessions(&id).is_empty(), "its sessions are there: {:?}", held.sessions(&id));
    assert_eq!(held.heartbeat(&id), None, "its heartbeat is there");
    assert!(!gateway.workspace_root().join(&id).exists(), "its workspace is there");
}

/// A root that is a file: not even the superuser can make a folder in it.
async fn unwritable_workspace(
    control: &MissionControl,
    gateway: &Gateway,
    registration: &Registration,
    before: &Held,
) {
    let root = gateway.path("openclaw.json").join("workspaces").display().to_string();
    let registration = Registration { workspace_root: root, ..registration.clone() };
    let look = Look::at(gateway);
    let result = control.register(&registration).await;
    look.registered("register with a workspace_root that cannot be written", &result);
    let refusal = result.expect_err("there can be no workspace");
    assert_eq!(refusal.what(), (502, "gateway_provisioning_failed", "agent"), "{refusal:?}");
    assert!(refusal.text("detail").contains("workspace_root"), "{refusal:?}");
    let after = gateway.held().await;
    assert_eq!(after.entries(), before.entries());
    assert_eq!(after.agent_ids(), before.agent_ids());
}
