//! Kept runs: redacted and encoded when they end, so that what waits in memory is small and holds no credentials.

use std::io::Cursor;

use capture_format::{Header, OpenError, Reader, Run, WriteError, Writer};
use inspect::explain::{Explanation, explain};
use redact::{Manifest, Redactor};

use super::recording::Life;

/// A run as a capture of its own, in memory.
pub(super) struct KeptRun {
    pub(super) run: Run,
    /// A whole capture that holds this run alone.
    bytes: Vec<u8>,
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
        run: Run,
        life: Life,
        redactor: &Redactor,
    ) -> Result<Self, WriteError> {
        let mut manifest = Manifest::default();
        let mut session = redactor.session();
        let mut events = life.recording.events;
        for event in &mut events {
            session.event(event, &mut manifest);
        }
        header.redaction = manifest.into();
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
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<(Self, Header), Unreadable> {
        let reader = Reader::open(Cursor::new(bytes.as_slice()))?;
        let header = reader.header().clone();
        let run = reader.runs().first().cloned().unwrap_or_default();
        Ok((Self { run, bytes }, header))
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

    /// What was masked in it.
    pub(super) fn masked(&self) -> Vec<(String, u64)> {
        self.reader()
            .map(|reader| reader.header().redaction.masked.clone())
            .unwrap_or_default()
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
