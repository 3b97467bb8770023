//! Opens arbitrary bytes as a capture and reads all of it.
//!
//! ```sh
//! cd capture-format/fuzz
//! cargo +nightly run --bin seeds                # once: captures to start from
//! cargo +nightly fuzz run read -- -max_len=20000 -rss_limit_mb=1024 -malloc_limit_mb=64
//! ```
#![no_main]

use std::io::Cursor;

use capture_format::{Columns, EventBlock, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    read(data);
    // Checksums detect nearly every change. This makes them right, so that the reader gets to the bytes that they
    // protect.
    let mut repaired = data.to_vec();
    repair(&mut repaired);
    read(&repaired);
});

fn read(data: &[u8]) {
    let Ok(mut reader) = Reader::open(Cursor::new(data)) else { return };
    let mut last = 0;
    for run in reader.indexes() {
        // A small file may hold many equal events; a part of them is enough here.
        for item in reader.events(run).take(100_000) {
            match item {
                Ok(event) => {
                    assert!(event.number > last, "event numbers ascend");
                    last = event.number;
                }
                Err(damage) => assert!(!damage.to_string().is_empty()),
            }
        }
    }
    columns(&mut reader);
    for damage in reader.damage() {
        assert!(damage.offset + damage.length <= data.len() as u64, "damage lies in the file: {damage:?}");
    }
}

/// Reads single columns, and checks that they agree with the events.
fn columns(reader: &mut Reader<Cursor<&[u8]>>) {
    let mut block = EventBlock::default();
    for run in reader.indexes() {
        for part in 0..1_000 {
            let Some(opened) = reader.open_block(run, part, &mut block) else { break };
            if opened.is_err() || block.load(Columns::KIND | Columns::TID).is_err() {
                continue;
            }
            for row in 0..block.readable().min(1_000) {
                let Ok(event) = block.event(row) else { break };
                assert_eq!((event.kind, event.tid), (block.kinds()[row], block.tids()[row]));
            }
        }
    }
}

fn repair(capture: &mut [u8]) {
    if let Some(preamble) = capture.first_chunk_mut::<20>() {
        let crc = crc32fast::hash(&preamble[..16]);
        preamble[16..].copy_from_slice(&crc.to_le_bytes());
    }
    let starts = 0..capture.len().saturating_sub(27);
    let starts: Vec<_> = starts.filter(|&at| capture[at..].starts_with(b"\xb7LWB")).collect();
    for at in starts.into_iter().rev() {
        let length = u32::from_le_bytes([16, 17, 18, 19].map(|field| capture[at + field]));
        if let Some(payload) = capture.get(at + 28..).and_then(|rest| rest.get(..length as usize)) {
            let crc = crc32fast::hash(payload);
            capture[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
        }
        let crc = crc32fast::hash(&capture[at..at + 24]);
        capture[at + 24..at + 28].copy_from_slice(&crc.to_le_bytes());
    }
}
