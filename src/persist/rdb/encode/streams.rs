//! Streams: nodes, what they say of themselves, groups.
//!
//! ```text
//! stream   = nodes *(master-id(string of 16) listpack) length last-id
//!            [ first-id max-deleted-id entries-added ]          ; from version 10 on
//!            groups *group
//! group    = name last-id [ entries-read ]                      ; likewise
//!            pending *(id(16) time(8) count) consumers *consumer
//! consumer = name seen(8) [ active(8) ] pending *id(16)         ; from version 11 on
//! ```
//! What is pending stands in front of the consumers, each of which names its own; a walk meets them
//! the other way round and keeps 16 bytes of each until the group is over.

use crate::persist::rdb::encode::{Encoder, VERSION_LISTPACKS, VERSION_PACKED_SETS, put_length};
use crate::value::stream::{Consumer, Group, Id, Node, Pending, Piece, Stream};

fn put_id(out: &mut Vec<u8>, id: Id) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

/// What a stream says of itself, behind its nodes.
#[derive(Clone, Copy, Debug)]
struct Facts {
    length: u64,
    last_id: Id,
    first_id: Id,
    max_deleted: Id,
    entries_added: u64,
    groups: usize,
}

impl Encoder {
    pub(super) fn stream(&mut self, out: &mut Vec<u8>, stream: &Stream) {
        put_length(out, stream.nodes_len() as u64);
        for (id, node) in stream.nodes() {
            self.stream_node(out, id, node);
        }
        self.facts(
            out,
            Facts {
                length: stream.len(),
                last_id: stream.last_id(),
                first_id: stream.first_id(),
                max_deleted: stream.max_deleted(),
                entries_added: stream.entries_added(),
                groups: stream.groups().len(),
            },
        );
        stream.groups().iter().for_each(|(name, group)| self.group(out, name, group));
    }

    fn stream_node(&mut self, out: &mut Vec<u8>, id: Id, node: &Node) {
        self.string(out, &id.to_bytes());
        self.string(out, node.bytes());
    }

    fn facts(&mut self, out: &mut Vec<u8>, facts: Facts) {
        put_length(out, facts.length);
        put_id(out, facts.last_id);
        if self.version >= VERSION_LISTPACKS {
            put_id(out, facts.first_id);
            put_id(out, facts.max_deleted);
            put_length(out, facts.entries_added);
        }
        put_length(out, facts.groups as u64);
    }

    fn group_head(&mut self, out: &mut Vec<u8>, name: &[u8], last_id: Id, entries_read: i64) {
        self.string(out, name);
        put_id(out, last_id);
        if self.version >= VERSION_LISTPACKS {
            put_length(out, entries_read as u64);
        }
    }

    fn consumer_head(&mut self, out: &mut Vec<u8>, consumer: &Consumer) {
        self.string(out, &consumer.name);
        out.extend_from_slice(&consumer.seen.to_le_bytes());
        if self.version >= VERSION_PACKED_SETS {
            out.extend_from_slice(&consumer.active.to_le_bytes());
        }
        put_length(out, consumer.pending as u64);
    }

    fn group(&mut self, out: &mut Vec<u8>, name: &[u8], group: &Group) {
        self.group_head(out, name, group.last_id, group.entries_read);
        put_length(out, group.pending_len() as u64);
        group.pending_from(Id::MIN).for_each(|(id, pending)| put_pending(out, id, pending));
        put_length(out, group.consumers_len() as u64);
        for (number, consumer) in group.consumers() {
            self.consumer_head(out, consumer);
            for (id, _) in group.history(number, Id::MIN) {
                out.extend_from_slice(&id.to_bytes());
            }
        }
    }
}

fn put_pending(out: &mut Vec<u8>, id: Id, pending: &Pending) {
    out.extend_from_slice(&id.to_bytes());
    out.extend_from_slice(&pending.time.to_le_bytes());
    put_length(out, pending.count);
}

/// A stream that is being written piece by piece.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    facts: Option<Facts>,
    /// The consumers of the group being written, by number, and what is pending with each.
    consumers: Vec<(u64, Consumer, Vec<[u8; 16]>)>,
    in_group: bool,
    pending_begun: bool,
}

impl Pieces {
    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        let held = |ids: &Vec<[u8; 16]>| ids.capacity() * size_of::<[u8; 16]>();
        self.consumers.iter().map(|(_, consumer, ids)| consumer.name.len() + held(ids) + 80).sum()
    }

    pub(super) fn add(&mut self, encoder: &mut Encoder, out: &mut Vec<u8>, piece: Piece<'_>) {
        match piece {
            Piece::Stream {
                length,
                last_id,
                first_id,
                max_deleted,
                entries_added,
                nodes,
                groups,
            } => {
                put_length(out, nodes as u64);
                self.facts =
                    Some(Facts { length, last_id, first_id, max_deleted, entries_added, groups });
            }
            Piece::Node(id, node) => encoder.stream_node(out, id, node),
            Piece::Group { name, last_id, entries_read } => {
                self.finish(encoder, out);
                encoder.group_head(out, name, last_id, entries_read);
                self.in_group = true;
            }
            Piece::Consumer(number, consumer) => {
                self.consumers.push((number, consumer.clone(), Vec::new()));
            }
            Piece::Pending(id, pending) => {
                self.begin_pending(out);
                put_pending(out, id, pending);
                let found = self.consumers.binary_search_by_key(&pending.consumer, |c| c.0);
                debug_assert!(found.is_ok(), "whoever has it came before");
                if let Ok(found) = found {
                    self.consumers[found].2.push(id.to_bytes());
                }
            }
        }
    }

    fn begin_pending(&mut self, out: &mut Vec<u8>) {
        if !self.pending_begun {
            self.pending_begun = true;
            let pending: usize = self.consumers.iter().map(|(_, c, _)| c.pending).sum();
            put_length(out, pending as u64);
        }
    }

    /// Writes what the pieces up to here still owe: the facts behind the nodes, the consumers
    /// behind what is pending.
    pub(super) fn finish(&mut self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        if let Some(facts) = self.facts.take() {
            encoder.facts(out, facts);
        }
        if !std::mem::take(&mut self.in_group) {
            return;
        }
        self.begin_pending(out);
        self.pending_begun = false;
        let mut consumers = std::mem::take(&mut self.consumers);
        consumers.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        put_length(out, consumers.len() as u64);
        for (_, consumer, ids) in consumers {
            debug_assert_eq!(consumer.pending, ids.len());
            encoder.consumer_head(out, &consumer);
            out.extend_from_slice(ids.as_flattened());
        }
    }
}
