//! Log records to standard error. Records of the `log` crate, which aya uses, are passed on to tracing.
//!
//! Nothing waits for the reader of the log. What happens often on a node does not get a line each time.

mod lines;
mod sparing;

use std::{
    fmt,
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultFields, Writer},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat, LogLevel};
use lines::Lines;
use sparing::Sparing;

/// Details from dependencies are rarely about lastword.
const QUIETER: &str = "h2=info,hyper=info,hyper_util=info,rustls=info,tower=info";

/// How long the program waits at its end until its last lines are read.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// How long a command waits until its own line is written, so that its lines stay in order with those of other writers.
const PATIENCE: Duration = Duration::from_millis(100);

static LINES: OnceLock<Lines> = OnceLock::new();
static SPARING: LazyLock<Sparing> = LazyLock::new(Sparing::default);

/// Sets up the agent's log. `$RUST_LOG`, with directives such as `info,kube=debug`, overrides the level in the
/// configuration. Panics are logged, too.
///
/// # Errors
/// If `$RUST_LOG` is not a filter, if a logger is already set, or if the writing thread cannot be started.
pub(crate) fn of_agent(log: &Log) -> anyhow::Result<()> {
    let variable = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let filter = filter(variable.as_deref(), log.level)?;
    let text = tracing_subscriber::fmt::layer()
        .with_writer(lines().context("cannot start logging")?)
        .with_ansi(false);
    let layer = match log.format {
        LogFormat::Text => text.boxed(),
        LogFormat::Json => text.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .with(&*SPARING)
        .try_init()
        .context("cannot start logging")?;
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}

/// The lines of this process. The first call starts the thread that writes them.
fn lines() -> std::io::Result<Lines> {
    if let Some(lines) = LINES.get() {
        return Ok(lines.clone());
    }
    let lines = Lines::to_stderr()?;
    Ok(LINES.get_or_init(|| lines).clone())
}

/// How many log lines nobody will read, because there was no room or no reader.
pub(crate) fn lost() -> u64 {
    LINES.get().map_or(0, Lines::lost)
}

/// Logs how many repeated lines were left out. Call this regularly.
pub(crate) fn summarise() {
    for sparing::LeftOut {
        lines,
        like,
        target,
        level,
    } in SPARING.left_out()
    {
        tracing::warn!(lines, of = target, %level, like, "lines were left out, as many were alike");
    }
}

/// Waits briefly until everything logged is written.
pub(crate) fn finish() {
    summarise();
    if let Some(lines) = LINES.get() {
        lines.flush(LAST_PATIENCE);
    }
}

/// Writes a line of a command, not of a log: `lastword: MESSAGE`. A reader that is gone or stuck does not stop the
/// program.
pub(crate) fn say(message: fmt::Arguments<'_>) {
    let Ok(lines) = lines() else {
        return;
    };
    lines.push(format!("lastword: {message}\n").as_bytes());
    lines.flush(PATIENCE);
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

/// Writes every log record to standard error as a line in the command line's own format, unless a logger is already
/// set.
pub(crate) fn of_command() {
    let Ok(lines) = lines() else {
        return;
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::DEBUG)
        .with_writer(lines)
        .event_format(Plain);
    // If this fails, a logger is already set, and it reports the same.
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
        fs, io,
        path::Path,
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

    /// Every `.rs` file below a folder.
    fn sources(folder: &Path, each: &mut dyn FnMut(&Path, &str)) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, each);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                each(&path, &fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn no_error_is_logged_without_its_causes() {
        let bare = concat!("%", "error,");
        let mut cut = Vec::new();
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in [top.join("src"), top.join("../crates")] {
            sources(&folder, &mut |path, text| {
                let lines = (1..).zip(text.lines());
                let bad = lines.filter(|(_, line)| line.contains(bare));
                cut.extend(bad.map(|(number, _)| format!("{}:{number}", path.display())));
            });
        }
        assert!(
            cut.is_empty(),
            "write `error = %capture_format::chain(&error)`: {cut:#?}"
        );
    }
}
