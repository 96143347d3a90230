//! Gateways that restart for what we write: at once or later, briefly or long, once or twice.

use std::time::Duration;

use harness::fake_gateway::{Fault, Options, Version};

use super::case::Case;

/// Restarts that it makes by itself for one registration.
fn own(version: Version) -> usize {
    match version {
        Version::V2026_2_9 => 3,
        Version::V2026_3_13 => 1,
        Version::V2026_6_11 | Version::V2026_9_6 => 0,
    }
}

/// A gateway that restarts for its configuration is created when it is back.
pub(super) fn of_every_kind() -> Vec<Case> {
    let mut cases = vec![];
    for version in Version::ALL {
        let restarting = |down_ms, delay_ms, twice| {
            let (down, delay) = (Duration::from_millis(down_ms), Duration::from_millis(delay_ms));
            let fault = Fault::RestartAfterPatch { down, delay, twice };
            let name = format!("{version:?}: after {delay_ms} ms down for {down_ms} ms, twice: {twice}");
            Case::gateway(name, Options::version(version).with(fault))
        };
        for down_ms in [300, 4_000] {
            cases.push(restarting(down_ms, 0, false).restarted(own(version) + 1));
            // These say at the patch that it comes after 2 s; from the others it comes unannounced, maybe after the end.
            let announced = usize::from(version <= Version::V2026_3_13);
            cases.push(restarting(down_ms, 2_000, false).restarted(own(version) + announced));
        }
        cases.push(restarting(300, 0, true).restarted(own(version) + 1));
        cases.push(restarting(4_000, 0, true).restarted(own(version) + 1).in_background(1));
    }
    cases
}
