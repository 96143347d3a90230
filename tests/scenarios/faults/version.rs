//! Where a gateway tells its version, and what is told where it does not.

use harness::fake_gateway::{Fault, Options, Version};
use serde_json::json;

use super::{
    case::{Case, UNREACHABLE},
    run::{quick, run},
};

fn reports(version: &str) -> Options {
    Options { reported_version: Some(version.to_owned()), ..Options::default() }
}

fn no_schema() -> Fault {
    Fault::UnknownMethod("config.schema".to_owned())
}

/// Says "dev", has no schema, and its configuration was last written by this version.
fn touched_by(version: &str) -> Options {
    Options { initial_config: json!({"meta": {"lastTouchedVersion": version}}), ..reports("dev") }
        .with(no_schema())
}

#[tokio::test]
async fn a_version_is_found_where_the_gateway_tells_it_or_the_gateway_is_refused() {
    let old = || Options::version(Version::V2026_2_9);
    let refused = |case: Case, says: &[&'static str]| {
        let says = [&["openclaw --version", "2026.02.9"], says].concat();
        case.fails("gateway_version_unsupported", "version", &says)
    };
    let no_create = Fault::UnknownMethod("agents.create".to_owned());
    let mute = Fault::MuteAt("config.schema".to_owned());
    let dropped = Fault::DropAt { method: "config.schema".to_owned(), times: 1 };
    let cases = vec![
        refused(Case::gateway("too old", reports("2026.1.29")), &["2026.1.29"]),
        refused(Case::gateway("too old", reports("2026.1.29")).in_background(1), &["2026.1.29"]),
        Case::gateway("\"dev\", told by its schema", old()).restarted(1),
        Case::gateway("\"dev\" with metadata, told by its schema", Options { config_meta: true, ..old() })
            .restarted(1),
        Case::gateway("\"dev\", told by its metadata", touched_by("2026.2.9")),
        refused(Case::gateway("\"dev\", too old by its metadata", touched_by("2026.1.3")), &["2026.1.3"]),
        refused(Case::gateway("\"dev\" and no more", reports("dev").with(no_schema())), &["\"dev\""]),
        refused(
            Case::gateway("a version that is none", reports("banana").with(no_schema())),
            &["\"banana\""],
        ),
        refused(Case::gateway("no version", reports("").with(no_schema())), &["\"nothing\""]),
        Case::gateway("a version that is none, told by its schema", reports("banana")),
        refused(Case::fault("no agents.create", no_create), &["agents.create"]),
        Case::gateway("mute at config.schema", old().with(mute)).fails(
            "gateway_timeout",
            "version",
            &UNREACHABLE,
        ),
        Case::gateway("dropped at config.schema", reports("dev").with(dropped)).dials(2..=2),
    ];
    run(quick(), cases).await;
}
