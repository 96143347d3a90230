//! Logs of a process: where they go and how much of them. Metrics are in `meter`.

use std::io;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, filter::FilterExt as _, filter::filter_fn, layer::SubscriberExt as _,
    registry::LookupSpan, util::SubscriberInitExt as _,
};

/// Crates of ours; every other one is capped at `info`.
const OURS: [&str; 4] = ["api", "mission_control", "shared", "worker"];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("RUST_LOG is not a log filter; write for example info or info,worker=debug")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Somebody else started it already.
    #[error("logging was started already")]
    Started(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends log lines to stderr from now on.
///
/// # Errors
///
/// [`TelemetryError`] for a filter that cannot be read, or if it was started before.
pub fn start_logs(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let layer = layer(format, filter, io::stderr)?;
    tracing_subscriber::registry().with(layer).try_init().map_err(TelemetryError::Started)
}

/// The layer that writes log lines, for any writer.
///
/// # Errors
///
/// [`TelemetryError::Filter`] for a filter that cannot be read.
pub fn layer<S, W>(
    format: LogFormat,
    filter: &str,
    writer: W,
) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(TelemetryError::Filter)?;
    // A WebSocket library prints whole frames at trace, tokens included: no setting may open that.
    let filter = filter.and(filter_fn(is_allowed));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    Ok(match format {
        LogFormat::Text => lines.with_ansi(false).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

fn is_allowed(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || OURS.contains(&root)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn dependencies_are_capped_at_info_whatever_the_filter_says() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = Lines::default();
            let writer = lines.clone();
            let layer = layer(format, "trace", move || writer.clone()).unwrap();
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                tracing::trace!(target: "tungstenite::protocol", "frame with a token");
                tracing::debug!(target: "sqlx::query", "statement");
                tracing::info!(target: "sqlx::query", "slow");
                tracing::trace!(target: "worker::gateway", "ours");
            });
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert!(!text.contains("token") && !text.contains("statement"), "{text}");
            assert!(text.contains("slow") && text.contains("ours"), "{text}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(matches!(start_logs(LogFormat::Text, "=="), Err(TelemetryError::Filter(_))));
    }
}
