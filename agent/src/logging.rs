//! Log records to standard error. Those of the `log` crate, which aya uses, join those of tracing.

use std::fmt;

use anyhow::Context as _;
use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultFields, Writer},
    },
    registry::LookupSpan,
};

/// How records of the agent are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Logs as the agent does, what `filter` lets through: a level such as `info`, or directives such as `info,kube=debug`.
/// `$RUST_LOG` goes before it.
///
/// # Errors
/// When the filter is none; when there is a logger already.
pub(crate) fn of_agent(format: Format, filter: &str) -> anyhow::Result<()> {
    let variable = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let filter = variable
        .as_deref()
        .filter(|set| !set.is_empty())
        .unwrap_or(filter);
    let parsed = EnvFilter::try_new(filter).with_context(|| {
        format!("{filter:?} does not say what to log; expected error, warn, info, debug or trace")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let started = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// Sends every log record to standard error as a line of the command line's own kind, unless there is a logger already.
pub(crate) fn of_command() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::DEBUG)
        .with_writer(std::io::stderr)
        .event_format(Plain);
    // A second logger would say nothing that the first one does not.
    let _ = subscriber.try_init();
}

/// `lastword: INFO: message`.
struct Plain;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, DefaultFields> for Plain {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "lastword: {}: ", event.metadata().level())?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_command_logs_plain_lines() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(Plain)
            .finish();
        tracing::subscriber::with_default(subscriber, || tracing::info!("ring {} given", 7));
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "lastword: INFO: ring 7 given\n");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let error = of_agent(Format::Text, "loud=very").unwrap_err();
        assert!(
            error.to_string().contains("expected error, warn, info"),
            "{error}"
        );
    }
}
