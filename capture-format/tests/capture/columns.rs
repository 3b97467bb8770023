//! Reading blocks column by column gives the same events and reports the same damage as reading them one after the
//! other. [`compare`] checks this for every capture that any of these tests reads.

use std::io::Cursor;

use capture_format::{
    Columns, Damage, DamageCause, Event, EventBlock, EventKind, NumberedEvent, Part, Reader,
    RunIndex,
};

use crate::captures::{block, blocks, header, runs, write};

/// The columns. Columns that need others come before those.
const ONE_BY_ONE: [Columns; 10] = [
    Columns::DATA,
    Columns::TID,
    Columns::NAME,
    Columns::ARGS,
    Columns::RET,
    Columns::KIND,
    Columns::PID,
    Columns::FD_TYPE,
    Columns::FLAGS,
    Columns::TIME,
];

/// Panics unless the events of each run, read block by block, are `events`, with `missing` between them.
pub(crate) fn compare(bytes: &[u8], events: &[Vec<NumberedEvent>], missing: &[Vec<Damage>]) {
    let mut reader = Reader::open(Cursor::new(bytes)).unwrap();
    let mut block = EventBlock::default();
    for run in reader.indexes() {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for part in 0.. {
            let expected = match reader.part(run, part) {
                Some(Part::Block(summary)) => Some(summary.clone()),
                _ => None,
            };
            match reader.open_block(run, part, &mut block) {
                None => break,
                Some(Ok(())) => {
                    assert_eq!(Some(block.summary()), expected.as_ref());
                    rows(&mut block, &mut good, &mut bad);
                }
                Some(Err(damage)) => {
                    assert_eq!(block.summary().count, 0);
                    bad.push(damage);
                }
            }
        }
        assert_eq!(good, events[run.0], "{run:?}");
        assert_eq!(bad, missing[run.0], "{run:?}");
    }
}

fn rows(block: &mut EventBlock, good: &mut Vec<NumberedEvent>, bad: &mut Vec<Damage>) {
    for columns in ONE_BY_ONE {
        if let Err(damage) = block.load(columns) {
            return bad.push(damage);
        }
    }
    for row in 0..block.summary().count as usize {
        let event = match block.event(row) {
            Ok(event) => event,
            Err(damage) => {
                assert_eq!(row, block.readable());
                return bad.push(damage);
            }
        };
        assert_eq!(
            by_columns(block, row),
            Event {
                data: Default::default(),
                ..event.clone()
            }
        );
        assert!(block.summary().kinds.contains(&event.kind));
        assert!(block.summary().pids.contains(&event.pid));
        good.push(NumberedEvent {
            number: block.number(row),
            event,
        });
    }
}

/// All of an event except its payload.
fn by_columns(block: &EventBlock, row: usize) -> Event {
    Event {
        time: block.times()[row],
        pid: block.pids()[row],
        tid: block.tids()[row],
        kind: block.kinds()[row],
        flags: block.flags()[row],
        fd_type: block.fd_types()[row],
        ret: block.rets()[row],
        args: block.args().map(|values| values[row]),
        name: block.name(row).to_vec().into(),
        data: Default::default(),
    }
}

#[test]
fn a_column_is_decoded_when_it_is_asked_for() {
    let (capture, _) = write(&header(), &runs(1, 5));
    let mut reader = Reader::open(Cursor::new(capture)).unwrap();
    let mut block = EventBlock::default();
    reader
        .open_block(RunIndex(0), 0, &mut block)
        .unwrap()
        .unwrap();
    assert_eq!((block.kinds(), block.rets()), (&[][..], &[][..]));
    assert_eq!(block.name(0), b"");
    block.load(Columns::KIND).unwrap();
    assert_eq!((block.kinds().len(), block.rets().len()), (5, 0));
    assert!(reader.open_block(RunIndex(0), 1, &mut block).is_none());
    assert!(reader.open_block(RunIndex(1), 0, &mut block).is_none());
    assert_eq!(reader.part(RunIndex(0), 1), None);
}

/// A payload that cannot be decompressed matters only to those who ask for it.
#[test]
fn what_is_not_asked_for_is_not_decompressed() {
    let (capture, _) = write(&header(), &runs(1, 3));
    let mut payload = vec![36, 0, 0, 0];
    payload.extend([0; 4]);
    payload.extend(3u32.to_le_bytes());
    payload.extend(1u64.to_le_bytes());
    payload.extend([0; 16]);
    payload.extend([1, 9, 1, 1]);
    payload.extend([1, 14, 1, 9, 4]);
    payload.extend(b"junk");
    let mut hostile = capture[..blocks(&capture)[2].bytes.start].to_vec();
    hostile.extend(block(&capture, 2, 3, 1, &payload));
    hostile.extend(block(&capture, 3, 5, 1, &[0; 16]));
    let mut reader = Reader::open(Cursor::new(hostile)).unwrap();
    let mut block = EventBlock::default();
    reader
        .open_block(RunIndex(0), 0, &mut block)
        .unwrap()
        .unwrap();
    block.load(Columns::KIND | Columns::TID).unwrap();
    assert_eq!(block.kinds(), [EventKind(9); 3]);
    let damage = block.event(1).unwrap_err();
    assert_eq!(
        damage.cause,
        DamageCause::Malformed("a column does not decompress")
    );
    assert!(!reader.damage().contains(&damage));
    reader.note(&damage);
    reader.note(&damage);
    let noted = reader.damage().iter().filter(|it| **it == damage);
    assert_eq!(noted.count(), 1);
}
