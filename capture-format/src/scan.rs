//! Finding the blocks of a capture: by its index, or, if the index is not whole, by walking through the file.

use std::io::{self, Read, Seek};

use crate::block::EventBlock;
use crate::index::{self, Block, Content};
use crate::layout::{
    BLOCK_HEADER_SIZE, BlockHeader, BlockType, End, FOOTER_SIZE, PREAMBLE_SIZE, RunSummary,
};
use crate::source::Source;

/// The capture's blocks according to its index; `None` if the end block or the index is damaged, or does not match this
/// file.
pub(crate) fn by_index<R: Read + Seek>(
    source: &mut Source<R>,
    capture_id: u32,
) -> io::Result<Option<Vec<Block>>> {
    let size = source.size();
    let Some(footer) = size.checked_sub(FOOTER_SIZE as u64) else {
        return Ok(None);
    };
    let Some(end_block) = block_at(source, footer, capture_id, BlockType::END)? else {
        return Ok(None);
    };
    let Some(end) = End::decode(&end_block.1) else {
        return Ok(None);
    };
    let Some(index_block) = block_at(source, end.index_offset, capture_id, BlockType::INDEX)?
    else {
        return Ok(None);
    };
    let Some((mut blocks, indexed)) = index::parse(&index_block.1) else {
        return Ok(None);
    };
    if indexed != end.index_offset {
        return Ok(None);
    }
    let next = index::next_event(&blocks);
    for (offset, header, content) in [
        (end.index_offset, index_block.0, Content::Index { next }),
        (footer, end_block.0, Content::End { events: end.events }),
    ] {
        blocks.push(block(offset, &header, content));
    }
    Ok(Some(blocks))
}

/// Header and payload of the block at `offset`, if there is one of this kind.
fn block_at<R: Read + Seek>(
    source: &mut Source<R>,
    offset: u64,
    capture_id: u32,
    kind: BlockType,
) -> io::Result<Option<(BlockHeader, Vec<u8>)>> {
    let Some(header) = source.block_header(offset)? else {
        return Ok(None);
    };
    if (header.capture_id, header.kind) != (capture_id, kind) {
        return Ok(None);
    }
    Ok(source
        .payload(offset, &header)?
        .map(|payload| (header, payload)))
}

fn block(offset: u64, header: &BlockHeader, content: Content) -> Block {
    let BlockHeader {
        sequence,
        kind,
        flags,
        length,
        ..
    } = *header;
    Block {
        offset,
        sequence,
        kind,
        flags,
        length,
        content,
    }
}

/// Every undamaged block of the file, from front to back. Without a capture id, the id of the first block is used.
///
/// A block follows another one, or is found by its marker. Blocks of other captures are recognised by the capture id
/// (the events of a container that writes captures contain such blocks), repeated blocks by their sequence number.
pub(crate) fn by_walking<R: Read + Seek>(
    source: &mut Source<R>,
    mut capture_id: Option<u32>,
) -> io::Result<Vec<Block>> {
    let size = source.size();
    let mut blocks: Vec<Block> = Vec::new();
    let mut offset = PREAMBLE_SIZE as u64;
    // A file made of headers that claim large payloads must not make the reader read each of them. Bytes of damaged
    // blocks may be read again when the search goes on inside them, but in all no more than the size of the file.
    let mut budget = size;
    while offset < size {
        let next_sequence = blocks
            .last()
            .map_or(0, |block| u64::from(block.sequence) + 1);
        let wanted = |header: &BlockHeader| {
            capture_id.is_none_or(|id| id == header.capture_id)
                && u64::from(header.sequence) >= next_sequence
        };
        let Some(header) = source.block_header(offset)?.filter(&wanted) else {
            match source.find(offset + 1, wanted)? {
                Some(found) => offset = found,
                None => break,
            }
            continue;
        };
        let end = offset + header.size();
        if let Some(payload) = source.payload(offset, &header)? {
            capture_id = Some(header.capture_id);
            blocks.push(block(offset, &header, content(header.kind, &payload)));
            offset = end;
        } else if end > size {
            offset += BLOCK_HEADER_SIZE as u64;
        } else if let Some(left) = budget.checked_sub(header.size()) {
            budget = left;
            offset += BLOCK_HEADER_SIZE as u64;
        } else {
            offset = end;
        }
    }
    Ok(blocks)
}

fn content(kind: BlockType, mut payload: &[u8]) -> Content {
    match kind {
        BlockType::HEADER => Content::Header,
        BlockType::RUN => RunSummary::decode(&mut payload).map_or(
            Content::Malformed("it is too short for a run"),
            Content::Run,
        ),
        BlockType::EVENTS => EventBlock::summary_of(&mut payload).map_or(
            Content::Malformed("its summary is senseless"),
            Content::Events,
        ),
        BlockType::INDEX => index::parse(payload).map_or(
            Content::Malformed("the index is senseless"),
            |(blocks, _)| Content::Index {
                next: index::next_event(&blocks),
            },
        ),
        BlockType::END => End::decode(payload)
            .map_or(Content::Malformed("the end block is too short"), |end| {
                Content::End { events: end.events }
            }),
        _ => Content::Unknown,
    }
}
