//! Streams as text, as hexadecimal digits, as JSON Lines, or as the bytes they are.
//!
//! A line of text starts with `>` if it was written and with `<` if it was read, so no payload can be mistaken for
//! what lastword itself says.

use std::io::{self, Write};

use serde::Serialize;

use super::{Chunk, Direction, Piece};
use crate::json::{Data, write_line};
use crate::views::table::{Paint, painted};
use crate::views::{Look, Moment, Subject};
use events::escape::escaped;

/// How many bytes a line of a hex dump has.
const HEX: usize = 16;
/// The length of the longest UTF-8 character minus one: at most this many bytes may remain of a piece.
const MAX_REST: usize = 3;

/// The format in which streams are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines, escaped.
    Text,
    /// Hex and characters.
    Hex,
    /// One JSON object for each call.
    Json,
    /// The bytes as they are, without those of failed calls. This format is never used on a terminal.
    Raw,
}

/// Writes the pieces of a stream.
pub struct Printer<'o> {
    format: Format,
    look: Look,
    out: &'o mut dyn Write,
    /// Process, descriptor, subject and direction of the last bytes. If the next bytes have the same, they need no new
    /// heading.
    source: Option<(u32, i64, Subject, Direction, bool)>,
    /// The beginning of a character whose other bytes are still to come.
    rest: Vec<u8>,
    in_line: bool,
    offset: u64,
}

#[derive(Serialize)]
struct Line<'c> {
    #[serde(flatten)]
    moment: Moment,
    pid: u32,
    process: &'c str,
    fd: i64,
    file: &'c Subject,
    direction: Direction,
    data: Data<'c>,
    missing_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<&'c str>,
    redacted: bool,
}

#[derive(Serialize)]
struct Missing<'c> {
    damage: &'c str,
}

impl<'o> Printer<'o> {
    /// Makes a printer that writes to `out`.
    pub fn new(format: Format, look: Look, out: &'o mut dyn Write) -> Self {
        Self {
            format,
            look,
            out,
            source: None,
            rest: Vec::new(),
            in_line: false,
            offset: 0,
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When the output fails.
    pub fn piece(&mut self, piece: &Piece) -> io::Result<()> {
        match (piece, self.format) {
            (Piece::Chunk(chunk), Format::Json) => self.json(chunk),
            (Piece::Chunk(chunk), Format::Raw) if chunk.failed.is_none() => {
                self.out.write_all(&chunk.data)
            }
            (_, Format::Raw) => Ok(()),
            (Piece::Damage(damage), Format::Json) => write_line(&Missing { damage }, self.out),
            (Piece::Chunk(chunk), _) => self.chunk(chunk),
            (Piece::Damage(damage), _) => {
                self.end()?;
                self.source = None;
                self.note(damage)
            }
        }
    }

    /// Ends the last line.
    ///
    /// # Errors
    /// When the output fails.
    pub fn end(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        if let Some(&(.., direction, _)) = self.source.as_ref().filter(|_| !rest.is_empty()) {
            self.fragment(&rest, direction)?;
        }
        if std::mem::take(&mut self.in_line) {
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn json(&mut self, chunk: &Chunk) -> io::Result<()> {
        let line = Line {
            moment: chunk.moment,
            pid: chunk.pid,
            process: &chunk.process,
            fd: chunk.fd,
            file: &chunk.file,
            direction: chunk.direction,
            data: Data::of(&chunk.data, chunk.missing > 0),
            missing_bytes: chunk.missing,
            why: chunk.why,
            failed: chunk.failed.as_deref(),
            redacted: chunk.redacted,
        };
        write_line(&line, self.out)
    }

    fn chunk(&mut self, chunk: &Chunk) -> io::Result<()> {
        let failed = chunk.failed.is_some();
        let source = (
            chunk.pid,
            chunk.fd,
            chunk.file.clone(),
            chunk.direction,
            failed,
        );
        if self.source.as_ref() != Some(&source) {
            self.end()?;
            self.heading(chunk)?;
            self.source = Some(source);
            self.offset = 0;
        }
        match self.format {
            Format::Hex => self.hex(&chunk.data)?,
            _ => self.text(&chunk.data, chunk.direction)?,
        }
        self.notes(chunk)
    }

    fn heading(&mut self, chunk: &Chunk) -> io::Result<()> {
        let did = match (chunk.direction, &chunk.failed) {
            (Direction::Written, None) => "wrote to".to_owned(),
            (Direction::Written, Some(errno)) => format!("failed ({errno}) to write to"),
            (Direction::Read, _) => "read from".to_owned(),
        };
        let (moment, process) = (chunk.moment, &chunk.process);
        let line = format!(
            "{} {} {process} (pid {}) {did} {} (descriptor {})",
            moment.number(),
            moment.offset(),
            chunk.pid,
            chunk.file,
            chunk.fd
        );
        writeln!(self.out, "{}", painted(&line, Paint::Strong, self.look))
    }

    /// Writes what is wrong with the bytes before.
    fn notes(&mut self, chunk: &Chunk) -> io::Result<()> {
        let why = chunk.why.unwrap_or_default();
        let note = match chunk.missing {
            0 if why.is_empty() => None,
            0 => Some(format!("#{}: {why}", chunk.moment.event)),
            missing => Some(format!(
                "#{}: {missing} bytes missing: {why}",
                chunk.moment.event
            )),
        };
        if let Some(note) = note {
            self.end()?;
            self.note(&note)?;
        }
        Ok(())
    }

    /// Writes a remark of lastword about the stream.
    ///
    /// # Errors
    /// When the output fails.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        let line = format!("[{}]", escaped(text.as_bytes()));
        writeln!(self.out, "{}", painted(&line, Paint::Bad, self.look))
    }

    fn text(&mut self, data: &[u8], direction: Direction) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(data);
        let whole = bytes.len() - split_character(&bytes);
        self.rest = bytes.split_off(whole);
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.fragment(line.strip_suffix(b"\n").unwrap_or(line), direction)?;
            if line.ends_with(b"\n") {
                writeln!(self.out)?;
                self.in_line = false;
            }
        }
        Ok(())
    }

    /// Writes a part of a line, and begins the line if necessary.
    fn fragment(&mut self, bytes: &[u8], direction: Direction) -> io::Result<()> {
        if !std::mem::replace(&mut self.in_line, true) {
            let mark = match direction {
                Direction::Written => ">",
                Direction::Read => "<",
            };
            write!(self.out, "{} ", painted(mark, Paint::Dim, self.look))?;
        }
        write!(self.out, "{}", escaped(bytes))
    }

    fn hex(&mut self, data: &[u8]) -> io::Result<()> {
        for line in data.chunks(HEX) {
            write!(self.out, "{:08x} ", self.offset)?;
            for at in 0..HEX {
                let blank = if at % 8 == 0 { " " } else { "" };
                match line.get(at) {
                    Some(byte) => write!(self.out, "{blank}{byte:02x} ")?,
                    None => write!(self.out, "{blank}   ")?,
                }
            }
            let text: String = line.iter().map(|&byte| printable(byte)).collect();
            writeln!(self.out, " |{text}|")?;
            self.offset += line.len() as u64;
        }
        Ok(())
    }
}

fn printable(byte: u8) -> char {
    match byte {
        b' '..=b'~' => byte.into(),
        _ => '.',
    }
}

/// How many bytes at the end are an incomplete character.
fn split_character(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(MAX_REST)..];
    let is_split = |length: &usize| {
        let last = &tail[tail.len() - length..];
        std::str::from_utf8(last)
            .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=tail.len()).find(is_split).unwrap_or_default()
}
