//! The schema, brought up to date by several at once.

use std::process::Stdio;

use crate::home;

#[tokio::test(flavor = "multi_thread")]
async fn migrations_that_race_all_end_well_and_a_later_one_finds_nothing_to_do() {
    let home = home().await;
    let migrate = || {
        let mut command = home.fleet.mission_control(&["migrate"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let racing: Vec<_> = (0..5).map(|_| migrate()).collect();
    for child in racing.into_iter().chain([migrate()]) {
        let ended = child.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert_eq!(ended.status.code(), Some(0), "{err}");
        assert!(out.starts_with("the schema of ") && out.ends_with(" is up to date\n"), "{out}");
    }
    let store = home.database.open().await;
    assert_eq!(store.head().await.unwrap().position, 0);
}
