//! A process dies at each named point (`shared/src/failpoint.rs`), before and after it, on both databases; it is started
//! again, and what it was about ends once. A list, not a dice: a point that the code has and the list has not, or that
//! never fires, fails.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is not there must fail the test"
)]

mod installation;
mod release;
mod scene;
mod story;

use std::{collections::BTreeSet, panic::AssertUnwindSafe, path::Path, time::Instant};

use futures_util::{FutureExt as _, future::join_all};
use shared::domain::gateway::Event;

use installation::{Backend, Installation};
use story::{FOUNDED, Story};

/// Installations that work through the list side by side. A worker that is new on a server waits 3 s before it takes
/// over what another one held, so there are more of these.
const INSTALLATIONS: [(Backend, usize); 2] = [(Backend::Sqlite, 4), (Backend::Postgres, 12)];
/// Reached as well, but at which nobody needs to die: a repeated request finds that it is so already.
const BESIDE: [&str; 1] = ["commit nothing"];

/// Every point of every story.
fn list() -> Vec<(Story, String)> {
    let of =
        |story: Story| story.points().iter().flat_map(move |point| both(point).map(|point| (story, point)));
    Story::ALL.into_iter().flat_map(of).collect()
}

fn both(point: &str) -> [String; 2] {
    ["before", "after"].map(|when| format!("{when} {point}"))
}

/// One installation, which dies at its share of the list and is alive again after each; returns what it reached, and
/// what did not hold. After that another one goes on.
async fn die_at(
    backend: Backend,
    (number, share): (usize, Vec<(Story, String)>),
) -> (BTreeSet<String>, Vec<String>) {
    let (mut reached, mut failures) = (BTreeSet::new(), vec![]);
    let at_first = both(FOUNDED).into_iter().nth(number);
    let mut installation = Installation::start(backend, at_first.as_deref()).await;
    for (story, point) in share {
        let what = format!("{backend:?}, {story:?}, {point}");
        let played = scene::play(&mut installation, (story, &point), &what);
        if let Err(panic) = AssertUnwindSafe(Box::pin(played)).catch_unwind().await {
            let text = panic.downcast::<String>().map_or_else(|_| "no text".to_owned(), |text| *text);
            failures.push(format!("{what}: {text}"));
            reached.extend(installation.reached());
            installation = Installation::start(backend, None).await;
        }
    }
    reached.extend(installation.end().await);
    (reached, failures)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_died_at_ends_once_when_it_is_started_again() {
    let started = Instant::now();
    let list = list();
    let mut installations = vec![];
    for (backend, side_by_side) in INSTALLATIONS {
        for number in 0..side_by_side {
            let share = list.iter().skip(number).step_by(side_by_side).cloned().collect();
            installations.push(die_at(backend, (number, share)));
        }
    }
    let mut reached = BTreeSet::new();
    let mut failures = vec![];
    for (points, failed) in join_all(installations).await {
        reached.extend(points);
        failures.extend(failed);
    }
    assert!(failures.is_empty(), "{} deaths:\n{}", failures.len(), failures.join("\n"));
    let known: BTreeSet<String> = list.iter().map(|(_, point)| point.clone()).collect();
    let known = &known | &BESIDE.into_iter().chain([FOUNDED]).flat_map(both).collect();
    let unknown: Vec<&String> = reached.difference(&known).collect();
    assert_eq!(unknown, Vec::<&String>::new(), "points of the code that are not in the list");
    println!("{} deaths on each database in {:?}", list.len() + 2, started.elapsed());
}

#[test]
fn every_event_and_every_gateway_call_of_the_code_is_in_the_list() {
    let listed: BTreeSet<&str> = Story::ALL.into_iter().flat_map(Story::points).copied().collect();
    let commits: BTreeSet<&str> = listed
        .iter()
        .filter_map(|point| point.strip_prefix("commit "))
        .flat_map(|events| events.split('+'))
        .collect();
    // What somebody noticed and nobody asked for: a death before its commit loses nothing that was answered, for the next
    // probe, or the next call of the agent, notices it again.
    let is_noticed = |name: &&str| Event::NOTICED.contains(name);
    let missing: Vec<&str> =
        Event::NAMES.into_iter().filter(|name| !commits.contains(name) && !is_noticed(name)).collect();
    assert_eq!(missing, [""; 0], "events at whose commit nobody dies");
    let called = methods(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../worker/src/gateway"));
    assert!(called.contains("agents.create") && called.contains("status"), "{called:?}");
    let missing: Vec<String> =
        called.into_iter().filter(|method| !listed.contains(format!("call {method}").as_str())).collect();
    assert_eq!(missing, [""; 0], "calls at which nobody dies");
}

/// Methods of the gateway protocol that the sources in this folder name.
fn methods(folder: &Path) -> BTreeSet<String> {
    let offered = offered();
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(methods(&path));
        } else {
            let source = std::fs::read_to_string(&path).unwrap();
            found.extend(source.split('"').filter(|text| offered.contains(*text)).map(str::to_owned));
        }
    }
    found
}

/// What a real gateway offers; but for `status` only names of two words, which are nothing else in our sources.
fn offered() -> BTreeSet<String> {
    let recorded = include_str!("../samples/openclaw/2026.9.6/hello-ok.json");
    let frames: serde_json::Value = serde_json::from_str(recorded).unwrap();
    let methods = frames.pointer("/2/frame/payload/features/methods").unwrap().as_array().unwrap();
    let methods = methods.iter().map(|method| method.as_str().unwrap().to_owned());
    methods.filter(|method| method.contains('.') || method == "status").collect()
}
