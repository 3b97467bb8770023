//! Recognises a file that is not a capture by its first bytes, for the error message.

use crate::OpenError;
use crate::layout::MAGIC;

/// First bytes of files that people might take for a capture.
const KNOWN: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "a gzip file; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file; decompress it first"),
    (b"\x7fELF", "an ELF program or library"),
    (b"\x0a\x0d\x0d\x0a", "a scap or pcapng file"),
    (b"\xd4\xc3\xb2\xa1", "a pcap file"),
    (b"PK\x03\x04", "a zip file; unpack it first"),
    (b"{", "a JSON document"),
];

/// Says what is wrong with a file, judged by its first bytes; nothing if they are those of a capture, as far as they
/// go.
pub(crate) fn check(start: &[u8]) -> Result<(), OpenError> {
    let known = MAGIC
        .iter()
        .zip(start)
        .take_while(|(expected, found)| expected == found)
        .count();
    if start.is_empty() {
        return Err(OpenError::CutOff { size: 0 });
    }
    if known == start.len().min(MAGIC.len()) {
        return Ok(());
    }
    if known >= 4 || start.starts_with(&[MAGIC[0] & 0x7f, MAGIC[1], MAGIC[2], MAGIC[3]]) {
        return Err(OpenError::TextMode);
    }
    let looks_like = KNOWN
        .iter()
        .find(|(magic, _)| start.starts_with(magic))
        .map(|known| known.1);
    Err(OpenError::NotACapture { looks_like })
}
