//! What has to wait, all at once: each of these alone would keep a core idle for half a minute. The name lets the runner,
//! which goes by the alphabet, begin with it.

use worker::gateway::limits::Limits;

use super::{
    calls, patience, restarts,
    run::{quick, run},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_its_time_is_told_within_it() {
    tokio::join!(
        run(Limits::default(), patience::with_the_real_limits()),
        run(Limits::default(), restarts::of_every_kind()),
        run(quick(), calls::never_answered()),
    );
}
