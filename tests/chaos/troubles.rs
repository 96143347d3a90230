//! What goes wrong.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::scene::{
    Meanwhile::{GoesOn, MayWait},
    befalls, chosen,
};

const SECOND: Duration = Duration::from_secs(1);

/// Chooses anew in each run, and tells how to choose the same again.
fn dice() -> StdRng {
    let seed = chosen("CHAOS_SEED").unwrap_or_else(rand::random);
    println!("CHAOS_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_killed_each_second() {
    befalls("SIGKILL each second", MayWait, &[], async |scene, lasts| {
        let (mut dice, began) = (dice(), Instant::now());
        while began.elapsed() < lasts {
            let chosen = dice.random_range(0..scene.processes.len());
            scene.processes[chosen].kill();
            scene.processes[chosen].start();
            tokio::time::sleep(SECOND).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_crashes_three_times() {
    befalls("database crashes", MayWait, &[], async |scene, lasts| {
        for _ in 0..3 {
            scene.cluster.crash();
            tokio::time::sleep(lasts / 6).await;
            scene.cluster.come_up().await;
            tokio::time::sleep(lasts / 6).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_cut_at_random() {
    befalls("sessions cut", MayWait, &[], async |scene, lasts| {
        let (mut dice, began, mut cut) = (dice(), Instant::now(), 0);
        while began.elapsed() < lasts {
            cut += scene.database.cut_any(dice.random_range(1..5)).await;
            tokio::time::sleep(Duration::from_millis(dice.random_range(50..500))).await;
        }
        println!("{cut} sessions were cut");
        assert!(cut > 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stands_still_for_longer_than_its_lease() {
    befalls("worker stopped", MayWait, &[], async |scene, lasts| {
        // 15 s in CI and 30 s at least by hand; a lease is 8 s.
        let worker = &scene.processes[2];
        worker.stop();
        tokio::time::sleep(lasts.min(Duration::from_secs(30))).await;
        worker.go_on();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_take_every_connection() {
    befalls("no connection left", MayWait, &[], async |scene, lasts| {
        let taken = scene.database.take_all_connections().await;
        for process in &scene.processes {
            process.until("/readyz", 503).await;
        }
        tokio::time::sleep(lasts).await;
        println!("{} connections were taken", taken.len());
        drop(taken);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_writes_and_does_not_end() {
    befalls("a stranger's transaction", GoesOn, &[], async |scene, lasts| {
        let open = scene.database.begin_writing().await;
        tokio::time::sleep(lasts).await;
        drop(open);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_lost_and_made_again() {
    befalls("queue lost", MayWait, &[], async |scene, lasts| {
        let began = Instant::now();
        while began.elapsed() < lasts {
            scene.database.lose_queue().await;
            let reconciled = scene.fleet.mission_control(&["jobs", "reconcile"]).output().unwrap();
            assert_eq!(reconciled.status.code(), Some(0), "{}", String::from_utf8_lossy(&reconciled.stderr));
            tokio::time::sleep(lasts / 5).await;
        }
    })
    .await;
}

/// Where Debian's package puts the library that tells a process another time.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let inside = folders.filter_map(|folder| Some(folder.ok()?.path().join("faketime/libfaketimeMT.so.1")));
    let found = inside.into_iter().find(|library| library.exists());
    found.unwrap_or_else(|| panic!("a clock that is off needs libfaketime: apt-get install libfaketime"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_api_and_one_worker_are_five_minutes_off() {
    let library = library();
    let off = |by: &'static str| {
        vec![
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME", by),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    };
    let settings = [("api-2", off("-300s")), ("worker-1", off("+300s"))];
    befalls("clocks off", GoesOn, &settings, async |_, lasts| tokio::time::sleep(lasts).await).await;
}
