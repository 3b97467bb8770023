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

use crate::config::{Log, LogFormat, LogLevel};

/// What dependencies say in detail is rarely about lastword.
const QUIETER: &str = "h2=info,hyper=info,hyper_util=info,rustls=info,tower=info";

/// Logs as the agent does. `$RUST_LOG`, with directives such as `info,kube=debug`, goes before the level of the
/// configuration.
///
/// # Errors
/// When `$RUST_LOG` is no filter; when there is a logger already.
pub(crate) fn of_agent(log: &Log) -> anyhow::Result<()> {
    let variable = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(variable.as_deref(), log.level)?)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

fn filter(variable: Option<&str>, level: LogLevel) -> anyhow::Result<EnvFilter> {
    let filter = match (variable, level) {
        (Some(set), _) if !set.is_empty() => set.to_owned(),
        (_, LogLevel::Error) => "error".to_owned(),
        (_, LogLevel::Warn) => "warn".to_owned(),
        (_, LogLevel::Info) => "info".to_owned(),
        (_, LogLevel::Debug) => format!("debug,{QUIETER}"),
        (_, LogLevel::Trace) => format!("trace,{QUIETER}"),
    };
    EnvFilter::try_new(&filter)
        .with_context(|| format!("RUST_LOG={filter:?} does not say what to log; expected error, warn, info, debug or trace"))
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
    fn the_variable_goes_before_the_configuration() {
        let told = |variable, level| filter(variable, level).unwrap().to_string();
        assert_eq!(told(None, LogLevel::Warn), "warn");
        assert_eq!(told(Some(""), LogLevel::Warn), "warn");
        assert_eq!(told(Some("kube=debug"), LogLevel::Warn), "kube=debug");
        assert!(told(None, LogLevel::Debug).contains("hyper=info"));
    }

    #[test]
    fn a_variable_that_is_no_filter_is_refused() {
        let error = filter(Some("loud=very"), LogLevel::Info).unwrap_err();
        assert!(
            error.to_string().contains("expected error, warn, info"),
            "{error}"
        );
    }
}
