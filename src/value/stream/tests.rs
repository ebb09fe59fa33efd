//! Streams against plain models.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::value::listpack;

/// An entry's fields and values, as text.
type Pairs = Vec<Vec<u8>>;

fn pairs_of(entry: &EntryRef<'_>) -> Pairs {
    let mut out = Vec::new();
    for (field, value) in entry.pairs() {
        out.push(field.text(&mut itoa::Buffer::new()).to_vec());
        out.push(value.text(&mut itoa::Buffer::new()).to_vec());
    }
    out
}

fn contents(stream: &Stream) -> Vec<(Id, Pairs)> {
    stream.range(Id::MIN, Id::MAX).map(|entry| (entry.id, pairs_of(&entry))).collect()
}

/// Holds a stream to what it promises.
fn check(stream: &Stream) {
    let mut length = 0;
    let mut last = Id::MIN;
    let mut weight = 0;
    for (master, node) in stream.nodes.map() {
        weight += node.weight();
        let (checked, first, end) = check_node(*master, node.bytes().to_vec()).unwrap();
        assert_eq!(checked.live(), node.live());
        assert!(first >= *master && *master > last || last == Id::MIN);
        assert_eq!(node.last_id(*master), Some(end));
        last = end;
        length += node.live();
    }
    assert!(last <= stream.last_id);
    assert_eq!(length, stream.length);
    let first = stream.range(Id::MIN, Id::MAX).next().map_or(Id::MIN, |entry| entry.id);
    assert_eq!(stream.first_id, first);
    assert!(stream.nodes.memory() >= weight);
    stream.groups.values().for_each(Group::check);
    let bytes: usize = stream.groups.iter().map(|(name, group)| weight_of(name, group)).sum();
    assert_eq!(stream.groups_bytes, bytes);
}

#[derive(Clone, Debug)]
enum Step {
    Add { skip: u64, fields: Vec<(u8, String)> },
    Remove(prop::sample::Index),
    Trim { bound: u64, by_id: bool, whole: bool, limit: u64 },
    Group(u8),
    Destroy(u8),
    Read { group: u8, consumer: u8, count: usize },
    Acknowledge { group: u8, which: prop::sample::Index },
    Steal { group: u8, consumer: u8, which: prop::sample::Index },
    Forget { group: u8, consumer: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let field = (0_u8..3, "[a-z]{0,5}|-?[0-9]{1,9}|[a-z]{70}");
    let group = 0_u8..3;
    prop_oneof![
        12 => (1_u64..400, prop::collection::vec(field, 1..4))
            .prop_map(|(skip, fields)| Step::Add { skip, fields }),
        4 => index().prop_map(Step::Remove),
        1 => (0_u64..40, any::<bool>(), any::<bool>(), 0_u64..30)
            .prop_map(|(bound, by_id, whole, limit)| Step::Trim { bound, by_id, whole, limit }),
        1 => group.clone().prop_map(Step::Group),
        1 => (0_u8..9).prop_map(Step::Destroy),
        4 => (group.clone(), 0_u8..3, 0_usize..5)
            .prop_map(|(group, consumer, count)| Step::Read { group, consumer, count }),
        3 => (group.clone(), index()).prop_map(|(group, which)| Step::Acknowledge { group, which }),
        2 => (group.clone(), 0_u8..3, index())
            .prop_map(|(group, consumer, which)| Step::Steal { group, consumer, which }),
        1 => (group, 0_u8..5).prop_map(|(group, consumer)| Step::Forget { group, consumer }),
    ]
}

const SMALL: NodeMax = NodeMax { bytes: 200, entries: 5 };

type Model = BTreeMap<Id, Pairs>;

fn add(stream: &mut Stream, model: &mut Model, skip: u64, fields: &[(u8, String)]) {
    let last = stream.last_id();
    // Sequences that wrap now and then, and differences in both directions.
    let id = match skip % 3 {
        0 => Id { ms: last.ms, seq: last.seq.saturating_add(skip) },
        1 => Id { ms: last.ms + skip, seq: 0 },
        _ => Id { ms: last.ms + 1, seq: last.seq.wrapping_mul(7).wrapping_add(skip) },
    };
    let pairs: Pairs = fields
        .iter()
        .flat_map(|(name, value)| [vec![b'f', b'0' + name], value.clone().into_bytes()])
        .collect();
    let words: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
    if stream.add(Wish::Exactly(id), &words, SMALL).is_ok() {
        model.insert(id, pairs);
    }
}

fn pick<T: Copy>(all: &[T], which: prop::sample::Index) -> Option<T> {
    if all.is_empty() { None } else { Some(all[which.index(all.len())]) }
}

fn apply(stream: &mut Stream, model: &mut Model, step: &Step) {
    match step {
        Step::Add { skip, fields } => add(stream, model, *skip, fields),
        Step::Remove(which) => {
            let ids: Vec<Id> = model.keys().copied().collect();
            if let Some(id) = pick(&ids, *which) {
                assert!(stream.remove(id) && !stream.remove(id));
                stream.removed();
                model.remove(&id);
            }
        }
        Step::Trim { bound, by_id, whole, limit } => {
            let ids: Vec<Id> = model.keys().copied().collect();
            let bound = match (by_id, ids.get(*bound as usize)) {
                (true, Some(id)) => Bound::From(*id),
                _ => Bound::Len(*bound),
            };
            let limit = if *whole { *limit } else { 0 };
            let trimmed = stream.trim(Trim { bound, whole_nodes: *whole, limit });
            let gone: Vec<Id> = ids[..trimmed.count as usize].to_vec();
            gone.iter().for_each(|id| drop(model.remove(id)));
            match bound {
                Bound::Len(len) => assert!(trimmed.count == 0 || stream.len() >= len),
                Bound::From(id) => assert!(gone.iter().all(|gone| *gone < id)),
            }
            let left = match bound {
                Bound::Len(len) => stream.len() > len,
                Bound::From(id) => stream.first_id() < id && !stream.is_empty(),
            };
            assert!(*whole || !left);
        }
        Step::Group(group) => {
            stream.add_group(&[*group], Group::new(stream.first_id(), 0));
        }
        Step::Destroy(group) => {
            stream.remove_group(&[*group]);
        }
        Step::Read { group, consumer, count } => {
            let seen = stream.change_group(&[*group], |group| group.see_consumer(&[*consumer], 5));
            let Some((number, _)) = seen else { return };
            stream.advance(&[*group], *count, |entry, group| {
                let time = entry.id.seq as i64;
                group.set_pending(entry.id, Pending { time, count: 1, consumer: number });
            });
        }
        Step::Acknowledge { group, which } => {
            stream.change_group(&[*group], |group| {
                let ids: Vec<Id> = group.pending_from(Id::MIN).map(|(id, _)| id).collect();
                if let Some(id) = pick(&ids, *which) {
                    assert!(group.acknowledge(id) && !group.acknowledge(id));
                }
            });
        }
        Step::Steal { group, consumer, which } => {
            stream.change_group(&[*group], |group| {
                let ids: Vec<Id> = group.pending_from(Id::MIN).map(|(id, _)| id).collect();
                let (number, _) = group.see_consumer(&[*consumer], 6);
                if let Some(id) = pick(&ids, *which) {
                    group.set_pending(id, Pending { time: 7, count: 2, consumer: number });
                }
            });
        }
        Step::Forget { group, consumer } => {
            stream.change_group(&[*group], |group| group.remove_consumer(&[*consumer]));
        }
    }
}

/// What a walk visits, spelled.
fn walked(piece: Piece<'_>) -> String {
    match piece {
        Piece::Node(id, node) => format!("{id} {:?}", node.bytes()),
        Piece::Group { name, last_id, entries_read } => {
            format!("{name:?} {last_id} {entries_read}")
        }
        other => format!("{other:?}"),
    }
}

fn walk_all(stream: &mut Stream) -> Vec<String> {
    let mut pieces = Vec::new();
    stream.begin_cut(1);
    while !stream.cut_slice(1000, &mut |piece| pieces.push(walked(piece))) {}
    stream.end_cut();
    pieces
}

proptest! {
    #[test]
    fn it_is_a_map_in_order(steps in prop::collection::vec(step(), 0..200)) {
        let (mut stream, mut model) = (Stream::default(), Model::new());
        for step in &steps {
            apply(&mut stream, &mut model, step);
        }
        check(&stream);
        prop_assert!(contents(&stream).into_iter().eq(model.clone()));
        let back: Vec<Id> = stream.range(Id::MIN, Id::MAX).rev().map(|entry| entry.id).collect();
        prop_assert!(back.iter().rev().eq(model.keys()));
        let ids: Vec<Id> = model.keys().copied().collect();
        for window in ids.windows(4).step_by(3) {
            let (start, end) = (window[0], window[3].before().unwrap());
            let range = stream.range(start, end);
            prop_assert_eq!(range.clone().count_up_to(99), 3);
            prop_assert_eq!(range.clone().count_up_to(2), 2);
            prop_assert!(range.clone().map(|entry| entry.id).eq(window[..3].iter().copied()));
            prop_assert!(range.rev().map(|e| e.id).eq(window[..3].iter().rev().copied()));
            prop_assert!(stream.get(start).is_some());
        }
        prop_assert_eq!(stream.range(Id::MIN, Id::MAX).count_up_to(usize::MAX), ids.len());
        let mut copy = stream.clone();
        prop_assert_eq!(contents(&copy), contents(&stream));
        while !copy.free_slice(3) {}
        prop_assert_eq!((copy.nodes.len(), copy.groups.len(), copy.groups_bytes), (0, 0, 0));
    }

    #[test]
    fn a_walk_sees_what_was_there_when_it_began(
        before in prop::collection::vec(step(), 0..120),
        slices in prop::collection::vec((1_usize..6, prop::collection::vec(step(), 0..6)), 0..40),
    ) {
        let (mut stream, mut model) = (Stream::default(), Model::new());
        for step in &before {
            apply(&mut stream, &mut model, step);
        }
        let mut then = stream.clone();
        stream.begin_cut(1);
        let mut pieces = Vec::new();
        for (budget, steps) in &slices {
            for step in steps {
                apply(&mut stream, &mut model, step);
            }
            stream.begin_cut(1);
            if stream.cut_slice(*budget, &mut |piece| pieces.push(walked(piece))) {
                break;
            }
        }
        while !stream.cut_slice(3, &mut |piece| pieces.push(walked(piece))) {}
        prop_assert_eq!(pieces, walk_all(&mut then));
        stream.end_cut();
        check(&stream);
        prop_assert!(contents(&stream).into_iter().eq(model));
        prop_assert_eq!(walk_all(&mut stream.clone()), walk_all(&mut stream));
    }

    #[test]
    fn bytes_from_elsewhere_are_checked(
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
        len in any::<prop::sample::Index>(),
    ) {
        let (mut stream, mut model) = (Stream::default(), Model::new());
        for n in 0..5_u8 {
            add(&mut stream, &mut model, u64::from(n) + 1, &[(n % 2, n.to_string())]);
        }
        let (id, node) = stream.nodes.map().last_key_value().unwrap();
        let mut bytes = node.bytes().to_vec();
        prop_assert!(check_node(*id, bytes[..len.index(bytes.len())].to_vec()).is_err());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok((node, ..)) = check_node(*id, bytes) {
            let entries: Vec<Pairs> = Entries::new(*id, &node).map(|e| pairs_of(&e)).collect();
            prop_assert_eq!(entries.len() as u64, node.live());
        }
    }
}

#[test]
fn a_node_is_laid_out_as_redis_does_it() {
    let mut stream = Stream::default();
    let max = NodeMax::DEFAULT;
    stream.add(Wish::Exactly(Id::new(5, 1)), &[b"a", b"1"], max).unwrap();
    stream.add(Wish::Exactly(Id::new(6, 0)), &[b"a", b"x"], max).unwrap();
    stream.add(Wish::Exactly(Id::new(6, 1)), &[b"b", b"2"], max).unwrap();
    assert!(stream.remove(Id::new(6, 0)));
    let node = stream.nodes.map().first_key_value().unwrap().1;
    let items: Vec<String> = listpack::Pack(node.bytes())
        .iter()
        .map(|(_, item)| item.text(&mut itoa::Buffer::new()).escape_ascii().to_string())
        .collect();
    let expected = "2 1 1 a 0 2 0 0 1 4 3 1 -1 x 4 0 1 0 1 b 2 6";
    assert_eq!(items.join(" "), expected);
}

#[test]
fn many_nodes_go_at_once_and_are_freed_later() {
    let mut stream = Stream::default();
    for n in 1..=1000 {
        stream.add(Wish::Exactly(Id::new(n, 0)), &[b"a", b"b"], SMALL).unwrap();
    }
    let trim = Trim { bound: Bound::Len(7), whole_nodes: false, limit: 0 };
    let trimmed = stream.trim(trim);
    assert_eq!((trimmed.count, stream.len()), (993, 7));
    check(&stream);
    let mut gone = trimmed.nodes.unwrap();
    assert!(gone.memory() > stream.memory() && !gone.free_slice(10));
    while !gone.free_slice(100) {}
    assert!(gone.nodes.memory() == 0);
}
