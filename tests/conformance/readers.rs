//! Readers beside writers: whoever commits, and however slowly, every reader sees the same sequence.

use std::{collections::HashSet, sync::Arc, time::Duration};

use shared::{
    envelope::Recorded,
    store::{EventFilter, Store},
    watch::Waiters,
};

use crate::{append, backends, event, organization, soon};

const WRITERS: u64 = 64;
const COMMITS_EACH: u64 = 8;
/// Commits of one, two and three events take turns.
const EVENTS: usize = 64 * (3 + 6 + 6);

/// The ways to follow the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Page after page of the whole log.
    Pages(u32),
    /// Page after page of an organization's part, which is all of it here.
    Filtered(u32),
    /// Fed by the process's one tailer, as clients of the API are.
    Fed,
}

const WAYS: [Way; 4] = [Way::Pages(100), Way::Pages(7), Way::Filtered(33), Way::Fed];

/// Follows the log until as many events were seen as will be written.
async fn follow(store: Arc<dyn Store>, way: Way) -> Vec<Recorded> {
    let mut seen: Vec<Recorded> = vec![];
    if way == Way::Fed {
        let waiters = Waiters::new(1);
        let tailer = tokio::spawn(waiters.clone().tail(Arc::clone(&store)));
        let mut feed = waiters.feed().await;
        seen.extend(store.log_page(0, 10_000).await.unwrap());
        while seen.len() < EVENTS {
            let event = feed.recv().await.unwrap();
            if seen.last().is_none_or(|last| event.position > last.position) {
                seen.push((*event).clone());
            }
        }
        tailer.abort();
        return seen;
    }
    let ours = EventFilter { organization: Some(organization(1)), ..EventFilter::default() };
    let mut positions = store.positions();
    while seen.len() < EVENTS {
        let _ = tokio::time::timeout(Duration::from_millis(20), positions.changed()).await;
        let after = seen.last().map_or(0, |last| last.position);
        seen.extend(match way {
            Way::Pages(limit) => store.log_page(after, limit).await.unwrap(),
            Way::Filtered(limit) => store.events(&ours, after, limit).await.unwrap(),
            Way::Fed => vec![],
        });
    }
    seen
}

async fn write(store: Arc<dyn Store>, writer: u64) {
    let mut version = 0;
    for round in 0..COMMITS_EACH {
        let mut commit = append(writer.into(), version, 0);
        commit.events.clear();
        for _ in 0..=round % 3 {
            version += 1;
            commit.events.push(event(u128::from(writer) * 1_000 + u128::from(version)));
        }
        store.commit(commit).await.unwrap();
    }
}

/// Each transaction is still at work after its positions were given out.
///
/// A reader that took a later one for the end of the log would lose events here.
#[tokio::test]
async fn every_reader_sees_the_same_sequence_whatever_the_writers_do() {
    for (name, test) in backends().await {
        test.slow_commits_down().await;
        let mut processes = vec![Arc::clone(&test.store), test.open_again().await];
        if name == "postgres" {
            processes.extend([test.open_again().await, test.open_again().await]);
        }
        let of = |number: usize| Arc::clone(&processes[number % processes.len()]);
        let readers: Vec<_> =
            (0..8).map(|number| tokio::spawn(follow(of(number / 2), WAYS[number % 4]))).collect();
        let writers =
            (0..WRITERS).map(|writer| tokio::spawn(write(of(usize::try_from(writer).unwrap()), writer)));
        for writer in writers.collect::<Vec<_>>() {
            soon(writer).await.unwrap();
        }
        let mut sequences = HashSet::new();
        for reader in readers {
            let seen = soon(reader).await.unwrap();
            let positions: Vec<u64> = seen.iter().map(|event| event.position).collect();
            assert_eq!(positions, (1..=u64::try_from(EVENTS).unwrap()).collect::<Vec<_>>(), "{name}");
            sequences.insert(seen.iter().map(|event| event.hash.to_string()).collect::<String>());
        }
        assert_eq!(sequences.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn nobody_is_fed_before_it_is_known_from_where_on() {
    for (name, test) in backends().await {
        let waiters = Waiters::new(1);
        let early = tokio::time::timeout(Duration::from_millis(20), waiters.feed()).await;
        assert!(early.is_err(), "{name}: what is recorded now would be told to nobody");
        let tailer = tokio::spawn(waiters.clone().tail(Arc::clone(&test.store)));
        let mut feed = soon(waiters.feed()).await;
        test.store.commit(append(1, 0, 1)).await.unwrap();
        assert_eq!(soon(feed.recv()).await.unwrap().position, 1, "{name}");
        tailer.abort();
    }
}
