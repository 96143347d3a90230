//! Commits: gapless, chained, refused one by one, grouped.

use std::sync::Arc;

use shared::{
    commit::KeyClaim,
    envelope::{Hash, StreamId},
    ids::OperationId,
    store::CommitError,
    verify::{Verdict, verify},
};

use crate::{append, at, backends, gateway, organization};

#[tokio::test]
async fn positions_and_versions_have_no_gap_and_the_chain_holds() {
    for (name, test) in backends().await {
        let store = &test.store;
        for (number, (stream, expected)) in [(1, 0), (2, 0), (1, 1), (1, 2), (2, 1)].into_iter().enumerate() {
            let number = u64::try_from(number).unwrap() + 1;
            let receipt = store.commit(append(stream, expected, number.into())).await.unwrap();
            assert_eq!((receipt.position, receipt.version), (number, expected + 1), "{name}");
        }
        let log = store.log_page(0, 100).await.unwrap();
        let mut hash = Hash::default();
        for (event, position) in log.iter().zip(1..) {
            assert_eq!(event.position, position, "{name}");
            assert_eq!(event.hash, event.hash_after(hash), "{name}");
            hash = event.hash;
        }
        assert_eq!(
            verify(store.as_ref()).await.unwrap(),
            Verdict::Intact { events: 5, head: hash },
            "{name}"
        );
        let stream = store.load(&StreamId::from(gateway(1))).await.unwrap();
        assert_eq!(stream.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 3], "{name}");
    }
}

#[tokio::test]
async fn the_hashes_are_the_same_on_every_database() {
    let mut heads = vec![];
    for (_, test) in backends().await {
        for number in 1..=3 {
            test.store.commit(append(number, 0, number)).await.unwrap();
        }
        heads.push(test.store.head().await.unwrap().hash.to_string());
    }
    heads.dedup();
    insta::assert_snapshot!(heads.join("\n"));
}

#[tokio::test]
async fn a_decision_on_an_old_version_is_refused_and_leaves_nothing() {
    for (name, test) in backends().await {
        let store = &test.store;
        store.commit(append(1, 0, 1)).await.unwrap();
        let refused = store.commit(append(1, 0, 2)).await.unwrap_err();
        assert!(matches!(refused, CommitError::Conflict { expected: 0, actual: 1, .. }), "{name}: {refused}");
        assert_eq!(store.head().await.unwrap().position, 1, "{name}");
    }
}

#[tokio::test]
async fn a_refused_commit_of_a_batch_leaves_no_gap_and_harms_no_other() {
    for (name, test) in backends().await {
        // All at once, so that they share transactions; every stream gets two commits that expect version 0.
        let commits = (0..64_u128).map(|number| {
            let store = Arc::clone(&test.store);
            tokio::spawn(async move { store.commit(append(number / 2, 0, number + 1)).await })
        });
        let mut accepted = 0;
        for commit in commits.collect::<Vec<_>>() {
            match commit.await.unwrap() {
                Ok(_) => accepted += 1,
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
        assert_eq!(accepted, 32, "{name}");
        assert!(
            matches!(verify(test.store.as_ref()).await.unwrap(), Verdict::Intact { events: 32, .. }),
            "{name}"
        );
    }
}

#[tokio::test]
async fn sixty_four_commits_in_flight_take_at_most_sixteen_transactions() {
    for (name, test) in backends().await {
        let commits = (0..64_u128).map(|number| {
            let store = Arc::clone(&test.store);
            tokio::spawn(async move { store.commit(append(number, 0, number + 1)).await })
        });
        for commit in commits.collect::<Vec<_>>() {
            commit.await.unwrap().unwrap();
        }
        let stats = test.store.stats();
        assert_eq!(stats.commits, 64, "{name}");
        assert!(stats.transactions <= 16, "{name}: {} transactions", stats.transactions);
    }
}

#[tokio::test]
async fn a_key_is_claimed_once_and_again_after_a_day() {
    for (name, test) in backends().await {
        let store = &test.store;
        let claim = |number: u128, second: i64| {
            let mut commit = append(number, 0, number);
            commit.key = Some(KeyClaim {
                organization: organization(1),
                route: "POST /api/v1/gateways".to_owned(),
                key: "k".to_owned(),
                fingerprint: vec![u8::try_from(number).unwrap()],
                operation: OperationId::from(uuid::Uuid::from_u128(number)),
                created_at: at(second),
            });
            commit
        };
        store.commit(claim(1, 0)).await.unwrap();
        let refused = store.commit(claim(2, 86_399)).await.unwrap_err();
        let CommitError::KeyTaken { operation, fingerprint } = refused else { panic!("{name}: {refused}") };
        assert_eq!((operation.uuid().as_u128(), fingerprint), (1, vec![1]), "{name}");
        assert_eq!(store.head().await.unwrap().position, 1, "{name}: the refused commit wrote its event");
        store.commit(claim(3, 86_400)).await.unwrap();
    }
}

#[tokio::test]
async fn only_one_of_many_founds_the_installation() {
    for (name, test) in backends().await {
        let commits = (1..=8_u128).map(|number| {
            let store = Arc::clone(&test.store);
            let mut commit = append(number, 0, number);
            commit.only_on_empty_log = true;
            tokio::spawn(async move { store.commit(commit).await })
        });
        let mut founded = 0;
        for commit in commits.collect::<Vec<_>>() {
            match commit.await.unwrap() {
                Ok(_) => founded += 1,
                Err(CommitError::NotEmpty) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
        assert_eq!(founded, 1, "{name}");
    }
}

#[tokio::test]
async fn the_proof_finds_the_first_bad_position() {
    for (name, test) in backends().await {
        for number in 1..=3 {
            test.store.commit(append(number, 0, number)).await.unwrap();
        }
        test.falsify_event(2).await;
        let verdict = verify(test.store.as_ref()).await.unwrap();
        assert!(matches!(verdict, Verdict::Broken { position: 2, .. }), "{name}: {verdict:?}");
        test.lose_event(2).await;
        let verdict = verify(test.store.as_ref()).await.unwrap();
        assert!(matches!(verdict, Verdict::Broken { position: 2, .. }), "{name}: {verdict:?}");
    }
}
