//! 200 registrations of 200 gateways of which 20 are mute: the other 180 take no longer than without them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{
    fake_gateway::{FakeGateway, Options},
    site::Site,
    strangers::{Manner, Stranger},
    world::body,
};
use serde_json::{Value, json};

use crate::{alone, percentile};

const WELL: usize = 180;
const MUTE: usize = 20;
/// With and without, in turns: what else the machine does meets both, and the better one of each counts.
const ROUNDS: usize = 2;
/// What 20 more registrations cost two busy cores; one mute gateway that held somebody up would cost 2 s.
const SLACK: Duration = Duration::from_secs(1);

/// How long those that are well took: the median, and the last of them.
#[derive(Debug, Clone, Copy)]
struct Round {
    median: Duration,
    last: Duration,
}

async fn round(site: &Site, well: &[FakeGateway], mute: &[Stranger]) -> Round {
    let urls = mute.iter().map(|gateway| format!("ws://{}", gateway.address()));
    let silent = urls.map(
        |url| json!({"name": "mute", "url": url, "workspace_root": "/srv/ws", "token": "gateway-token"}),
    );
    let silent = silent.map(|body| async move {
        site.post(&body, &[]).await.assert_problem(502, "gateway_timeout", Some("handshake"));
    });
    let well = well.iter().map(|gateway| {
        let body: Value = body(gateway);
        async move {
            let asked = Instant::now();
            let created = site.post(&body, &[]).await;
            assert_eq!(created.status, 200, "{}: {}", site.name, created.text);
            asked.elapsed()
        }
    });
    // The mute ones first: whoever waits for them in line waits for all.
    let (_, mut times) = tokio::join!(join_all(silent), join_all(well));
    Round { median: percentile(&mut times, 50), last: percentile(&mut times, 100) }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_mute_gateways_cost_the_others_nothing() {
    let _turn = alone().await;
    shared::config::raise_file_limit();
    let options = || Options { forgets: true, ..Options::default() };
    let well = join_all((0..WELL).map(|_| FakeGateway::start(options()))).await;
    let mute = join_all((0..MUTE).map(|_| Stranger::start(Manner::MuteAfterUpgrade))).await;
    for site in Site::both(&[]).await {
        let (mut without, mut with) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            without.push(round(&site, &well, &[]).await);
            with.push(round(&site, &well, &mute).await);
        }
        println!("{}: {WELL} registrations alone {without:?}, beside {MUTE} mute ones {with:?}", site.name);
        let best = |rounds: &[Round], of: fn(&Round) -> Duration| rounds.iter().map(of).min().unwrap();
        let measures: [fn(&Round) -> Duration; 2] = [|round| round.median, |round| round.last];
        for of in measures {
            let (alone, beside) = (best(&without, of), best(&with, of));
            let bound = alone.mul_f64(1.5) + SLACK;
            assert!(beside < bound, "{}: {beside:?} beside mute ones, {alone:?} alone", site.name);
        }
    }
}
