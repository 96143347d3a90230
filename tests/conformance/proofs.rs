//! What was changed behind the store's back is found, whatever it is; and a cut end by whoever kept a checkpoint.

use harness::databases::TestStore;
use shared::{
    checkpoint::{Kept, latest, sign},
    clock::SystemClock,
    envelope::Hash,
    store::Head,
    vault::Vault,
    verify::{Proof, Range, Verdict, verify, verify_range},
};

use crate::{append, backends};

const EVENTS: u64 = 8;

async fn fill(test: &TestStore) {
    for number in 1..=EVENTS {
        let (stream, expected) = (u128::from(number % 2), (number - 1) / 2);
        test.store.commit(append(stream, expected, number.into())).await.unwrap();
    }
}

/// The first bad position; `None` for an intact log.
async fn broken_at(test: &TestStore) -> Option<u64> {
    match verify(test.store.as_ref()).await.unwrap() {
        Verdict::Broken { position, .. } => Some(position),
        Verdict::Intact { .. } => None,
    }
}

#[tokio::test]
async fn every_flipped_bit_of_data_and_metadata_is_found() {
    for (name, test) in backends().await {
        fill(&test).await;
        let log = test.store.log_page(0, 100).await.unwrap();
        for (at, event) in log.iter().enumerate() {
            let before = at.checked_sub(1).map_or(Head::default(), |before| Head {
                position: log[before].position,
                hash: log[before].hash,
            });
            let is_found = |changed| Proof::after(before, None).take(&changed).is_err();
            assert!(!is_found(event.clone()), "{name}: {event:?} is as it was written");
            let flips = |text: &str| {
                let flip = |(byte, bit): (usize, u8)| {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[byte] ^= 1 << bit;
                    String::from_utf8(bytes).unwrap()
                };
                let bits = (0..text.len()).flat_map(|byte| (0..7).map(move |bit| (byte, bit)));
                bits.map(flip).collect::<Vec<String>>()
            };
            for data in flips(&event.data) {
                let mut changed = event.clone();
                changed.data = data;
                assert!(is_found(changed), "{name}");
            }
            for metadata in flips(&event.metadata) {
                let mut changed = event.clone();
                changed.metadata = metadata;
                assert!(is_found(changed), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_changed_row_is_found_in_the_database() {
    for (name, test) in backends().await {
        fill(&test).await;
        assert_eq!(broken_at(&test).await, None, "{name}");
        for (change, undo) in [
            ("data = '{ }'", "data = '{}'"),
            ("metadata = metadata || ' '", "metadata = rtrim(metadata)"),
            ("event_type = 'GatewayCreates'", "event_type = 'GatewayCreated'"),
            ("schema_version = 2", "schema_version = 1"),
            ("stream_version = 99", "stream_version = 2"),
            ("recorded_at = recorded_at + 1", "recorded_at = recorded_at - 1"),
        ] {
            let at_four = |set: &str| format!("update events set {set} where position = 4");
            test.execute(&at_four(change)).await;
            assert_eq!(broken_at(&test).await, Some(4), "{name}: {change}");
            test.execute(&at_four(undo)).await;
            assert_eq!(broken_at(&test).await, None, "{name}: {undo}");
        }
        for (from, to) in [(3, 1_000), (5, 3), (1_000, 5)] {
            test.execute(&format!("update events set position = {to} where position = {from}")).await;
        }
        assert_eq!(broken_at(&test).await, Some(3), "{name}: two events changed places");
    }
}

#[tokio::test]
async fn a_part_is_proved_from_the_event_before_it() {
    for (name, test) in backends().await {
        fill(&test).await;
        let part = Range { from: 3, to: Some(5), checkpoint: None };
        let verdict = verify_range(test.store.as_ref(), part, |_| {}).await.unwrap();
        assert!(matches!(verdict, Verdict::Intact { events: 3, .. }), "{name}: {verdict:?}");
        test.falsify_event(7).await;
        assert!(matches!(
            verify_range(test.store.as_ref(), part, |_| {}).await.unwrap(),
            Verdict::Intact { .. }
        ));
        let rest = Range { from: 6, ..Range::default() };
        let verdict = verify_range(test.store.as_ref(), rest, |_| {}).await.unwrap();
        assert!(matches!(verdict, Verdict::Broken { position: 7, .. }), "{name}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_checkpoint_finds_a_cut_end_although_the_head_was_changed_to_match() {
    for (name, test) in backends().await {
        let (store, vault) = (test.store.as_ref(), Vault::new(&[7; 32]));
        assert_eq!(sign(store, &SystemClock, &vault).await.unwrap(), None, "{name}: nothing to sign");
        fill(&test).await;
        let signed = sign(store, &SystemClock, &vault).await.unwrap().unwrap();
        assert_eq!(latest(store).await.unwrap(), Some(signed.clone()), "{name}");
        let kept = Kept::from(&signed);
        let end = kept.proves().unwrap();
        assert_eq!(end, store.head().await.unwrap(), "{name}");
        for forged in [
            Kept { position: 7, ..kept.clone() },
            Kept { hash: Hash::default().to_string(), ..kept.clone() },
            Kept { signed_at: "2026-03-05T10:30:00.000000Z".to_owned(), ..kept.clone() },
        ] {
            assert_eq!(forged.proves(), None, "{name}: {forged:?}");
        }
        let last = store.log_page(5, 1).await.unwrap().remove(0);
        test.execute("delete from events where position > 6").await;
        let bytes = if name == "sqlite" {
            format!("x'{}'", last.hash)
        } else {
            format!("decode('{}', 'hex')", last.hash)
        };
        test.execute(&format!("update log_head set position = 6, hash = {bytes}")).await;
        assert_eq!(broken_at(&test).await, None, "{name}: by itself the log looks whole");
        let range = Range { checkpoint: Some(end), ..Range::default() };
        let verdict = verify_range(store, range, |_| {}).await.unwrap();
        assert!(matches!(verdict, Verdict::Broken { position: 7, .. }), "{name}: {verdict:?}");
    }
}
