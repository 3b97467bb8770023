//! Variable-length integers (LEB128, as in DWARF) and zigzag, which maps small negative numbers to small ones.

/// Appends `value`, seven bits in each byte, least significant first. The top bit of a byte says that another byte
/// follows.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number from the front of `bytes`; `None` if it is cut off or needs more than 64 bits.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

/// Passes on up to `count` numbers from the front of `bytes`. It stops if a number is cut off or too large, or if
/// `pass` refuses one.
///
/// Most numbers of a column have one to three bytes, so eight bytes at once are looked at if there are as many.
pub(crate) fn for_each(mut bytes: &[u8], count: usize, mut pass: impl FnMut(u64) -> bool) {
    let mut left = count;
    while left > 0 {
        let Some(word) = bytes
            .first_chunk::<8>()
            .map(|word| u64::from_le_bytes(*word))
        else {
            break;
        };
        let ends = !word & CONTINUES;
        if ends == CONTINUES && left >= 8 {
            if !word.to_le_bytes().into_iter().all(|byte| pass(byte.into())) {
                return;
            }
            bytes = &bytes[8..];
            left -= 8;
            continue;
        }
        let value = if ends == 0 {
            match take(&mut bytes) {
                Some(value) => value,
                None => return,
            }
        } else {
            let length = ends.trailing_zeros() / 8 + 1;
            bytes = &bytes[length as usize..];
            compact(word & (u64::MAX >> (64 - 8 * length)))
        };
        if !pass(value) {
            return;
        }
        left -= 1;
    }
    for _ in 0..left {
        match take(&mut bytes) {
            Some(value) if pass(value) => {}
            _ => return,
        }
    }
}

/// The top bits of eight bytes.
const CONTINUES: u64 = 0x8080_8080_8080_8080;

/// The number in up to eight bytes of seven bits.
const fn compact(word: u64) -> u64 {
    let word = word & !CONTINUES;
    let word = (word & 0x7f00_7f00_7f00_7f00) >> 1 | (word & 0x007f_007f_007f_007f);
    let word = (word & 0x3fff_0000_3fff_0000) >> 2 | (word & 0x0000_3fff_0000_3fff);
    (word & 0x0fff_ffff_0000_0000) >> 4 | (word & 0x0fff_ffff)
}

pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [
            0,
            1,
            127,
            128,
            300,
            u64::from(u32::MAX),
            i64::MAX as u64,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(take(&mut bytes.as_slice()), Some(value));
            assert_eq!(
                take(&mut &bytes[..bytes.len() - 1]),
                None,
                "{value} cut off"
            );
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn many_at_once_are_what_they_are_one_by_one() {
        let numbers = (0..64).flat_map(|bit| [0, 1 << bit, (1 << bit) - 1, u64::MAX >> bit, 5]);
        let mut bytes = Vec::new();
        numbers
            .chain([1; 40])
            .for_each(|number| put(&mut bytes, number));
        for end in 0..=bytes.len() {
            for count in [0, 1, 7, 8, 9, 1000] {
                let (mut all, mut rest) = (Vec::new(), &bytes[..end]);
                for_each(rest, count, |number| {
                    all.push(number);
                    number != 3
                });
                let mut expected = Vec::new();
                while expected.len() < count && expected.last() != Some(&3) {
                    let Some(number) = take(&mut rest) else { break };
                    expected.push(number);
                }
                assert_eq!(all, expected, "{count} of {end} bytes");
            }
        }
        let mut all = Vec::new();
        for_each(
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
            1,
            |it| {
                all.push(it);
                true
            },
        );
        assert!(all.is_empty(), "does not fit 64 bits");
    }

    #[test]
    fn a_number_above_64_bits_is_refused() {
        let mut bytes = [0xff; 10];
        bytes[9] = 2;
        assert_eq!(take(&mut bytes.as_slice()), None);
        assert_eq!(take(&mut [0x80; 11].as_slice()), None);
    }
}
