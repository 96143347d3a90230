//! The rotation of the master key, ended at every point and run again.

use std::{future::Future, pin::pin, task::Poll};

use shared::{
    clock::{Clock, SystemClock},
    commit::{Commit, SecretChange},
    envelope::{Actor, StreamId},
    install::{checkpoint_seed, device_seed},
    register::Desk,
    rotate::{RotateError, Rotated, rotate},
    secret::Secret,
    store::{ProcessKind, Report, Store},
    vault::{MasterKey, Vault},
};

use crate::{append, backends, registry::worker};

const SECRETS: usize = 3;

fn key(number: u8) -> MasterKey {
    MasterKey::new(&[number; 32])
}

/// A process with these two keys; the first one seals.
async fn vault(store: &dyn Store, first: u8, second: u8) -> Vault {
    let vault = Vault::new(&[first; 32]);
    vault.learn(key(second));
    vault.check(store, "master.key".as_ref()).await.unwrap();
    vault
}

fn owner(number: usize) -> String {
    format!("gateway-{number}/token")
}

/// An installation with secrets that the first key sealed, and what its seeds are.
async fn installed(store: &dyn Store) -> ([u8; 32], [u8; 32]) {
    let vault = Vault::new(&[1; 32]);
    vault.check(store, "master.key".as_ref()).await.unwrap();
    let mut commit = append(1, 0, 1);
    for number in 0..SECRETS {
        let sealed = vault.seal(&owner(number), &Secret::new(format!("secret {number}"))).unwrap();
        commit.secrets.push(SecretChange::Put { owner: owner(number), sealed });
    }
    store.commit(commit).await.unwrap();
    (device_seed(store, &vault).await.unwrap(), checkpoint_seed(store, &vault).await.unwrap())
}

async fn run(store: &dyn Store, vault: &Vault, to: u8) -> Result<Rotated, RotateError> {
    let desk = Desk { store, clock: &SystemClock, vault };
    rotate(desk, &Actor::command_line(), key(to).check()).await
}

/// Lets it go on when it is woken, that often, then ends it where it is, as a kill does.
async fn so_far<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_rotation_that_is_ended_anywhere_loses_nothing_and_goes_on_when_it_is_run_again() {
    for (name, test) in backends().await {
        let store = test.store.as_ref();
        let seeds = installed(store).await;
        let (mut first, mut second, mut ended) = (1, 2, 0);
        // Each round is ended a little later than the one before, until one was not ended in time.
        for polls in 1.. {
            let vault_of_run = vault(store, first, second).await;
            let done = so_far(run(store, &vault_of_run, second), polls).await;
            let between = vault(store, first, second).await;
            for number in 0..SECRETS {
                let sealed = store.secret(&owner(number)).await.unwrap().unwrap();
                let opened = between.open_sealed(&owner(number), &sealed).unwrap();
                assert_eq!(opened.expose(), format!("secret {number}"), "{name} after {polls}");
            }
            let Some(done) = done else {
                ended += 1;
                run(store, &between, second).await.unwrap();
                continue_with(store, second, seeds).await;
                (first, second) = (second, first);
                continue;
            };
            assert_eq!(done.unwrap().secrets, u64::try_from(SECRETS).unwrap(), "{name}");
            break;
        }
        // 13 to 15 times; fewer where what it waits for is there before it looks.
        assert!(ended > 2, "{name}: ended only {ended} times");
    }
}

/// Only the new key is left, and does.
async fn continue_with(store: &dyn Store, key_number: u8, seeds: ([u8; 32], [u8; 32])) {
    let alone = Vault::new(&[key_number; 32]);
    alone.check(store, "master.key".as_ref()).await.unwrap();
    assert_eq!(store.seals().await.unwrap(), [(key(key_number).id().to_owned(), 3)]);
    for number in 0..SECRETS {
        let sealed = store.secret(&owner(number)).await.unwrap().unwrap();
        assert_eq!(alone.open_sealed(&owner(number), &sealed).unwrap().expose(), format!("secret {number}"));
    }
    assert_eq!(device_seed(store, &alone).await.unwrap(), seeds.0);
    assert_eq!(checkpoint_seed(store, &alone).await.unwrap(), seeds.1);
}

#[tokio::test]
async fn a_rotation_is_an_event_with_its_actor_and_old_fingerprints_are_known_after_it() {
    for (name, test) in backends().await {
        let store = test.store.as_ref();
        installed(store).await;
        let fingerprint = Vault::new(&[1; 32]).fingerprint(b"body");
        let both = vault(store, 1, 2).await;
        let rotated = run(store, &both, 2).await.unwrap();
        assert_eq!((rotated.from.as_str(), rotated.to.as_str()), (key(1).id(), key(2).id()), "{name}");
        let events = store.load(&StreamId::key()).await.unwrap();
        let names: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(names, ["MasterKeyRotationBegun", "MasterKeyRotated"], "{name}");
        assert!(events.iter().all(|event| event.parse_metadata().unwrap().actor == Actor::command_line()));
        let alone = Vault::new(&[2; 32]);
        alone.check(store, "master.key".as_ref()).await.unwrap();
        assert!(alone.is_fingerprint(b"body", &fingerprint), "{name}");
        assert!(!alone.is_fingerprint(b"another", &fingerprint), "{name}");
        let old = Vault::new(&[1; 32]).check(store, "master.key".as_ref()).await.unwrap_err();
        assert!(old.to_string().contains(key(2).id()), "{name}: {old}");
        // The old key opened the fingerprints before; the next rotation takes them along.
        let next = vault(store, 2, 3).await;
        run(store, &next, 3).await.unwrap();
        let alone = Vault::new(&[3; 32]);
        alone.check(store, "master.key".as_ref()).await.unwrap();
        assert!(alone.is_fingerprint(b"body", &fingerprint), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_changed_while_a_process_lacks_the_next_key() {
    for (name, test) in backends().await {
        let store = test.store.as_ref();
        installed(store).await;
        let report = Report { key_ids: key(1).id().to_owned(), kind: ProcessKind::Api, ..worker("lacks") };
        let both = vault(store, 1, 2).await;
        store.report(&report, SystemClock.now()).await.unwrap();
        let reporting = async {
            // It lives on.
            loop {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                store.report(&report, SystemClock.now()).await.unwrap();
            }
        };
        let refused = tokio::select! {
            refused = run(store, &both, 2) => refused.unwrap_err(),
            () = reporting => unreachable!("it reports for ever"),
        };
        assert!(refused.to_string().contains("host-a (pid 4711)"), "{name}: {refused}");
        assert_eq!(store.load(&StreamId::key()).await.unwrap(), [], "{name}");
        assert_eq!(store.seals().await.unwrap(), [(key(1).id().to_owned(), 3)], "{name}");
    }
}

#[tokio::test]
async fn a_secret_that_no_key_opens_is_named_and_keeps_both_keys_in_use() {
    for (name, test) in backends().await {
        let store = test.store.as_ref();
        installed(store).await;
        let mut commit = append(1, 1, 2);
        let sealed = Vault::new(&[9; 32]).seal("gateway-x/token", &Secret::from("hunter22")).unwrap();
        commit.secrets.push(SecretChange::Put { owner: "gateway-x/token".to_owned(), sealed });
        store.commit(commit).await.unwrap();
        let both = vault(store, 1, 2).await;
        let refused = run(store, &both, 2).await.unwrap_err();
        assert!(refused.to_string().contains("gateway-x/token"), "{name}: {refused}");
        let another = vault(store, 1, 2).await;
        another.learn(key(3));
        assert!(matches!(run(store, &another, 3).await, Err(RotateError::Another(_))), "{name}");
        let alone = Vault::new(&[1; 32]).check(store, "master.key".as_ref()).await.unwrap_err();
        assert!(alone.to_string().contains("master.key.next"), "{name}: {alone}");
        let mut gone = Commit::new(StreamId::from(crate::gateway(1)), None, 2, SystemClock.now());
        gone.secrets.push(SecretChange::Erase { owner: "gateway-x/token".to_owned() });
        store.commit(gone).await.unwrap();
        run(store, &both, 2).await.unwrap();
        assert_eq!(store.seals().await.unwrap(), [(key(2).id().to_owned(), 3)], "{name}");
    }
}
