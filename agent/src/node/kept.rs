//! Kept runs: redacted and encoded when they end, so that what waits in memory is small and holds no credentials.

use std::{io::Cursor, path::Path};

use capture_format::{Header, OpenError, Reader, Run, WriteError, Writer};
use inspect::explain::{Explanation, explain};
use redact::{Manifest, Payload, Redactor};

use super::recording::Life;

/// A run as a capture of its own, in memory.
#[derive(Clone)]
pub(super) struct KeptRun {
    pub(super) run: Run,
    /// A whole capture that holds this run alone.
    bytes: Vec<u8>,
}

/// What of a container's payloads may be kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    pub(super) payload: Payload,
    /// Paths at which it sees secrets.
    pub(super) secret_mounts: Vec<String>,
}

/// Why a kept run cannot be read back.
pub(super) type Unreadable = OpenError;

impl KeptRun {
    /// Redacts and encodes a run.
    ///
    /// # Errors
    /// When its metadata or an event is larger than the format allows.
    pub(super) fn encode(
        mut header: Header,
        mut run: Run,
        life: Life,
        redactor: &Redactor,
        policy: &Policy,
    ) -> Result<Self, WriteError> {
        let mut manifest = Manifest::default();
        let mut masking = redactor.run(policy.payload, &policy.secret_mounts);
        let mut events = life.recording.events;
        for event in &mut events {
            masking.event(event, &mut manifest);
        }
        redactor.header(&mut header, &mut manifest);
        redactor.run_metadata(&mut run, &mut manifest);
        header.redaction = manifest.redaction();
        let mut writer = Writer::new(Vec::new(), &header)?;
        writer.begin_run(&run)?;
        for event in &events {
            writer.event(event)?;
        }
        let (bytes, _) = writer.finish()?;
        Ok(Self { run, bytes })
    }

    /// Takes back what an earlier agent left.
    ///
    /// # Errors
    /// The bytes are no capture, or hold no run.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<Self, Unreadable> {
        let reader = Reader::open(Cursor::new(bytes.as_slice()))?;
        let run = reader.runs().first().cloned().unwrap_or_default();
        Ok(Self { run, bytes })
    }

    /// The newest runs of a capture on the disk, so many at most, as far as they are readable. What was masked in the capture is told of the first.
    ///
    /// # Errors
    /// The file is no capture.
    pub(super) fn newest_of(path: &Path, most: usize) -> anyhow::Result<Vec<Self>> {
        let mut capture = capture_format::open_file(path)?;
        let mut header = capture.header().clone();
        let mut all = Vec::new();
        let runs = capture.runs().to_vec();
        let first = runs.len().saturating_sub(most);
        for (index, run) in runs.into_iter().enumerate().skip(first) {
            let mut writer = Writer::new(Vec::new(), &header)?;
            writer.begin_run(&run)?;
            for event in capture.events(index).flatten() {
                writer.event(&event.event)?;
            }
            let (bytes, _) = writer.finish()?;
            all.push(Self { run, bytes });
            header.redaction = Default::default();
        }
        Ok(all)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn reader(&self) -> Result<Reader<Cursor<&[u8]>>, Unreadable> {
        Reader::open(Cursor::new(&self.bytes))
    }

    /// What ended it.
    ///
    /// # Errors
    /// See [`Self::from_bytes`].
    pub(super) fn explain(&self) -> Result<Explanation, Unreadable> {
        Ok(explain(&mut self.reader()?))
    }

    /// Who it was, and what was masked.
    ///
    /// # Errors
    /// See [`Self::from_bytes`].
    pub(super) fn header(&self) -> Result<Header, Unreadable> {
        Ok(self.reader()?.header().clone())
    }

    /// Writes it as the next run of a capture.
    ///
    /// # Errors
    /// The writer's.
    pub(super) fn write_to<W: std::io::Write>(
        &self,
        writer: &mut Writer<W>,
    ) -> Result<(), WriteError> {
        writer.begin_run(&self.run)?;
        // It was encoded by this process, or checked when it was taken back: what cannot be read is not there.
        if let Ok(mut reader) = self.reader() {
            for event in reader.events(0).flatten() {
                writer.event(&event.event)?;
            }
        }
        writer.end_run()
    }
}
