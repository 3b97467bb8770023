//! Of a damaged capture, everything outside the damaged block is read, and what is missing is reported.

use capture_format::{DamageCause, Lost, NumberedEvent, OpenError, Run, RunIndex};

use crate::captures::{EVENTS, RUN, Read, block, blocks, header, numbered, read, runs, write};

/// Three runs with one block of events each.
fn capture() -> (Vec<u8>, Vec<NumberedEvent>) {
    let runs = runs(3, 6);
    (write(&header(), &runs).0, numbered(&runs).concat())
}

/// Events 1 to 6 are in the first block of events, 7 to 12 in the second, 13 to 18 in the third.
fn event_blocks(capture: &[u8]) -> Vec<std::ops::Range<usize>> {
    let blocks = blocks(capture);
    blocks
        .into_iter()
        .filter(|block| block.kind == EVENTS)
        .map(|block| block.bytes)
        .collect()
}

fn events_without(all: &[NumberedEvent], block: Option<usize>) -> Vec<NumberedEvent> {
    let is_there = |event: &&NumberedEvent| block != Some((event.number as usize - 1) / 6);
    all.iter().filter(is_there).cloned().collect()
}

fn lost_events(found: &Read) -> Vec<(u64, u64)> {
    let lost = found.damage.iter().filter_map(|damage| match &damage.lost {
        Lost::Events(numbers) => Some((*numbers.start(), *numbers.end())),
        _ => None,
    });
    lost.collect()
}

/// Checks that exactly the events of one block are missing, and that they are named in their place.
fn assert_lost(found: &Read, all: &[NumberedEvent], block: Option<usize>, what: &str) {
    assert_eq!(found.events.concat(), events_without(all, block), "{what}");
    assert!(!found.damage.is_empty(), "{what}");
    let expected: Vec<_> = block
        .map(|it| (it as u64 * 6 + 1, it as u64 * 6 + 6))
        .into_iter()
        .collect();
    assert_eq!(lost_events(found), expected, "{what}: {:?}", found.damage);
    for (run, missing) in found.missing.iter().enumerate() {
        assert_eq!(
            missing.len(),
            usize::from(block == Some(run)),
            "{what}: run {run}"
        );
    }
}

#[test]
fn a_changed_byte_costs_its_block_alone() {
    let (capture, all) = capture();
    let event_blocks = event_blocks(&capture);
    let all_blocks = blocks(&capture);
    let index = &all_blocks[all_blocks.len() - 2].bytes;
    // Once with the index and once without: the last byte is in the payload of the end block.
    for spoil_index in [false, true] {
        let end = if spoil_index {
            index.start
        } else {
            capture.len()
        };
        for position in 0..end {
            let mut changed = capture.clone();
            changed[position] ^= 0x20;
            if spoil_index {
                *changed.last_mut().unwrap() ^= 1;
            }
            let what = format!("byte {position}, index spoiled: {spoil_index}");
            let found = read(&changed).unwrap_or_else(|error| panic!("{what}: {error}"));
            let hit = event_blocks
                .iter()
                .position(|block| block.contains(&position));
            assert_lost(&found, &all, hit, &what);
            assert_eq!(found.runs.len(), 3, "{what}");
        }
    }
}

#[test]
fn a_damaged_header_or_run_is_named_and_its_events_stay() {
    let (capture, all) = capture();
    let blocks = blocks(&capture);
    for (block, lost) in [
        (0, Lost::Header),
        (
            3,
            Lost::Run {
                index: Some(RunIndex(1)),
            },
        ),
    ] {
        for spoil_index in [false, true] {
            let mut changed = capture.clone();
            changed[blocks[block].bytes.start + 30] ^= 1;
            if spoil_index {
                *changed.last_mut().unwrap() ^= 1;
            }
            let found = read(&changed).unwrap();
            assert!(
                found.damage.iter().any(|it| it.lost == lost),
                "{:?}",
                found.damage
            );
            assert_eq!(found.events.concat(), all);
            let numbers: Vec<_> = found.runs.iter().map(|run| run.number).collect();
            assert_eq!(numbers, if block == 0 { [1, 2, 3] } else { [1, 0, 3] });
        }
    }
}

#[test]
fn a_capture_cut_off_anywhere_gives_its_whole_blocks() {
    let (capture, all) = capture();
    let blocks = blocks(&capture);
    let event_blocks = event_blocks(&capture);
    for size in 0..capture.len() {
        let cut = &capture[..size];
        if size < blocks[0].bytes.end {
            assert!(matches!(read(cut), Err(OpenError::CutOff { .. })), "{size}");
            continue;
        }
        let found = read(cut).unwrap();
        let whole = event_blocks
            .iter()
            .filter(|block| block.end <= size)
            .count();
        assert_eq!(found.events.concat(), all[..whole * 6], "{size}");
        let last = found.damage.last().unwrap();
        assert_eq!(last.cause, DamageCause::CutOff, "{size}");
        let index_end = blocks[blocks.len() - 2].bytes.end;
        let expected = if size < index_end {
            Lost::EventsFrom(whole as u64 * 6 + 1)
        } else {
            Lost::Nothing
        };
        assert_eq!(last.lost, expected, "{size}");
    }
}

#[test]
fn a_block_that_was_cut_out_is_missed() {
    let (capture, all) = capture();
    for (index, block) in blocks(&capture).into_iter().enumerate() {
        let mut shorter = capture.clone();
        shorter.drain(block.bytes.clone());
        let found = read(&shorter).unwrap();
        let hit = event_blocks(&capture)
            .iter()
            .position(|it| *it == block.bytes);
        assert_lost(&found, &all, hit, &format!("block {index}"));
    }
}

#[test]
fn bytes_that_were_cut_out_or_put_in_cost_their_block_alone() {
    let (capture, all) = capture();
    let second = event_blocks(&capture)[1].clone();
    for position in second.start + 1..second.end {
        let what = format!("at {position}");
        let mut shorter = capture.clone();
        shorter.remove(position);
        assert_lost(&read(&shorter).unwrap(), &all, Some(1), &what);
        let mut longer = capture.clone();
        longer.splice(position..position, [0; 100]);
        assert_lost(&read(&longer).unwrap(), &all, Some(1), &what);
    }
}

#[test]
fn bytes_after_the_end_are_told_and_harm_nothing() {
    let (mut capture, all) = capture();
    let size = capture.len() as u64;
    capture.extend_from_slice(&[0; 4096]);
    let found = read(&capture).unwrap();
    assert_lost(&found, &all, None, "longer");
    assert_eq!(
        (found.damage[0].offset, found.damage[0].length),
        (size, 4096)
    );
}

#[test]
fn a_block_of_another_capture_is_not_mistaken_for_one() {
    let (other, _) = write(&capture_format::Header::default(), &[]);
    // Noise does not compress, so it is stored as it is, and the inner block is in the file unchanged.
    let noise: Vec<u8> = (0..400u32)
        .map(|it| crc32fast::hash(&it.to_le_bytes()) as u8)
        .collect();
    let run = [&5u32.to_le_bytes()[..], &1000u64.to_le_bytes(), &noise].concat();
    let inner = block(&other, 100, RUN, 0, &run);
    let mut runs = runs(2, 1);
    runs[0].1[0].data = inner.clone().into();
    let (mut capture, _) = write(&header(), &runs);
    assert!(
        capture.windows(inner.len()).any(|it| it == inner),
        "the test tests nothing"
    );
    // The header of the outer block is damaged, so that the next block must be searched for.
    let start = event_blocks(&capture)[0].start;
    capture[start + 10] ^= 1;
    *capture.last_mut().unwrap() ^= 1;
    let found = read(&capture).unwrap();
    assert_eq!(found.runs.len(), 2);
    assert_eq!(found.events.concat(), numbered(&runs)[1]);
    assert_eq!(lost_events(&found), [(1, 1)]);
}

#[test]
fn what_is_missing_is_said_in_words() {
    let (mut capture, _) = capture();
    let block = event_blocks(&capture)[1].clone();
    capture[block.start + 40] ^= 1;
    let found = read(&capture).unwrap();
    let expected = format!(
        "events 7 to 12 are missing: {} bytes at offset {} are damaged",
        block.len(),
        block.start
    );
    assert_eq!(found.damage[0].to_string(), expected);
}

#[test]
fn reading_damage_twice_reports_it_once() {
    let (mut capture, _) = capture();
    let block = event_blocks(&capture)[1].clone();
    capture[block.start + 40] ^= 1;
    let mut reader = capture_format::Reader::open(std::io::Cursor::new(capture)).unwrap();
    for _ in 0..2 {
        assert_eq!(reader.events(RunIndex(1)).filter(Result::is_err).count(), 1);
    }
    assert_eq!(reader.damage().len(), 1);
}

#[test]
fn runs_lost_with_all_their_events_are_told() {
    let runs: Vec<_> = runs(3, 1)
        .into_iter()
        .map(|(run, _)| (run, Vec::new()))
        .collect();
    let (mut capture, _) = write(&header(), &runs);
    let second = blocks(&capture)[2].bytes.clone();
    capture.drain(second);
    let found = read(&capture).unwrap();
    assert_eq!(found.runs, [&runs[0].0, &runs[2].0].map(Run::clone));
    assert!(
        found
            .damage
            .iter()
            .any(|it| it.lost == Lost::Run { index: None }),
        "{:?}",
        found.damage
    );
}

#[test]
fn a_block_that_was_put_in_twice_counts_once_and_is_told() {
    let (capture, all) = capture();
    for block in blocks(&capture) {
        let mut longer = capture.clone();
        longer.splice(
            block.bytes.end..block.bytes.end,
            capture[block.bytes.clone()].to_vec(),
        );
        let found = read(&longer).unwrap();
        assert_lost(
            &found,
            &all,
            None,
            &format!("block at {}", block.bytes.start),
        );
    }
}

#[test]
fn bytes_before_the_end_block_are_told() {
    let (mut capture, all) = capture();
    let end = blocks(&capture).pop().unwrap().bytes.start;
    capture.splice(end..end, [7; 10]);
    assert_lost(
        &read(&capture).unwrap(),
        &all,
        None,
        "between index and end",
    );
}
