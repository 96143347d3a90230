//! What stands at the URL of a row while it is registered.

use std::time::Duration;

use harness::{
    fake_gateway::{FakeGateway, Options},
    strangers::{Names, Stranger},
    world::World,
};

use super::case::{Case, There};

/// What stands there.
pub(super) enum Standing {
    Gateway(FakeGateway),
    Stranger(Stranger),
    Named(String),
}

impl Standing {
    /// The gateway, if it is one.
    pub(super) fn gateway(&self) -> Option<&FakeGateway> {
        if let Self::Gateway(gateway) = self { Some(gateway) } else { None }
    }
}

/// Lets it stand, and tells its URL.
pub(super) async fn stand(
    world: &World,
    names: &Names,
    (number, case): (usize, &Case),
) -> (Standing, String) {
    let (standing, url) = match &case.there {
        There::Gateway(options) => {
            let gateway = FakeGateway::start(Options::clone(options)).await;
            let url = gateway.url();
            (Standing::Gateway(gateway), url)
        }
        There::Closed => {
            let gateway = FakeGateway::start(Options::default()).await;
            gateway.refuse_dials(true);
            until_closed(gateway.port()).await;
            let url = gateway.url();
            (Standing::Gateway(gateway), url)
        }
        There::Stranger(manner) => {
            let stranger = Stranger::start(manner.clone()).await;
            let url = format!("ws://{}", stranger.address());
            (Standing::Stranger(stranger), url)
        }
        There::Named(is) => {
            let host = format!("gateway-{number}.{}.test", world.address.port());
            names.add(&host, is.clone());
            let url = format!("ws://{host}:18789");
            (Standing::Named(host), url)
        }
    };
    match (case.scheme, url.split_once("://")) {
        (Some(scheme), Some((_, rest))) => (standing, format!("{scheme}://{rest}")),
        _ => (standing, url),
    }
}

/// Nobody listens there any more. Found out without a dial, which would be counted if it came too early.
async fn until_closed(port: u16) {
    for _ in 0..500 {
        if tokio::net::TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("port {port} is still open after 5 s");
}
