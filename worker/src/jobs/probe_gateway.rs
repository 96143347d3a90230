//! Looks whether a gateway can be reached because a person asks, and notes it.

use shared::{
    chain::chain,
    commit::Then,
    domain::gateway::{
        Gateway, Known, Phase,
        health::{Sight, Tally},
        patience::Patience,
    },
    job::Lease,
};

use super::{outcome::end, provision_gateway::order, read};
use crate::{
    config::Deps,
    gateway::{
        provision::{Order, target_for},
        status::status,
    },
    observe::{self, Before},
};

/// One delivery. Nothing is repeated: the next look comes by itself.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    match read::gateway(deps, lease).await {
        Ok(Gateway::Known(known)) if known.is_registered() => look(deps, lease, &known).await,
        Ok(_) => {}
        Err(error) => tracing::warn!(error = chain(&error), "the gateway's stream could not be read"),
    }
    end(deps, lease, Then::Delete).await;
}

async fn look(deps: &Deps, lease: &Lease, known: &Known) {
    let order = match order(deps, lease, known).await {
        Ok(order) => order,
        Err(error) => {
            tracing::error!(error, "the gateway's secrets could not be opened");
            return;
        }
    };
    // Somebody waits for it, whatever the gateway was registered with.
    let order = Order { patience: Patience::Waiting, ..order };
    let sought = (&order.minimum_version, order.agent_id);
    let found = status(&observe::quick(&deps.dialer), target_for(&order), sought).await;
    let sight = found.as_ref().map_or_else(|failure| Sight::of(failure.cause), |_| Sight::Reached);
    let gateway = known.request.gateway;
    let ran = match &known.phase {
        Phase::Active(verified, _) | Phase::Deleting { verified, .. } => {
            Some(verified.runtime_version.as_str())
        }
        Phase::Requested
        | Phase::AwaitingPairing { .. }
        | Phase::Verified(_)
        | Phase::Provisioned(..)
        | Phase::Failed { .. }
        | Phase::Deleted => None,
    };
    let before = Before { gateway, health: known.health(), ran };
    // A look alone tells that it works, or that it refuses our credential; not that it is away.
    let recorded = observe::record(deps, before, (&found, Tally::default().after(sight))).await;
    let kept = deps.store.observation(gateway).await.ok().flatten();
    let url = known.request.url.to_string();
    tracing::info!(?sight, recorded = recorded.is_ok(), "gateway probed");
    let Some(document) = observe::noted(deps, &url, &found, kept.as_deref()) else { return };
    if let Err(error) = deps.store.observe(gateway, document).await {
        tracing::warn!(error = chain(&error), "an observation could not be kept");
    }
}
