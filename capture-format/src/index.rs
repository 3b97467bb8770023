//! The index: the length and the summary of every block, so that a reader need not touch the blocks that it skips.

use crate::block::BlockSummary;
use crate::layout::{
    BLOCK_HEADER_SIZE, BlockHeader, BlockType, PREAMBLE_SIZE, RunSummary, take_bytes, take_u16,
    take_u32,
};

/// A block of the capture, as the index or the block itself describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) offset: u64,
    pub(crate) sequence: u32,
    pub(crate) kind: BlockType,
    pub(crate) flags: u16,
    pub(crate) length: u32,
    pub(crate) content: Content,
}

/// What a block contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Header,
    Run(RunSummary),
    Events(BlockSummary),
    /// For the index: number of the event after the last one.
    Index {
        next: u64,
    },
    /// For the end block: number of events.
    End {
        events: u64,
    },
    /// A type that this version does not know.
    Unknown,
    /// The checksum is right, but the content is not.
    Malformed(&'static str),
}

impl Block {
    /// End of the block in the file.
    pub(crate) fn end(&self) -> u64 {
        self.offset + BLOCK_HEADER_SIZE as u64 + u64::from(self.length)
    }

    /// Whether `header` belongs to this block.
    pub(crate) fn matches(&self, header: &BlockHeader) -> bool {
        (self.sequence, self.kind, self.length) == (header.sequence, header.kind, header.length)
    }
}

/// Adds a block to an index.
pub(crate) fn append(index: &mut Vec<u8>, header: &BlockHeader, summary: &[u8]) {
    index.extend_from_slice(&header.kind.0.to_le_bytes());
    index.extend_from_slice(&header.flags.to_le_bytes());
    index.extend_from_slice(&header.length.to_le_bytes());
    index.extend_from_slice(&(summary.len() as u32).to_le_bytes());
    index.extend_from_slice(summary);
}

/// The blocks of an index, each directly after the one before, and the end of the last one.
pub(crate) fn parse(mut payload: &[u8]) -> Option<(Vec<Block>, u64)> {
    let rest = &mut payload;
    let mut blocks = Vec::new();
    let mut offset = PREAMBLE_SIZE as u64;
    while !rest.is_empty() {
        let kind = BlockType(take_u16(rest)?);
        let flags = take_u16(rest)?;
        let length = take_u32(rest)?;
        let size = take_u32(rest)?;
        let mut summary = take_bytes(rest, size as usize)?;
        let content = match kind {
            BlockType::HEADER => Content::Header,
            BlockType::RUN => Content::Run(RunSummary::decode(&mut summary)?),
            BlockType::EVENTS => Content::Events(BlockSummary::decode(summary)?),
            _ => Content::Unknown,
        };
        let sequence = u32::try_from(blocks.len()).ok()?;
        let block = Block {
            offset,
            sequence,
            kind,
            flags,
            length,
            content,
        };
        offset = block.end();
        blocks.push(block);
    }
    Some((blocks, offset))
}

/// Number of the event after the last one of these blocks.
pub(crate) fn next_event(blocks: &[Block]) -> u64 {
    let next = |block: &Block| match &block.content {
        Content::Run(run) => run.first,
        Content::Events(events) => events.next(),
        _ => 1,
    };
    blocks.iter().map(next).max().unwrap_or(1)
}
