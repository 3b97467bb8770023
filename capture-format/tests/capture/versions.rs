//! Files of other versions, and files that are not captures.

use capture_format::{DamageCause, OpenError, Reader, Version};
use std::io::Cursor;

use crate::captures::{block, blocks, header, numbered, read, runs, write};

fn with_version(major: u16, minor: u16) -> Vec<u8> {
    let (mut capture, _) = write(&header(), &runs(1, 3));
    capture[8..10].copy_from_slice(&major.to_le_bytes());
    capture[10..12].copy_from_slice(&minor.to_le_bytes());
    let crc = crc32fast::hash(&capture[..16]);
    capture[16..20].copy_from_slice(&crc.to_le_bytes());
    capture
}

#[test]
fn a_newer_minor_version_opens() {
    let reader = Reader::open(Cursor::new(with_version(1, 9))).unwrap();
    assert_eq!(reader.version(), Version { major: 1, minor: 9 });
    assert_eq!(reader.damage(), []);
}

#[test]
fn a_newer_major_version_is_refused() {
    let error = read(&with_version(2, 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the capture has format version 2.0, this program reads version 1.x; open it with a newer lastword"
    );
}

/// Replaces the index by a block of an unknown type.
fn with_unknown_block(flags: u16) -> Vec<u8> {
    let (mut capture, _) = write(&header(), &runs(1, 3));
    let unknown = block(&capture, 3, 4711, flags, b"new");
    let end = block(&capture, 4, 5, 1, &[0u64, 3].map(u64::to_le_bytes).concat());
    capture.truncate(blocks(&capture)[3].bytes.start);
    capture.extend(unknown);
    capture.extend(end);
    capture
}

#[test]
fn an_unknown_block_is_skipped() {
    let found = read(&with_unknown_block(0)).unwrap();
    assert_eq!(found.events, numbered(&runs(1, 3)));
    assert_eq!(found.damage, []);
}

#[test]
fn an_unknown_critical_block_is_skipped_and_told() {
    let found = read(&with_unknown_block(1)).unwrap();
    assert_eq!(found.events, numbered(&runs(1, 3)));
    assert_eq!(
        found.damage[0].cause,
        DamageCause::NotUnderstood { block_type: 4711 }
    );
}

#[test]
fn unknown_keys_of_documents_are_ignored() {
    let (capture, _) = write(&header(), &[]);
    let mut newer = capture[..20].to_vec();
    newer.extend(block(
        &capture,
        0,
        1,
        1,
        br#"{"program":"lastword 9","planet":"Mars"}"#,
    ));
    newer.extend(block(&capture, 1, 5, 1, &[0; 16]));
    let found = read(&newer).unwrap();
    assert_eq!(
        (found.header.program.as_str(), found.damage.len()),
        ("lastword 9", 0)
    );
}

#[test]
fn foreign_files_are_named() {
    for (start, expected) in [
        (
            &b"\x1f\x8b\x08"[..],
            "not a lastword capture: it looks like a gzip file; decompress it first (lastword reads the .lwcap files that it writes)",
        ),
        (
            b"\x7fELF\x02",
            "not a lastword capture: it looks like an ELF program or library (lastword reads the .lwcap files that it writes)",
        ),
        (
            b"\x0a\x0d\x0d\x0a",
            "not a lastword capture: it looks like a scap or pcapng file (lastword reads the .lwcap files that it writes)",
        ),
        (
            b"hello",
            "not a lastword capture (lastword reads the .lwcap files that it writes)",
        ),
    ] {
        assert_eq!(read(start).unwrap_err().to_string(), expected);
        let long: Vec<u8> = start.iter().copied().chain([7; 5000]).collect();
        assert_eq!(read(&long).unwrap_err().to_string(), expected);
    }
    assert!(matches!(read(b""), Err(OpenError::CutOff { size: 0 })));
}

#[test]
fn a_transfer_as_text_is_recognised() {
    let (capture, _) = write(&header(), &runs(1, 3));
    let unix_to_dos: Vec<u8> = capture
        .iter()
        .flat_map(|&byte| {
            if byte == b'\n' {
                vec![b'\r', b'\n']
            } else {
                vec![byte]
            }
        })
        .collect();
    let mut dos_to_unix = capture.clone();
    dos_to_unix.retain(|&byte| byte != b'\r');
    let seven_bits: Vec<u8> = capture.iter().map(|byte| byte & 0x7f).collect();
    for damaged in [unix_to_dos, dos_to_unix, seven_bits] {
        assert!(matches!(read(&damaged), Err(OpenError::TextMode)));
    }
}
