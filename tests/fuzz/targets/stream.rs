//! The check of a stream's node: what it accepts can be read from both ends, changed and checked
//! again.
//!
//! Input: the sixteen bytes of the id that the node stands under, then the node.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringstone::value::stream::{Bound, Id, NodeMax, Stream, Trim, Wish, check_node};

/// The ids of all entries, and how many texts they hold.
fn read(stream: &Stream) -> (Vec<Id>, usize) {
    let all = || stream.range(Id::MIN, Id::MAX);
    let ids: Vec<Id> = all().map(|entry| entry.id).collect();
    assert!(all().rev().map(|entry| entry.id).eq(ids.iter().rev().copied()));
    assert_eq!(all().count_up_to(usize::MAX), ids.len());
    assert_eq!(ids.len() as u64, stream.len());
    let texts = all().map(|entry| {
        let found = entry.pairs().count();
        assert_eq!(found, entry.len());
        found
    });
    (ids, texts.sum())
}

fuzz_target!(|data: &[u8]| {
    let Some((master, bytes)) = data.split_first_chunk::<16>() else { return };
    let master = Id::from_bytes(*master);
    let Ok((node, first, last)) = check_node(master, bytes.to_vec()) else { return };
    assert!(master <= first && first <= last);
    let mut stream = Stream::default();
    stream.push_node(master, node);
    stream.restore(last, Id::MIN, stream.len());
    let (ids, _) = read(&stream);
    assert!(ids.iter().all(|id| (first..=last).contains(id)));
    for id in &ids {
        assert_eq!(stream.get(*id).map(|entry| entry.id), Some(*id));
    }
    let max = NodeMax { bytes: 0, entries: 0 };
    if let Some(id) = last.next() {
        assert_eq!(stream.add(Wish::Exactly(id), &[b"field", b"value"], max), Ok(id));
    }
    if let Some(id) = ids.get(ids.len() / 2) {
        assert!(stream.remove(*id) && !stream.remove(*id));
        stream.removed();
    }
    read(&stream);
    let half = stream.len() / 2;
    let trimmed = stream.trim(Trim { bound: Bound::Len(half), whole_nodes: false, limit: 0 });
    assert_eq!(stream.len(), half);
    assert!(trimmed.nodes.is_none());
    read(&stream);
    stream.begin_cut(1);
    let mut nodes = Vec::new();
    while !stream.cut_slice(1, &mut |piece| {
        if let ringstone::value::stream::Piece::Node(id, node) = piece {
            nodes.push((id, node.bytes().to_vec()));
        }
    }) {}
    for (id, bytes) in nodes {
        assert!(check_node(id, bytes).is_ok());
    }
});
