//! Writing a capture.

use std::io::Write;

use crate::block::{BlockBuilder, EventBlock};
use crate::layout::{
    BlockHeader, BlockType, CRITICAL, End, MAX_DOCUMENT, MAX_EVENT, MAX_PAYLOAD, Preamble,
    RunSummary, Version,
};
use crate::metadata::fitting;
use crate::{Event, Header, Run, WriteError};

/// Writes a capture from front to back: call `new`, for each run `begin_run`, `event` for each event and `end_run`,
/// then `finish`.
///
/// A block is written at a time, and the output is flushed at the end. Give it a plain [`File`](std::fs::File), or let
/// [`write_file`](crate::write_file) do so.
pub struct Writer<W> {
    output: Output<W>,
    block: BlockBuilder,
    runs: u32,
    in_run: bool,
    /// Events in blocks already written.
    written: u64,
}

/// What was written in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events of all runs.
    pub events: u64,
    /// Size of the capture in bytes.
    pub bytes: u64,
    /// Runs.
    pub runs: u32,
}

impl<W: Write> Writer<W> {
    /// Starts a capture. If the header is larger than 1 MiB, the largest parts of [`Header::kubernetes`] are left out,
    /// and named in [`Header::omitted`].
    ///
    /// # Errors
    /// If the header's document is larger than 1 MiB even without them, or if the output refuses it.
    pub fn new(output: W, header: &Header) -> Result<Self, WriteError> {
        let document = fitting(header)?;
        let capture_id = crc32fast::hash(&document);
        let mut output = Output {
            inner: output,
            capture_id,
            position: 0,
            sequence: 0,
            index: Vec::new(),
        };
        output.bytes(
            &Preamble {
                version: Version::CURRENT,
                capture_id,
            }
            .encode(),
        )?;
        output.block(BlockType::HEADER, &document, &[])?;
        Ok(Self {
            output,
            block: BlockBuilder::default(),
            runs: 0,
            in_run: false,
            written: 0,
        })
    }

    /// Starts a run, to which the following events belong. Ends the run before, if that was not done.
    ///
    /// # Errors
    /// If the run's document is larger than 1 MiB, or if the output refuses it.
    pub fn begin_run(&mut self, run: &Run) -> Result<(), WriteError> {
        self.end_run()?;
        let document = run_document(run)?;
        let summary = RunSummary {
            run: self.runs,
            first: self.written + 1,
        }
        .encode();
        self.output.block(
            BlockType::RUN,
            &[&summary[..], &document].concat(),
            &summary,
        )?;
        self.runs += 1;
        self.in_run = true;
        Ok(())
    }

    /// Adds an event to the run. Events may come in any order; readers show them in the order in which they were added.
    ///
    /// # Errors
    /// If there is no run; if name and data together are larger than 1 MiB; if the output refuses a block.
    pub fn event(&mut self, event: &Event) -> Result<(), WriteError> {
        if !self.in_run {
            return Err(WriteError::NoRun);
        }
        let size = event.name.len() + event.data.len();
        if size > MAX_EVENT {
            return Err(WriteError::EventTooLarge {
                size,
                limit: MAX_EVENT,
            });
        }
        self.block.push(event);
        if self.block.is_full() {
            self.end_block()
        } else {
            Ok(())
        }
    }

    /// Adds the events of a block that was read from a capture, without decoding them. They get the next numbers of
    /// this capture. An empty block adds nothing.
    ///
    /// # Errors
    /// If there is no run, or if the output refuses a block.
    pub fn block(&mut self, block: &EventBlock) -> Result<(), WriteError> {
        if !self.in_run {
            return Err(WriteError::NoRun);
        }
        self.end_block()?;
        // The run that is open is the one that was begun last.
        let run = self.runs.saturating_sub(1);
        if let Some((summary, payload)) = block.renumbered(run, self.written + 1) {
            self.output.block(BlockType::EVENTS, &payload, &summary)?;
            self.written += u64::from(block.summary().count);
        }
        Ok(())
    }

    /// Ends the run.
    ///
    /// # Errors
    /// If the output refuses the run's last events.
    pub fn end_run(&mut self) -> Result<(), WriteError> {
        self.end_block()?;
        self.in_run = false;
        Ok(())
    }

    /// Ends the capture: writes index and end block. Without them, readers report the capture as cut off.
    ///
    /// # Errors
    /// If the output refuses the bytes.
    pub fn finish(mut self) -> Result<(W, Summary), WriteError> {
        self.end_run()?;
        let output = &mut self.output;
        let index = std::mem::take(&mut output.index);
        let index_offset = if index.len() <= MAX_PAYLOAD {
            let offset = output.position;
            output.block(BlockType::INDEX, &index, &[])?;
            offset
        } else {
            0
        };
        let end = End {
            index_offset,
            events: self.written,
        };
        output.block(BlockType::END, &end.encode(), &[])?;
        output.inner.flush()?;
        let summary = Summary {
            events: self.written,
            bytes: output.position,
            runs: self.runs,
        };
        Ok((self.output.inner, summary))
    }

    fn end_block(&mut self) -> Result<(), WriteError> {
        let events = self.block.len();
        // The run that is open is the one that was begun last.
        let run = self.runs.saturating_sub(1);
        if let Some((summary, payload)) = self.block.take(run, self.written + 1)? {
            self.output.block(BlockType::EVENTS, &payload, &summary)?;
            self.written += events;
        }
        Ok(())
    }
}

fn run_document(run: &Run) -> Result<Vec<u8>, WriteError> {
    let document = serde_json::to_vec(run).map_err(std::io::Error::from)?;
    if document.len() > MAX_DOCUMENT {
        return Err(WriteError::DocumentTooLarge {
            what: "metadata of the run",
            size: document.len(),
            limit: MAX_DOCUMENT,
        });
    }
    Ok(document)
}

/// Writes blocks with their headers, and collects the index.
struct Output<W> {
    inner: W,
    capture_id: u32,
    /// How many bytes were written.
    position: u64,
    /// Number of the next block.
    sequence: u32,
    index: Vec<u8>,
}

impl<W: Write> Output<W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.inner.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn block(&mut self, kind: BlockType, payload: &[u8], summary: &[u8]) -> Result<(), WriteError> {
        let header = BlockHeader {
            capture_id: self.capture_id,
            sequence: self.sequence,
            kind,
            flags: if kind == BlockType::INDEX {
                0
            } else {
                CRITICAL
            },
            length: payload.len() as u32,
            payload_crc: crc32fast::hash(payload),
        };
        crate::index::append(&mut self.index, &header, summary);
        self.sequence += 1;
        self.bytes(&[&header.encode()[..], payload].concat())
    }
}
