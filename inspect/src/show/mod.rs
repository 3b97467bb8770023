//! Events as a person reads them, and as programs do.

use std::io::{self, Read, Seek, Write};

use capture_format::{Damage, NumberedEvent, Reader};

mod args;
mod json;
mod names;
mod text;

/// How events are shown.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Text: the time of day (UTC) instead of the time since the run's start.
    pub time_of_day: bool,
    /// Text: bytes of a payload that are shown.
    pub payload: usize,
    /// Only the run with this number.
    pub run: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            json: false,
            time_of_day: false,
            payload: 200,
            run: None,
        }
    }
}

/// Writes all events of a capture, one a line, in their order, and what is missing where it is missing.
///
/// # Errors
/// When `out` fails. Damage to the capture is shown, not returned.
pub fn show<R: Read + Seek>(
    reader: &mut Reader<R>,
    out: &mut impl Write,
    options: Options,
) -> io::Result<()> {
    let (host, runs) = (reader.header().host.clone(), reader.runs().to_vec());
    for (index, run) in runs
        .iter()
        .enumerate()
        .filter(|(_, run)| options.run.is_none_or(|number| run.number == number))
    {
        let events = reader.events(index);
        if options.json {
            json::Printer::new(&host, run).all(events, out)?;
        } else {
            text::Printer::new(&host, run, options).all(events, out)?;
        }
    }
    Ok(())
}

/// An event, or what is missing in its place.
type Item = Result<NumberedEvent, Damage>;
