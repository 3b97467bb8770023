//! Files that are made to do harm: correct checksums, wrong counts.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use capture_format::{DamageCause, Event, Lost, Reader, RunIndex};

use crate::captures::{block, blocks, header, numbered, read, runs, write};

/// A capture whose only block of events has this payload.
fn with_events(payload: &[u8]) -> Vec<u8> {
    let (capture, _) = write(&header(), &runs(1, 3));
    let mut hostile = capture[..blocks(&capture)[2].bytes.start].to_vec();
    hostile.extend(block(&capture, 2, 3, 1, payload));
    hostile.extend(block(&capture, 3, 5, 1, &[0; 16]));
    hostile
}

/// A summary of `count` events of one kind and pid, preceded by its size.
fn summary(count: u32) -> Vec<u8> {
    let mut out = vec![36, 0, 0, 0];
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    out.extend([0; 16]);
    out.extend([1, 1, 1, 1]);
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn payload(count: u32, segments: &[(u8, u8, u64, &[u8])]) -> Vec<u8> {
    let mut out = summary(count);
    out.push(segments.len() as u8);
    for &(column, encoding, raw, stored) in segments {
        out.extend([column, encoding]);
        out.extend(varint(raw));
        out.extend(varint(stored.len() as u64));
    }
    for segment in segments {
        out.extend(segment.3);
    }
    out
}

#[test]
fn a_well_made_block_is_read() {
    let found = read(&with_events(&payload(2, &[(7, 0, 2, &[2, 4])]))).unwrap();
    let returned: Vec<_> = found.events[0]
        .iter()
        .map(|it| (it.number, it.event.ret))
        .collect();
    assert_eq!(returned, [(1, 1), (2, 2)]);
    assert_eq!(found.damage, []);
}

#[test]
fn wrong_counts_are_damage_and_nothing_else() {
    let bomb = zstd::bulk::compress(&vec![0; (8 << 20) + 1], 3).unwrap();
    let strings = zstd::bulk::compress(&vec![0; 8 << 20], 3).unwrap();
    let many = u64::MAX;
    let cases: [(&str, Vec<u8>); 13] = [
        ("no summary", vec![]),
        ("a summary larger than the block", vec![255; 4]),
        ("no events", payload(0, &[])),
        ("more events than a block may have", payload(65537, &[])),
        ("no table of segments", summary(2)),
        (
            "a column larger than allowed",
            payload(2, &[(7, 1, (8 << 20) + 1, &bomb)]),
        ),
        (
            "columns whose sizes overflow",
            payload(2, &[(7, 1, many, &[]), (8, 1, many, &[])]),
        ),
        (
            "a column larger than it says",
            payload(2, &[(7, 1, 100, &bomb)]),
        ),
        (
            "a column smaller than it says",
            payload(2, &[(7, 0, 100, &[2, 4])]),
        ),
        ("no zstd", payload(2, &[(7, 1, 100, b"hello")])),
        (
            "a column twice",
            payload(2, &[(7, 0, 2, &[2, 4]), (7, 0, 2, &[2, 4])]),
        ),
        (
            "an encoding from the future",
            payload(2, &[(7, 9, 2, &[2, 4])]),
        ),
        (
            "more strings than events",
            payload(2, &[(12, 1, 8 << 20, &strings)]),
        ),
    ];
    for (what, payload) in cases {
        let found = read(&with_events(&payload)).unwrap();
        assert!(found.events.concat().is_empty(), "{what}");
        let malformed = matches!(
            found.damage[..],
            [capture_format::Damage {
                cause: DamageCause::Malformed(_),
                ..
            }]
        );
        assert!(malformed, "{what}: {:?}", found.damage);
    }
}

#[test]
fn wrong_values_cost_the_events_from_there_on() {
    for (what, column, bytes) in [
        ("a column that ends early", 7, &[2][..]),
        (
            "a number above 64 bits",
            7,
            &[2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
        ),
        ("a kind not in the summary", 2, &[0, 1]),
        ("a pid not in the summary", 3, &[0, 1]),
        ("a tid below 0", 4, &[0, 5]),
        ("a new name without a string", 11, &[0, 1]),
        ("a name not in the strings", 11, &[0, 2]),
        ("data that is not there", 13, &[0, 1]),
    ] {
        let found = read(&with_events(&payload(
            2,
            &[(column, 0, bytes.len() as u64, bytes)],
        )))
        .unwrap();
        assert_eq!(found.events[0].len(), 1, "{what}");
        assert_eq!(found.damage[0].lost, Lost::Events(2..=2), "{what}");
    }
}

/// A capture of `count` blocks like this one, each with its number of events.
fn with_blocks(count: u32, events: u32, segments: &[(u8, u8, u64, &[u8])]) -> Vec<u8> {
    let (capture, _) = write(&header(), &runs(1, 3));
    let mut hostile = capture[..blocks(&capture)[2].bytes.start].to_vec();
    for at in 0..count {
        let mut payload = payload(events, segments);
        let first = 1 + u64::from(at) * u64::from(events);
        payload[12..20].copy_from_slice(&first.to_le_bytes());
        hostile.extend(block(&capture, 2 + at, 3, 1, &payload));
    }
    let mut end = [0; 16];
    end[8..].copy_from_slice(&(u64::from(count) * u64::from(events)).to_le_bytes());
    hostile.extend(block(&capture, 2 + count, 5, 1, &end));
    hostile
}

/// Columns that are all zero cost a file nothing, but would be a hundred million events for its reader.
#[test]
fn a_small_file_does_not_unpack_to_gigabytes() {
    let zeros = zstd::bulk::compress(&vec![0; 7 << 20], 19).unwrap();
    let data: &[(u8, u8, u64, &[u8])] = &[(14, 1, 7 << 20, &zeros)];
    for (what, hostile) in [
        ("events", with_blocks(1600, 65536, &[])),
        ("payloads", with_blocks(400, 1, data)),
    ] {
        assert!(hostile.len() < 400_000, "{what}: {} bytes", hostile.len());
        let mut reader = Reader::open(Cursor::new(hostile)).unwrap();
        // A second pass needs no more memory than the first.
        for _ in 0..2 {
            let (mut block, mut unpacked) = (capture_format::EventBlock::default(), 0u64);
            for part in 0.. {
                match reader.open_block(RunIndex(0), part, &mut block) {
                    None => break,
                    Some(Err(_)) => {}
                    Some(Ok(())) if what == "events" => {
                        unpacked += 64 * u64::from(block.summary().count);
                    }
                    Some(Ok(())) => unpacked += 7 << 20,
                }
            }
            assert!(unpacked > 120 << 20, "{what}: what fits is read");
            assert!(unpacked <= 128 << 20, "{what}: {unpacked} bytes");
        }
        let [damage] = reader.damage() else {
            panic!("{what}: {:?}", reader.damage());
        };
        assert!(matches!(damage.cause, DamageCause::TooMuch { .. }));
        assert!(damage.to_string().contains("128 MiB"), "{damage}");
    }
}

/// The capture with these entries in its index.
fn with_index(capture: &[u8], entries: &[&[u8]]) -> Vec<u8> {
    let blocks = blocks(capture);
    let index = blocks[blocks.len() - 2].bytes.clone();
    let mut out = capture[..index.start].to_vec();
    out.extend(block(
        capture,
        blocks.len() as u32 - 2,
        4,
        0,
        &entries.concat(),
    ));
    let end = [index.start as u64, 6].map(u64::to_le_bytes).concat();
    out.extend(block(capture, blocks.len() as u32 - 1, 5, 1, &end));
    out
}

fn index_entries(capture: &[u8]) -> Vec<&[u8]> {
    let blocks = blocks(capture);
    let mut rest = &capture[blocks[blocks.len() - 2].bytes.clone()][28..];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let summary = u32::from_le_bytes(rest[8..12].try_into().unwrap());
        let (entry, after) = rest.split_at(12 + summary as usize);
        entries.push(entry);
        rest = after;
    }
    entries
}

#[test]
fn an_index_that_leaves_out_or_repeats_blocks_is_not_followed() {
    let (capture, _) = write(&header(), &runs(2, 3));
    let entries = index_entries(&capture);
    assert_eq!(with_index(&capture, &entries), capture);
    for index in 0..entries.len() {
        let mut fewer = entries.clone();
        fewer.remove(index);
        let mut twice = entries.clone();
        twice.insert(index, entries[index]);
        for entries in [fewer, twice] {
            let found = read(&with_index(&capture, &entries)).unwrap();
            assert_eq!(found.events, numbered(&runs(2, 3)), "entry {index}");
        }
    }
}

#[test]
fn a_run_does_not_repeat() {
    let (capture, _) = write(&header(), &runs(1, 3));
    let blocks = blocks(&capture);
    let mut hostile = capture[..blocks[2].bytes.end].to_vec();
    let mut again = capture[blocks[1].bytes.clone()][28..].to_vec();
    again[4] = 4;
    hostile.extend(block(&capture, 3, 2, 1, &again));
    hostile.extend(block(&capture, 4, 5, 1, &[0; 16]));
    let found = read(&hostile).unwrap();
    assert_eq!(found.events, numbered(&runs(1, 3)));
    assert!(matches!(found.damage[0].cause, DamageCause::Malformed(_)));
}

#[test]
fn event_numbers_do_not_repeat() {
    let (capture, _) = write(&header(), &runs(1, 3));
    let events = blocks(&capture)[2].bytes.clone();
    let mut hostile = capture[..events.end].to_vec();
    let again = capture[events.start + 28..events.end].to_vec();
    hostile.extend(block(&capture, 3, 3, 1, &again));
    hostile.extend(block(&capture, 4, 5, 1, &[0; 16]));
    let found = read(&hostile).unwrap();
    assert_eq!(found.events, numbered(&runs(1, 3)));
    assert!(matches!(found.damage[0].cause, DamageCause::Malformed(_)));
}

/// Counts the bytes that are read.
struct Counting(Cursor<Vec<u8>>, u64);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1 += count as u64;
        Ok(count)
    }
}

impl Seek for Counting {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

#[test]
fn headers_that_claim_the_rest_of_the_file_are_not_all_believed() {
    let (capture, _) = write(&header(), &[]);
    let count = 2000;
    let mut hostile = capture[..blocks(&capture)[0].bytes.end].to_vec();
    for sequence in 1..count {
        let claims_to_end = (count - sequence - 1) * 28;
        let mut header = block(&capture, sequence, 3, 1, &vec![0; claims_to_end as usize]);
        header.truncate(28);
        hostile.extend(header);
    }
    let size = hostile.len() as u64;
    let mut source = Counting(Cursor::new(hostile), 0);
    let reader = Reader::open(&mut source).unwrap();
    assert_eq!(reader.runs(), []);
    assert!(source.1 < 5 * size, "{} bytes read of {size}", source.1);
}

/// Does briefly what the fuzz target does for hours: reads whole captures with random changes.
#[test]
fn mutated_captures_are_read_without_panic() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % below
    };
    let (capture, _) = write(&header(), &runs(3, 5));
    for _ in 0..3000 {
        let mut mutated = capture.clone();
        for _ in 0..=next(4) {
            let at = next(mutated.len());
            match next(4) {
                0 => mutated[at] = next(256) as u8,
                1 => mutated.truncate(at + 1),
                2 => drop(mutated.splice(at..at, [next(256) as u8; 3])),
                _ => drop(mutated.drain(at..(at + 30).min(mutated.len() - 1).max(at))),
            }
        }
        // Every second time the checksums are made right, so that the reader gets to the changed bytes.
        if next(2) == 0 {
            repair(&mut mutated);
        }
        if let Ok(found) = read(&mutated) {
            let numbers: Vec<_> = found.events.concat().iter().map(|it| it.number).collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        }
    }
}

/// Makes the checksum of every block right.
fn repair(capture: &mut [u8]) {
    let starts: Vec<_> = (0..capture.len().saturating_sub(28))
        .filter(|&at| capture[at..].starts_with(b"\xb7LWB"))
        .collect();
    for at in starts {
        let length = u32::from_le_bytes(capture[at + 16..at + 20].try_into().unwrap()) as usize;
        let Some(payload) = capture.get(at + 28..at + 28 + length) else {
            continue;
        };
        let crc = crc32fast::hash(payload);
        capture[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32fast::hash(&capture[at..at + 24]);
        capture[at + 24..at + 28].copy_from_slice(&crc.to_le_bytes());
    }
}

#[test]
fn an_event_too_large_is_refused_by_the_writer() {
    let mut writer = capture_format::Writer::new(Vec::new(), &header()).unwrap();
    writer.begin_run(&Default::default()).unwrap();
    let data = vec![7; (1 << 20) + 1].into();
    let error = writer
        .event(&Event {
            data,
            ..Event::default()
        })
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "an event has 1048577 bytes of name and data; the format allows 1048576"
    );
}

#[test]
fn an_event_outside_a_run_is_refused_by_the_writer() {
    let mut writer = capture_format::Writer::new(Vec::new(), &header()).unwrap();
    let error = writer.event(&Event::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an event was written outside a run: call begin_run before it"
    );
}
