//! A ring in mapped memory: given to a container, and read, as a copy of its lanes and the records in the copy.
//!
//! A record is believed only where its stamp fits its position, so whatever a payload holds, it is never taken for a
//! record. The writers go on while the copy is made; what they may have overwritten meanwhile is left out.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use agent_ebpf::wire::{
    DATA_MAX, INNER_MOST, LANE_BEGINNING, LANE_SIZE, LANE_STRIDE, LANES, LaneHeader, NAME_MAX,
    NESTED_MOST, RECORD_MAX, Record, Ring, is_first, offset_in_lane,
};
use capture_format::{BootTime, CgroupId};

use super::Left;
use crate::host;

/// Bytes of a ring's map value.
pub(super) const RING_BYTES: usize = size_of::<Ring>();
const HEADER_BYTES: usize = std::mem::offset_of!(Ring, data);
/// Bytes that a ring occupies in the kernel.
pub(super) const RING_MEMORY: u64 = RING_BYTES.next_multiple_of(4096) as u64;

/// A ring by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingId(pub(super) u32);

/// What is known of a container that runs already. Each is 0 where it is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstProcess {
    /// Its first process, in the host's pid namespace.
    pub pid: u32,
    /// Inode number of its standard output; of the eldest process's where the first one is unknown.
    pub stdout: u64,
    /// Inode number of the same process's standard error.
    pub stderr: u64,
}

/// A ring's content at one moment.
pub(super) struct Snapshot {
    pub(super) lanes: Vec<LaneCopy>,
    pub(super) assigned: BootTime,
    pub(super) compat: u64,
    pub(super) turned_away: u64,
}

/// One lane's content.
pub(super) struct LaneCopy {
    pub(super) header: LaneHeader,
    /// `head` after the copy: what lies a lane's length before it may have been overwritten while copying.
    head_after: u64,
    bytes: Vec<u8>,
}

/// A record as it lay in the ring.
pub(super) struct RawRecord<'a> {
    pub(super) head: Record,
    pub(super) name: &'a [u8],
    pub(super) data: &'a [u8],
    /// It was still being written.
    pub(super) open: bool,
    /// Records between the lane's first ones and this one were overwritten.
    pub(super) after_gap: bool,
}

/// The mapped memory of a ring, in words that the kernel may change at any time.
pub(super) fn snapshot(words: &[AtomicU64]) -> Snapshot {
    let word = |offset: usize| words[offset / 8].load(Ordering::Acquire);
    let lanes = (0..LANES)
        .map(|lane| {
            let at = lane * size_of::<LaneHeader>();
            let header = LaneHeader {
                head: word(at + std::mem::offset_of!(LaneHeader, head)),
                start: word(at + std::mem::offset_of!(LaneHeader, start)),
                records: word(at + std::mem::offset_of!(LaneHeader, records)),
                torn: word(at + std::mem::offset_of!(LaneHeader, torn)),
            };
            fence(Ordering::SeqCst);
            let bytes = copy(words, &header, HEADER_BYTES + lane * LANE_STRIDE);
            fence(Ordering::SeqCst);
            LaneCopy {
                header,
                head_after: word(at),
                bytes,
            }
        })
        .collect();
    Snapshot {
        lanes,
        assigned: BootTime(word(std::mem::offset_of!(Ring, assigned))),
        compat: word(std::mem::offset_of!(Ring, compat)),
        turned_away: word(std::mem::offset_of!(Ring, turned_away)),
    }
}

/// Starts a ring's new life for a container that runs already, as `give` of the programs' `cgroups` module does for new ones. Nobody may have the ring.
pub(super) fn give(
    words: &[AtomicU64],
    cgroup: CgroupId,
    outermost: CgroupId,
    path: &str,
    first: FirstProcess,
) {
    let word = |offset: usize| &words[offset / 8];
    for lane in 0..LANES {
        let at = lane * size_of::<LaneHeader>();
        let head = word(at + std::mem::offset_of!(LaneHeader, head)).load(Ordering::Acquire);
        word(at + std::mem::offset_of!(LaneHeader, start)).store(head, Ordering::Relaxed);
        word(at + std::mem::offset_of!(LaneHeader, records)).store(0, Ordering::Relaxed);
        word(at + std::mem::offset_of!(LaneHeader, torn)).store(0, Ordering::Relaxed);
    }
    for (offset, value) in [
        (std::mem::offset_of!(Ring, cgroup), cgroup.0),
        (std::mem::offset_of!(Ring, init), first.pid.into()),
        (std::mem::offset_of!(Ring, assigned), host::boottime().0),
        (std::mem::offset_of!(Ring, compat), 0),
        (std::mem::offset_of!(Ring, stdout), first.stdout),
        (std::mem::offset_of!(Ring, stderr), first.stderr),
        (std::mem::offset_of!(Ring, outermost), outermost.0),
        (std::mem::offset_of!(Ring, nested), 0),
        (std::mem::offset_of!(Ring, inner), 0),
        (std::mem::offset_of!(Ring, turned_away), 0),
        (std::mem::offset_of!(Ring, adopted), 1),
        (std::mem::offset_of!(Ring, run), 0),
    ] {
        word(offset).store(value, Ordering::Release);
    }
    set_path(words, path);
    word(std::mem::offset_of!(Ring, generation)).fetch_add(1, Ordering::AcqRel);
}

/// The words that have the path of the container's cgroup.
fn path_words(words: &[AtomicU64]) -> &[AtomicU64] {
    &words[std::mem::offset_of!(Ring, path) / 8..][..NAME_MAX / 8]
}

/// Writes down the path of the container's cgroup, cut as the programs cut it.
fn set_path(words: &[AtomicU64], path: &str) {
    let mut bytes = [0; NAME_MAX];
    let length = path.len().min(NAME_MAX - 1);
    bytes[..length].copy_from_slice(&path.as_bytes()[..length]);
    for (word, bytes) in path_words(words).iter().zip(bytes.as_chunks::<8>().0) {
        word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
}

/// The path of the container's cgroup.
fn path(words: &[AtomicU64]) -> String {
    let words = path_words(words).iter();
    let bytes: Vec<u8> = words
        .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
        .take_while(|byte| *byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a ring says of the container that has it.
pub(super) fn left(words: &[AtomicU64], cgroup: CgroupId, ring: RingId) -> Left {
    let word = |offset: usize| words[offset / 8].load(Ordering::Acquire);
    Left {
        cgroup,
        ring,
        outermost: outermost(words),
        path: path(words),
        since: BootTime(word(std::mem::offset_of!(Ring, assigned))),
        first: first(words),
        was_adopted: word(std::mem::offset_of!(Ring, adopted)) != 0,
        run: u32::try_from(word(std::mem::offset_of!(Ring, run)))
            .ok()
            .filter(|run| *run != 0),
    }
}

/// Writes down the number of the run, for the next recorder.
pub(super) fn set_run(words: &[AtomicU64], run: u32) {
    words[std::mem::offset_of!(Ring, run) / 8].store(run.into(), Ordering::Release);
}

/// The first process of the container that has the ring; 0 if unknown.
pub(super) fn first(words: &[AtomicU64]) -> u32 {
    words[std::mem::offset_of!(Ring, init) / 8].load(Ordering::Acquire) as u32
}

/// What a ring counts of the cgroups inside its container; see [`Ring`].
#[derive(Clone, Copy)]
pub(super) enum Count {
    Nested,
    Inner,
    TurnedAway,
}

impl Count {
    /// How many there may be.
    fn most(self) -> u64 {
        match self {
            Self::Nested => NESTED_MOST,
            Self::Inner => INNER_MOST,
            Self::TurnedAway => u64::MAX,
        }
    }

    fn word(self, words: &[AtomicU64]) -> &AtomicU64 {
        let offset = match self {
            Self::Nested => std::mem::offset_of!(Ring, nested),
            Self::Inner => std::mem::offset_of!(Ring, inner),
            Self::TurnedAway => std::mem::offset_of!(Ring, turned_away),
        };
        &words[offset / 8]
    }

    pub(super) fn get(self, words: &[AtomicU64]) -> u64 {
        self.word(words).load(Ordering::Acquire)
    }

    /// Counts one more. Returns how many there were before; none if there are as many as there may be.
    pub(super) fn take(self, words: &[AtomicU64]) -> Option<u64> {
        let word = self.word(words);
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < self.most()).then_some(count + 1)
        })
        .ok()
    }

    /// Counts one less.
    pub(super) fn give_back(self, words: &[AtomicU64]) {
        let word = self.word(words);
        let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            count.checked_sub(1)
        });
    }
}

/// The cgroup of the outermost container around the one that has the ring, or its own.
pub(super) fn outermost(words: &[AtomicU64]) -> CgroupId {
    let word = &words[std::mem::offset_of!(Ring, outermost) / 8];
    CgroupId(word.load(Ordering::Acquire))
}

/// Copies a lane, or nothing of one that was not written to.
fn copy(words: &[AtomicU64], header: &LaneHeader, at: usize) -> Vec<u8> {
    if header.head == header.start {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(LANE_STRIDE);
    for word in &words[at / 8..(at + LANE_STRIDE) / 8] {
        bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    bytes
}

impl LaneCopy {
    /// The lane's records, oldest first: the first ones, which nothing overwrites, and the newest ones.
    pub(super) fn records(&self, key: u64) -> impl Iterator<Item = RawRecord<'_>> {
        let first_end = self.header.start + LANE_BEGINNING as u64;
        let oldest = self.overwritten_before();
        let mut position = self.header.start;
        let mut after_gap = false;
        std::iter::from_fn(move || {
            while position < self.header.head {
                if let Some(oldest) = oldest
                    && (first_end..oldest).contains(&position)
                {
                    position = oldest;
                    after_gap = true;
                }
                let Some(mut record) = self.record(position, key) else {
                    position += 16;
                    continue;
                };
                let end = position + u64::from(record.head.units) * 16;
                let is_cut = oldest.is_some() && position < first_end && end > first_end;
                position = end;
                if !is_cut {
                    record.after_gap = std::mem::take(&mut after_gap);
                    return Some(record);
                }
            }
            None
        })
    }

    /// The position from which on nothing was overwritten, if anything was.
    fn overwritten_before(&self) -> Option<u64> {
        /// Writers that have moved the head may not have written their stamp yet: one record of each of some CPUs.
        const MARGIN: u64 = 2 * RECORD_MAX as u64;
        let later = self.header.start + LANE_BEGINNING as u64;
        let oldest = (self.head_after + MARGIN).checked_sub(LANE_SIZE as u64)?;
        (oldest > later).then(|| oldest.next_multiple_of(16))
    }

    fn record(&self, position: u64, key: u64) -> Option<RawRecord<'_>> {
        const HEAD: usize = size_of::<Record>();
        let since_start = position - self.header.start;
        let offset = offset_in_lane(since_start, is_first(since_start));
        let bytes = self.bytes.get(usize::try_from(offset).ok()?..)?;
        let stamp = position ^ key;
        let found = u64_at(bytes, 0)?;
        if found != stamp && found != !stamp {
            return None;
        }
        let head = read_head(bytes)?;
        let (name_len, data_len) = (usize::from(head.name_len), usize::from(head.data_len));
        let whole = usize::from(head.units) * 16;
        if whole < HEAD
            || whole > RECORD_MAX.next_multiple_of(16)
            || name_len > NAME_MAX
            || data_len > DATA_MAX
            || HEAD + name_len + data_len > whole
        {
            return None;
        }
        let name = bytes.get(HEAD..HEAD + name_len)?;
        let data = bytes.get(HEAD + name_len..HEAD + name_len + data_len)?;
        Some(RawRecord {
            head,
            name,
            data,
            open: found != stamp,
            after_gap: false,
        })
    }
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes
        .get(offset..offset + 8)?
        .try_into()
        .ok()
        .map(u64::from_ne_bytes)
}

/// Reads the fields where `Record` has them, in the byte order of this machine: the kernel wrote them here.
fn read_head(bytes: &[u8]) -> Option<Record> {
    macro_rules! field {
        ($name:ident: $type:ty) => {{
            const AT: usize = std::mem::offset_of!(Record, $name);
            <$type>::from_ne_bytes(bytes.get(AT..AT + size_of::<$type>())?.try_into().ok()?)
        }};
    }
    Some(Record {
        stamp: field!(stamp: u64),
        units: field!(units: u16),
        kind: field!(kind: u16),
        name_len: field!(name_len: u16),
        data_len: field!(data_len: u16),
        time: field!(time: u64),
        tgid: field!(tgid: u32),
        tid: field!(tid: u32),
        ret: field!(ret: i64),
        arg0: field!(arg0: i32),
        flags: field!(flags: u8),
        fd_type: field!(fd_type: u8),
        reserved: field!(reserved: u16),
        arg1: field!(arg1: u64),
        arg2: field!(arg2: u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0x1234_5678_9abc_def1;

    /// A lane as the programs write it.
    struct Lane {
        bytes: Vec<u8>,
        head: u64,
        start: u64,
        records: u64,
    }

    impl Lane {
        fn new(start: u64) -> Self {
            Self {
                bytes: vec![0; LANE_STRIDE],
                head: start,
                start,
                records: 0,
            }
        }

        fn write(&mut self, kind: u16, data: &[u8]) {
            let whole = (64 + data.len()).next_multiple_of(16);
            let since_start = self.head - self.start;
            let at = offset_in_lane(since_start, is_first(since_start)) as usize;
            let record = &mut self.bytes[at..at + whole];
            record.fill(0);
            record[..8].copy_from_slice(&(self.head ^ KEY).to_ne_bytes());
            record[8..10].copy_from_slice(&((whole / 16) as u16).to_ne_bytes());
            record[10..12].copy_from_slice(&kind.to_ne_bytes());
            record[14..16].copy_from_slice(&(data.len() as u16).to_ne_bytes());
            record[64..64 + data.len()].copy_from_slice(data);
            self.head += whole as u64;
            self.records += 1;
        }

        fn copy(self) -> LaneCopy {
            let header = LaneHeader {
                head: self.head,
                start: self.start,
                records: self.records,
                torn: 0,
            };
            LaneCopy {
                header,
                head_after: self.head,
                bytes: self.bytes,
            }
        }
    }

    #[test]
    fn reads_what_was_written_since_the_ring_was_given() {
        let mut lane = Lane::new(4096);
        lane.write(1, b"first");
        lane.write(2, b"");
        let copy = lane.copy();
        let found: Vec<_> = copy
            .records(KEY)
            .map(|record| (record.head.kind, record.data.to_vec()))
            .collect();
        assert_eq!(found, [(1, b"first".to_vec()), (2, vec![])]);
    }

    #[test]
    fn after_many_laps_the_first_records_and_the_newest_ones_are_there_in_order() {
        for start in [0, 4096, 131_056] {
            let mut lane = Lane::new(start);
            for number in 0..20_000u32 {
                lane.write(7, &vec![number as u8; (number % 300) as usize]);
            }
            let copy = lane.copy();
            let found: Vec<(usize, bool)> = copy
                .records(KEY)
                .map(|record| (record.data.len(), record.after_gap))
                .collect();
            let gaps: Vec<usize> = (0..found.len()).filter(|at| found[*at].1).collect();
            let &[first] = gaps.as_slice() else {
                panic!("{gaps:?}");
            };
            let newest = found.len() - first;
            assert!(first > 60 && newest > 400, "{first}, {newest}");
            let expected: Vec<usize> = (0..first)
                .chain(20_000 - newest..20_000)
                .map(|number| number % 300)
                .collect();
            let lengths: Vec<usize> = found.iter().map(|(length, _)| *length).collect();
            assert_eq!(lengths, expected);
        }
    }

    #[test]
    fn a_lane_that_is_just_full_has_no_gap() {
        let mut lane = Lane::new(4096);
        while lane.head - lane.start < (LANE_BEGINNING + LANE_SIZE / 2) as u64 {
            lane.write(7, &[1; 1000]);
        }
        let written = lane.records as usize;
        let copy = lane.copy();
        assert_eq!(copy.records(KEY).count(), written);
        assert!(copy.records(KEY).all(|record| !record.after_gap));
    }

    #[test]
    fn a_first_record_whose_end_was_overwritten_is_left_out() {
        let mut lane = Lane::new(0);
        while (lane.head as usize) < LANE_BEGINNING - 64 {
            lane.write(1, b"");
        }
        lane.write(2, &[7; 1000]);
        for _ in 0..4_000 {
            lane.write(3, b"");
        }
        let copy = lane.copy();
        let kinds: Vec<u16> = copy.records(KEY).map(|record| record.head.kind).collect();
        assert!(kinds.contains(&1) && !kinds.contains(&2) && kinds.contains(&3));
    }

    #[test]
    fn a_payload_that_imitates_a_record_is_not_believed() {
        let mut lane = Lane::new(0);
        // The right layout for its position, but without the key.
        let mut forged = vec![0; 64];
        forged[..8].copy_from_slice(&64u64.to_ne_bytes());
        forged[8..10].copy_from_slice(&4u16.to_ne_bytes());
        lane.write(1, &forged);
        let mut copy = lane.copy();
        copy.bytes[..8].fill(0xee); // The true record's stamp is lost, so the reader looks for the next one.
        assert_eq!(copy.records(KEY).count(), 0);
    }

    #[test]
    fn a_record_being_written_is_marked() {
        let mut lane = Lane::new(0);
        lane.write(1, b"x");
        let mut copy = lane.copy();
        let stamp = !(KEY);
        copy.bytes[..8].copy_from_slice(&stamp.to_ne_bytes());
        assert!(copy.records(KEY).next().unwrap().open);
    }

    #[test]
    fn a_ring_says_whose_it_is() {
        let words: Vec<AtomicU64> = (0..HEADER_BYTES / 8).map(|_| AtomicU64::new(7)).collect();
        for length in [0, 5, 8, 511, 700] {
            let given = format!("/{}", "x".repeat(length));
            let process = FirstProcess {
                pid: 12,
                ..FirstProcess::default()
            };
            give(&words, CgroupId(3), CgroupId(2), &given, process);
            let left = left(&words, CgroupId(3), RingId(1));
            assert_eq!(left.path, given[..given.len().min(511)]);
            let said = (left.outermost, left.first, left.was_adopted, left.run);
            assert_eq!(said, (CgroupId(2), 12, true, None));
            set_run(&words, 4);
            assert_eq!(super::left(&words, CgroupId(3), RingId(1)).run, Some(4));
        }
    }

    #[test]
    fn damaged_lengths_never_reach_outside() {
        let mut lane = Lane::new(0);
        lane.write(1, b"abc");
        lane.write(2, b"def");
        let mut copy = lane.copy();
        copy.bytes[14..16].copy_from_slice(&u16::MAX.to_ne_bytes());
        let kinds: Vec<u16> = copy.records(KEY).map(|record| record.head.kind).collect();
        assert_eq!(kinds, [2]);
    }
}
