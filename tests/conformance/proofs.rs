//! What was changed behind the store's back is found, whatever it is; and a cut end by whoever kept a checkpoint.

use std::cell::Cell;

use futures_util::{StreamExt as _, stream};
use harness::databases::TestStore;
use proptest::{
    prelude::any,
    test_runner::{Config, RngSeed, TestRunner},
};
use shared::{
    checkpoint::{Kept, latest, sign},
    clock::SystemClock,
    envelope::{Hash, StoredEvent},
    store::Head,
    vault::Vault,
    verify::{Proof, Range, Verdict, verify, verify_range},
};

use crate::{append, backends};

const EVENTS: u64 = 8;
/// More than any column here has.
const BITS_MAX: usize = 10_000;

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

/// The columns of the log that hold text, and those that hold a number.
const TEXTS: [&str; 7] =
    ["event_id", "stream_id", "event_type", "organization_id", "data", "metadata", "hash"];
const NUMBERS: [&str; 4] = ["position", "stream_version", "schema_version", "recorded_at"];

/// One bit of one column of one event.
fn flip(event: &StoredEvent, column: usize, bit: usize) -> Option<StoredEvent> {
    let mut changed = event.clone();
    let text = match column {
        0 => &mut changed.event_id,
        1 => &mut changed.stream_id,
        2 => &mut changed.event_type,
        3 => changed.organization_id.as_mut()?,
        4 => &mut changed.data,
        5 => &mut changed.metadata,
        6 => &mut changed.hash,
        _ => {
            let number = match column {
                7 => &mut changed.position,
                8 => &mut changed.stream_version,
                9 => &mut changed.schema_version,
                _ => &mut changed.recorded_at,
            };
            *number ^= 1_i64.checked_shl(u32::try_from(bit).ok()?)?;
            return Some(changed);
        }
    };
    let mut bytes = text.to_vec();
    *bytes.get_mut(bit / 8)? ^= 1 << (bit % 8);
    *text = bytes.into();
    Some(changed)
}

#[tokio::test]
async fn every_flipped_bit_of_every_column_is_found() {
    for (name, test) in backends().await {
        fill(&test).await;
        let log = test.store.stored_page(0, 100).await.unwrap();
        let mut before = Head::default();
        for event in &log {
            let is_found = |changed| Proof::after(before, None).take(&changed).is_err();
            assert!(!is_found(event.clone()), "{name}: {event:?} is as it was written");
            for (column, what) in TEXTS.iter().chain(&NUMBERS).enumerate() {
                let flipped = (0..BITS_MAX).map_while(|bit| flip(event, column, bit));
                let found: Vec<bool> = flipped.map(is_found).collect();
                assert!(found.len() >= 16 && found.iter().all(|found| *found), "{name}: {what}");
            }
            before = Head { position: before.position + 1, hash: event.hash().unwrap() };
        }
        assert_eq!(before, test.store.head().await.unwrap(), "{name}");
    }
}

/// As a statement writes it.
fn text_literal(name: &str, bytes: &[u8]) -> String {
    match name {
        "sqlite" => format!("cast(x'{}' as text)", hex::encode(bytes)),
        _ => format!("convert_from('\\x{}', 'UTF8')", hex::encode(bytes)),
    }
}

fn hash_literal(name: &str, bytes: &[u8]) -> String {
    match name {
        "sqlite" => format!("x'{}'", hex::encode(bytes)),
        _ => format!("decode('{}', 'hex')", hex::encode(bytes)),
    }
}

/// A statement that flips one bit in the database, and what undoes it.
///
/// A text becomes one that is no UTF-8 any more where
/// the database takes that.
fn flip_in_database(name: &str, event: &StoredEvent, column: usize, bit: usize) -> Option<[String; 2]> {
    let changed = flip(event, column, bit)?;
    let literal = |of: &StoredEvent| {
        let text = |bytes: &[u8]| text_literal(name, bytes);
        Some(match column {
            0 => text(&of.event_id),
            1 => text(&of.stream_id),
            2 => text(&of.event_type),
            3 => text(of.organization_id.as_deref()?),
            4 => text(&of.data),
            5 => text(&of.metadata),
            6 => hash_literal(name, &of.hash),
            7 => of.position.to_string(),
            8 => of.stream_version.to_string(),
            9 => of.schema_version.to_string(),
            _ => of.recorded_at.to_string(),
        })
    };
    let column = *TEXTS.iter().chain(&NUMBERS).nth(column)?;
    let set = |value: String, at: i64| format!("update events set {column} = {value} where position = {at}");
    Some([set(literal(&changed)?, event.position), set(literal(event)?, changed.position)])
}

#[test]
fn a_flipped_bit_is_found_in_the_database_wherever_it_is() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let filled = runtime.block_on(async {
        let mut filled = vec![];
        for (name, test) in backends().await {
            fill(&test).await;
            let log = test.store.stored_page(0, 100).await.unwrap();
            filled.push((name, test, log));
        }
        filled
    });
    let columns = TEXTS.len() + NUMBERS.len();
    let config =
        Config { cases: 300, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() };
    let which = (0..usize::try_from(EVENTS).unwrap(), 0..columns, any::<usize>());
    let flipped_there = Cell::new(0);
    let run = TestRunner::new(config).run(&which, |(at, column, bit)| {
        for (name, test, log) in &filled {
            let event = &log[at];
            let bits = (0..BITS_MAX).take_while(|bit| flip(event, column, *bit).is_some()).count();
            let flipped = flip_in_database(name, event, column, bit % bits);
            let Some([change, undo]) = flipped else { panic!("{column} has a bit {bit}") };
            runtime.block_on(async {
                // A unique key, or a text that is none, is refused by the database itself.
                if test.try_execute(&change).await {
                    let due = u64::try_from(at).unwrap() + 1;
                    assert_eq!(broken_at(test).await, Some(due), "{name}: {change}");
                    assert!(test.try_execute(&undo).await, "{name}: {undo}");
                    flipped_there.set(flipped_there.get() + 1);
                }
                assert_eq!(broken_at(test).await, None, "{name}: after {undo}");
            });
        }
        Ok(())
    });
    run.unwrap();
    assert!(flipped_there.get() > 400, "most of them were there to be found");
}

#[tokio::test]
async fn another_order_and_a_changed_head_are_found() {
    for (name, test) in backends().await {
        fill(&test).await;
        let swap = async |one: u64, other: u64| {
            for (from, to) in [(one, 1_000), (other, one), (1_000, other)] {
                test.execute(&format!("update events set position = {to} where position = {from}")).await;
            }
        };
        for one in 1..EVENTS {
            for other in one + 1..=EVENTS {
                swap(one, other).await;
                assert_eq!(broken_at(&test).await, Some(one), "{name}: {one} and {other} changed places");
                swap(one, other).await;
            }
        }
        assert_eq!(broken_at(&test).await, None, "{name}");
        let head = test.store.head().await.unwrap();
        for bit in 0..256_usize {
            let mut hash = head.hash.0;
            hash[bit / 8] ^= 1 << (bit % 8);
            test.execute(&format!("update log_head set hash = {}", hash_literal(name, &hash))).await;
            assert_eq!(broken_at(&test).await, Some(EVENTS), "{name}: bit {bit} of the head's hash");
        }
        test.execute(&format!("update log_head set hash = {}", hash_literal(name, &head.hash.0))).await;
        test.execute("update log_head set position = position + 4").await;
        assert_eq!(broken_at(&test).await, Some(EVENTS + 1), "{name}: the head is above the log");
        test.execute("update log_head set position = position - 12").await;
        assert_eq!(broken_at(&test).await, Some(1), "{name}: the head is below the log");
    }
}

async fn fill_up_to(test: &TestStore, (from, to): (u64, u64)) {
    let commits = (from..to).map(|number| test.store.commit(append(number.into(), 0, number.into())));
    for committed in stream::iter(commits).buffer_unordered(64).collect::<Vec<_>>().await {
        committed.unwrap();
    }
}

#[tokio::test]
async fn a_log_of_several_pages_is_proved_wherever_it_breaks() {
    for (name, test) in backends().await {
        for (from, to) in [(0, 1_000), (1_000, 2_000), (2_000, 3_002)] {
            fill_up_to(&test, (from, to)).await;
            let verdict = verify(test.store.as_ref()).await.unwrap();
            assert!(matches!(verdict, Verdict::Intact { events, .. } if events == to), "{name}: {verdict:?}");
        }
        let range = Range { from: 500, to: Some(2_499), checkpoint: None };
        let verdict = verify_range(test.store.as_ref(), range, |_| {}).await.unwrap();
        assert!(matches!(verdict, Verdict::Intact { events: 2_000, .. }), "{name}: {verdict:?}");
        for position in [3_002_u32, 3_001, 3_000, 2_001, 2_000, 1_001, 1_000, 1] {
            test.falsify_event(position).await;
            assert_eq!(broken_at(&test).await, Some(position.into()), "{name}: it was changed");
            test.execute(&format!("delete from events where position = {position}")).await;
            assert_eq!(broken_at(&test).await, Some(position.into()), "{name}: it is missing");
        }
    }
}

#[tokio::test]
async fn a_log_that_grows_is_proved_at_least_as_far_as_it_was() {
    for (name, test) in backends().await {
        fill_up_to(&test, (0, 990)).await;
        let is_filled = Cell::new(false);
        let filling = async {
            fill_up_to(&test, (990, 2_200)).await;
            is_filled.set(true);
        };
        let proving = async {
            while !is_filled.get() {
                let head = test.store.head().await.unwrap().position;
                let verdict = verify(test.store.as_ref()).await.unwrap();
                let is_far = matches!(verdict, Verdict::Intact { events, .. } if events >= head);
                assert!(is_far, "{name}: {verdict:?} of {head}");
            }
        };
        tokio::join!(filling, proving);
        assert_eq!(broken_at(&test).await, None, "{name}");
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
