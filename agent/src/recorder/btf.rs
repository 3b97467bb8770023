//! The running kernel's BTF: offsets of structure members, and arguments of tracepoints.
//!
//! The format is specified in Documentation/bpf/btf.rst of the kernel. aya reads BTF too, but does not offer offsets
//! of members.

use std::collections::HashMap;

/// A parsed BTF blob.
pub(super) struct Btf {
    data: Vec<u8>,
    /// Start of each type; index 0 is `void`.
    types: Vec<usize>,
    strings: usize,
    by_name: HashMap<String, Vec<u32>>,
}

/// Why a blob cannot be read as BTF.
#[derive(Debug, thiserror::Error)]
pub(super) enum BtfError {
    /// The blob is too short, or offsets point outside of it.
    #[error("the BTF data ends too early, at byte {0}")]
    Truncated(usize),
    /// The blob is not BTF, or has the other byte order.
    #[error("no BTF: the magic number is {0:#06x}, not 0xeb9f")]
    Magic(u16),
    /// The blob has a kind of type that this program does not know.
    #[error("BTF kind {0} is newer than this program")]
    Kind(u32),
}

/// Types that are nested deeper than this are damaged.
const MAX_DEPTH: u32 = 32;

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

impl Btf {
    /// Parses a blob such as /sys/kernel/btf/vmlinux.
    pub(super) fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let magic = data.get(..2).ok_or(BtfError::Truncated(0))?;
        let magic = u16::from_le_bytes([magic[0], magic[1]]);
        if magic != 0xeb9f {
            return Err(BtfError::Magic(magic));
        }
        let mut btf = Self {
            data,
            types: vec![0],
            strings: 0,
            by_name: HashMap::new(),
        };
        let header = btf.word(4)? as usize;
        let (type_offset, type_length) = (btf.word(8)? as usize, btf.word(12)? as usize);
        btf.strings = header + btf.word(16)? as usize;
        let mut at = header + type_offset;
        let end = at + type_length;
        while at < end {
            let info = btf.word(at + 4)?;
            let count = (info & 0xffff) as usize;
            let id = btf.types.len() as u32;
            btf.types.push(at);
            let name = btf.string(btf.word(at)?)?.to_owned();
            if !name.is_empty() {
                btf.by_name.entry(name).or_default().push(id);
            }
            at += 12
                + match info >> 24 & 31 {
                    kind::INT | kind::VAR | kind::DECL_TAG => 4,
                    kind::ARRAY => 12,
                    kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
                    kind::ENUM | kind::FUNC_PROTO => count * 8,
                    0..=kind::TYPE_TAG => 0,
                    newer => return Err(BtfError::Kind(newer)),
                };
        }
        Ok(btf)
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        let bytes = self.data.get(at..at + 4).ok_or(BtfError::Truncated(at))?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn string(&self, offset: u32) -> Result<&str, BtfError> {
        let start = self.strings + offset as usize;
        let bytes = self.data.get(start..).ok_or(BtfError::Truncated(start))?;
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(BtfError::Truncated(start))?;
        Ok(std::str::from_utf8(&bytes[..end]).unwrap_or_default())
    }

    fn at(&self, id: u32) -> Option<usize> {
        self.types.get(id as usize).copied().filter(|_| id != 0)
    }

    fn kind(&self, id: u32) -> Option<u32> {
        Some(self.word(self.at(id)? + 4).ok()? >> 24 & 31)
    }

    fn find(&self, name: &str, kinds: &[u32]) -> Option<u32> {
        let ids = self.by_name.get(name)?;
        ids.iter()
            .copied()
            .find(|id| self.kind(*id).is_some_and(|kind| kinds.contains(&kind)))
    }

    /// The structure behind typedefs and qualifiers.
    fn strip(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_DEPTH {
            match self.kind(id)? {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = self.word(self.at(id)? + 8).ok()?;
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Offset in bytes and type of a member; members of anonymous structures are found, too.
    fn member(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        if depth == MAX_DEPTH {
            return None;
        }
        let at = self.at(id)?;
        let info = self.word(at + 4).ok()?;
        for index in 0..(info & 0xffff) as usize {
            let member = at + 12 + index * 12;
            let (member_name, member_type) = (self.word(member).ok()?, self.word(member + 4).ok()?);
            let bits = self.word(member + 8).ok()?;
            // If the kind flag is set, the upper byte is the size of a bit field.
            let offset = if info >> 31 == 0 {
                bits
            } else {
                bits & 0xff_ffff
            } / 8;
            if self.string(member_name).ok()? == name {
                return Some((offset, member_type));
            }
            if member_name == 0
                && let Some((inner, inner_type)) =
                    self.member(self.strip(member_type)?, name, depth + 1)
            {
                return Some((offset + inner, inner_type));
            }
        }
        None
    }

    /// Offset in bytes of a member; `path` may go through named members, as in `f_path.dentry`.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = self.find(structure, &[kind::STRUCT, kind::UNION])?;
        let mut offset = 0;
        for name in path.split('.') {
            let (inner, member_type) = self.member(self.strip(id)?, name, 0)?;
            offset += inner;
            id = member_type;
        }
        Some(offset)
    }

    /// The value of an enumerator.
    pub(super) fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let at = self.at(self.find(enumeration, &[kind::ENUM])?)?;
        let count = self.word(at + 4).ok()? & 0xffff;
        (0..count as usize).find_map(|index| {
            let member = at + 12 + index * 8;
            let is_it = self.string(self.word(member).ok()?).ok()? == name;
            is_it.then(|| self.word(member + 4).ok())?
        })
    }

    /// Whether a typedef with this name exists.
    pub(super) fn has_typedef(&self, name: &str) -> bool {
        self.find(name, &[kind::TYPEDEF]).is_some()
    }

    /// Whether the first argument of a tracepoint is a pointer; `None` if the tracepoint does not exist.
    pub(super) fn first_argument_is_pointer(&self, tracepoint: &str) -> Option<bool> {
        // typedef void (*btf_trace_NAME)(void *, ARGUMENTS…)
        let typedef = self.find(&format!("btf_trace_{tracepoint}"), &[kind::TYPEDEF])?;
        let pointer = self.word(self.at(typedef)? + 8).ok()?;
        let prototype = self.at(self.word(self.at(pointer)? + 8).ok()?)?;
        if self.word(prototype + 4).ok()? & 0xffff < 2 {
            return None;
        }
        let first = self.word(prototype + 12 + 8 + 4).ok()?;
        Some(self.kind(self.strip(first)?)? == kind::PTR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A builder of small BTF blobs.
    #[derive(Default)]
    struct Blob {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Blob {
        fn name(&mut self, name: &str) -> u32 {
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            if name.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend_from_slice(name.as_bytes());
            self.strings.push(0);
            at
        }

        fn words(&mut self, words: &[u32]) {
            self.types
                .extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }

        fn structure(&mut self, name: &str, members: &[(&str, u32, u32)]) {
            let name = self.name(name);
            self.words(&[name, kind::STRUCT << 24 | members.len() as u32, 64]);
            for (member, member_type, offset) in members {
                let member = self.name(member);
                self.words(&[member, *member_type, offset * 8]);
            }
        }

        fn build(self) -> Vec<u8> {
            let mut data = vec![0x9f, 0xeb, 1, 0];
            for word in [
                24,
                0,
                self.types.len() as u32,
                self.types.len() as u32,
                self.strings.len() as u32,
            ] {
                data.extend_from_slice(&word.to_le_bytes());
            }
            data.extend(self.types);
            data.extend(self.strings);
            data
        }
    }

    fn sample() -> Vec<u8> {
        let mut blob = Blob::default();
        let long = blob.name("long");
        blob.words(&[long, kind::INT << 24, 8, 64]); // 1
        blob.structure("path", &[("mnt", 1, 0), ("dentry", 1, 8)]); // 2
        blob.structure("", &[("f_inode", 1, 8)]); // 3
        blob.structure("file", &[("f_path", 2, 16), ("", 3, 32)]); // 4
        let [name, cpu, memory] =
            ["cgroup_subsys_id", "cpu_cgrp_id", "memory_cgrp_id"].map(|name| blob.name(name));
        blob.words(&[name, kind::ENUM << 24 | 2, 4, cpu, 1, memory, 4]); // 5
        blob.build()
    }

    #[test]
    fn finds_members_through_named_and_anonymous_ones() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.offset("file", "f_path.dentry"), Some(24));
        assert_eq!(btf.offset("file", "f_inode"), Some(40));
        assert_eq!(btf.offset("file", "f_owner"), None);
        assert_eq!(btf.offset("inode", "i_ino"), None);
    }

    #[test]
    fn finds_enumerators() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(
            btf.enumerator("cgroup_subsys_id", "memory_cgrp_id"),
            Some(4)
        );
        assert_eq!(btf.enumerator("cgroup_subsys_id", "pids_cgrp_id"), None);
        assert_eq!(btf.enumerator("file", "memory_cgrp_id"), None);
    }

    #[test]
    fn damaged_blobs_are_errors_never_panics() {
        let good = sample();
        for length in 0..good.len() {
            let _ = Btf::parse(good[..length].to_vec());
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            if let Ok(btf) = Btf::parse(bad) {
                let _ = btf.offset("file", "f_path.dentry");
                let _ = btf.enumerator("cgroup_subsys_id", "memory_cgrp_id");
            }
        }
        assert!(matches!(
            Btf::parse(b"\x7fELF".to_vec()),
            Err(BtfError::Magic(_))
        ));
    }
}
