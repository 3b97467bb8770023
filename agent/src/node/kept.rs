//! Kept runs. They are redacted and encoded when they end, so that they need little memory and contain no
//! credentials.

use std::{
    io::{Cursor, Read, Seek, Write},
    path::Path,
};

use bytes::Bytes;
use capture_format::{
    Damage, Event, EventBlock, Header, Losses, Lost, OpenError, Reader, Run, RunIndex, WriteError,
    Writer,
};
use redact::{Manifest, Payload, Redactor};
use verdict::explain::{Explanation, explain};

/// A run, encoded in memory as a capture of its own.
#[derive(Clone)]
pub(super) struct KeptRun {
    pub(super) run: Run,
    /// A whole capture that holds this run alone.
    bytes: Bytes,
}

/// What of a container's payloads may be kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    pub(super) payload: Payload,
    /// Paths at which secrets are mounted.
    pub(super) secret_mounts: Vec<String>,
}

/// A run whose events are redacted and encoded, while others are still asked how it ended.
pub(super) struct Masked {
    run: KeptRun,
    manifest: Manifest,
}

impl Masked {
    /// Completes the run: `add_end` adds to its metadata how it ended. Its events stay encoded.
    ///
    /// # Errors
    /// When its metadata is larger than the format allows.
    pub(super) fn finish(
        mut self,
        mut header: Header,
        redactor: &Redactor,
        add_end: impl FnOnce(&mut Run),
    ) -> anyhow::Result<KeptRun> {
        let mut run = self.run.run.clone();
        add_end(&mut run);
        redactor.header(&mut header, &mut self.manifest);
        redactor.run_metadata(&mut run, &mut self.manifest);
        header.redaction = self.manifest.redaction();
        Ok(KeptRun::copy(&header, run, &mut self.run.reader()?, 0)?)
    }
}

/// Why a kept run cannot be read back.
pub(super) type Unreadable = OpenError;

impl KeptRun {
    /// Redacts and encodes the events of a run.
    ///
    /// # Errors
    /// When the run's metadata or an event is larger than the format allows.
    pub(super) fn mask(
        run: Run,
        mut events: Vec<Event>,
        redactor: &Redactor,
        policy: &Policy,
    ) -> Result<Masked, WriteError> {
        let mut manifest = Manifest::default();
        redactor.run(
            &mut events,
            policy.payload,
            &policy.secret_mounts,
            &mut manifest,
        );
        let run = Self::of(&Header::default(), run, &events)?;
        Ok(Masked { run, manifest })
    }

    /// Encodes a run.
    fn of(header: &Header, run: Run, events: &[Event]) -> Result<Self, WriteError> {
        let mut writer = Writer::new(Vec::new(), header)?;
        writer.begin_run(&run)?;
        for event in events {
            writer.event(event)?;
        }
        let (bytes, _) = writer.finish()?;
        Ok(Self {
            run,
            bytes: bytes.into(),
        })
    }

    /// The run at this position of a capture, with this metadata.
    fn copy<R: Read + Seek>(
        header: &Header,
        run: Run,
        from: &mut Reader<R>,
        index: usize,
    ) -> Result<Self, WriteError> {
        let mut writer = Writer::new(Vec::new(), header)?;
        let run = copy(&mut writer, run, from, index)?;
        let (bytes, _) = writer.finish()?;
        Ok(Self {
            run,
            bytes: bytes.into(),
        })
    }

    /// Takes back what an earlier agent left.
    ///
    /// # Errors
    /// The bytes are no capture, or hold no run.
    pub(super) fn from_bytes(bytes: Bytes) -> Result<Self, Unreadable> {
        let reader = Reader::open(Cursor::new(&bytes))?;
        let run = reader.runs().first().cloned().unwrap_or_default();
        Ok(Self { run, bytes })
    }

    /// The newest runs of a capture on the disk, at most so many. Damaged events count as lost. The first run gets
    /// the report of what was masked in the capture.
    ///
    /// # Errors
    /// The file is no capture.
    pub(super) fn newest_of(path: &Path, most: usize) -> anyhow::Result<Vec<Self>> {
        let mut capture = capture_format::open_file(path)?;
        let mut header = capture.header().clone();
        let mut all = Vec::new();
        let runs = capture.runs().len();
        for index in runs.saturating_sub(most)..runs {
            let run = capture.runs().get(index).cloned().unwrap_or_default();
            all.push(Self::copy(&header, run, &mut capture, index)?);
            header.redaction = Default::default();
        }
        for damage in capture.damage() {
            tracing::warn!(path = %path.display(), "a capture that is replaced is damaged: {damage}");
        }
        Ok(all)
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn reader(&self) -> Result<Reader<Cursor<&[u8]>>, Unreadable> {
        Reader::open(Cursor::new(&self.bytes))
    }

    /// What ended the run.
    ///
    /// # Errors
    /// See [`Self::from_bytes`].
    pub(super) fn explain(&self) -> Result<Explanation, Unreadable> {
        Ok(explain(&mut self.reader()?))
    }

    /// Which container it was, and what was masked.
    ///
    /// # Errors
    /// See [`Self::from_bytes`].
    pub(super) fn header(&self) -> Result<Header, Unreadable> {
        Ok(self.reader()?.header().clone())
    }

    /// Writes the run as the next run of a capture. Its events stay encoded.
    ///
    /// # Errors
    /// The writer's.
    pub(super) fn write_to<W: Write>(&self, writer: &mut Writer<W>) -> Result<(), WriteError> {
        let run = self.run.clone();
        match self.reader() {
            Ok(mut reader) => copy(writer, run, &mut reader, 0).map(drop),
            // This cannot happen: the bytes were opened before, when they were encoded or restored.
            Err(_) => writer.begin_run(&run),
        }
    }
}

/// Writes a run with the events that another capture has at this position, block by block. Damaged blocks count as
/// lost. Returns the run as it was written.
fn copy<R: Read + Seek, W: Write>(
    writer: &mut Writer<W>,
    mut run: Run,
    from: &mut Reader<R>,
    index: usize,
) -> Result<Run, WriteError> {
    let mut block = EventBlock::default();
    // Losses are written before the events.
    for part in 0.. {
        match from.open_block(RunIndex(index), part, &mut block) {
            Some(Ok(())) => {}
            Some(Err(damage)) => {
                run.losses += Losses {
                    lost: missing(&damage),
                    ..Losses::default()
                }
            }
            None => break,
        }
    }
    writer.begin_run(&run)?;
    for part in 0.. {
        match from.open_block(RunIndex(index), part, &mut block) {
            Some(Ok(())) => writer.block(&block)?,
            Some(Err(_)) => {}
            None => break,
        }
    }
    writer.end_run()?;
    Ok(run)
}

/// How many events are missing, at least: one for each damage.
fn missing(damage: &Damage) -> u64 {
    match &damage.lost {
        Lost::Events(numbers) => numbers
            .end()
            .saturating_sub(*numbers.start())
            .saturating_add(1),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use capture_format::EventKind;

    use super::*;

    const EVENTS: u64 = 10;

    fn kept() -> KeptRun {
        let event = |pid| Event {
            kind: EventKind::EXIT,
            pid,
            ..Event::default()
        };
        let events: Vec<Event> = (0..EVENTS as u32).map(event).collect();
        let run = Run {
            number: 3,
            ..Run::default()
        };
        KeptRun::of(&Header::default(), run, &events).unwrap()
    }

    /// What a capture says of the run that was written to it: events that are there, and events that are lost.
    fn captured(kept: &KeptRun) -> (u64, u64) {
        let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
        kept.write_to(&mut writer).unwrap();
        let (bytes, _) = writer.finish().unwrap();
        let mut reader = Reader::open(Cursor::new(bytes)).unwrap();
        let events = reader.events(RunIndex(0)).map(Result::unwrap).count() as u64;
        (events, reader.runs()[0].losses.lost)
    }

    #[test]
    fn what_was_damaged_on_the_disk_is_never_missing_without_a_word() {
        let whole = kept();
        assert_eq!(captured(&whole), (EVENTS, 0));
        let mut lost_some = 0;
        for at in 0..whole.bytes.len() {
            let mut bytes = whole.bytes.to_vec();
            bytes[at] ^= 0x40;
            let Ok(kept) = KeptRun::from_bytes(bytes.into()) else {
                continue;
            };
            let (events, lost) = captured(&kept);
            assert!(
                events == EVENTS || lost > 0,
                "byte {at}: {events} events, {lost} lost"
            );
            lost_some += u32::from(lost == EVENTS);
        }
        assert!(lost_some > 0, "no byte was of an event");
    }

    #[test]
    fn a_run_is_written_with_the_number_that_it_got_with_its_name() {
        let mut kept = kept();
        kept.run.number = 7;
        let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
        kept.write_to(&mut writer).unwrap();
        let (bytes, _) = writer.finish().unwrap();
        let reader = Reader::open(Cursor::new(bytes)).unwrap();
        assert_eq!(reader.runs()[0].number, 7);
    }

    #[test]
    fn damaged_runs_of_a_capture_are_taken_over_with_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.lwcap");
        let mut bytes = kept().bytes.to_vec();
        std::fs::write(&path, &bytes).unwrap();
        let taken = KeptRun::newest_of(&path, 1).unwrap();
        assert_eq!(captured(&taken[0]), (EVENTS, 0));

        let lost = (0..bytes.len()).any(|at| {
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            bytes[at] ^= 0x40;
            let taken = KeptRun::newest_of(&path, 1);
            taken.is_ok_and(|taken| {
                taken
                    .first()
                    .is_some_and(|run| captured(run) == (0, EVENTS))
            })
        });
        assert!(lost, "no byte was of an event");
    }
}
