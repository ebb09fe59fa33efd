//! The deque of rows against a plain one.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

type Model = VecDeque<Vec<u8>>;

fn all(list: &List) -> Model {
    let mut found = Model::new();
    list.walk(0, End::Front, &mut |item| {
        found.push_back(item.text(&mut itoa::Buffer::new()).to_vec());
        true
    });
    found
}

/// One change: what it is, where, and of what.
type Step = (u8, u32, Vec<u8>);

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0..40_i64).prop_map(|n| n.to_string().into_bytes()),
        4 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        4 => (0_usize..400, 0_u8..3).prop_map(|(len, byte)| vec![b'a' + byte; len]),
        1 => (3000_usize..9000).prop_map(|len| (0..len).map(|n| (n * n % 251) as u8).collect()),
    ]
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_u8..20, any::<u32>(), text()), 0..most)
}

fn limits() -> impl Strategy<Value = Limits> {
    let size = prop::sample::select(vec![-1_i64, -2, -5, 1, 2, 7, 100, 0]);
    (size, 0_usize..4).prop_map(|(size, depth)| Limits { size, depth })
}

fn apply(list: &mut List, model: &mut Model, (what, place, text): &Step) {
    let len = model.len();
    let index = if len == 0 { 0 } else { *place as usize % len };
    let end = if place % 2 == 0 { End::Front } else { End::Back };
    match what {
        0..8 => {
            for n in 0..1 + place % 40 {
                let text = if n == 0 { text.clone() } else { n.to_string().into_bytes() };
                list.push(&text, end);
                match end {
                    End::Front => model.push_front(text),
                    End::Back => model.push_back(text),
                }
            }
        }
        8..11 => {
            let count = (*place as usize / 2 % 60).min(len);
            match place % 3 {
                0 => (0..count).for_each(|at| {
                    let at = if end == End::Front { at } else { len - 1 - at };
                    list.pop(end, |item| assert!(item.is(&model[at])));
                }),
                _ => drop(list.trim(count, end)),
            }
            match end {
                End::Front => drop(model.drain(..count)),
                End::Back => model.truncate(len - count),
            }
        }
        11..15 => {
            list.insert(index, text);
            model.insert(index, text.clone());
        }
        15..18 => {
            assert_eq!(list.replace(index, text), len > 0);
            if len > 0 {
                model[index] = text.clone();
            }
        }
        _ => {
            let most = *place as usize % 5;
            let mut left = most;
            let removed = list.remove_equal(text, most, end);
            let mut keep = |own: &Vec<u8>| {
                let goes = left > 0 && own == text;
                left -= usize::from(goes);
                !goes
            };
            match end {
                End::Front => model.retain(keep),
                End::Back => {
                    let mut kept: Model = model.iter().rev().filter(|t| keep(t)).cloned().collect();
                    kept.make_contiguous().reverse();
                    *model = kept;
                }
            }
            assert_eq!(removed, len - model.len());
        }
    }
}

proptest! {
    #[test]
    fn it_is_a_deque(limits in limits(), steps in steps(120)) {
        let (mut list, mut model) = (List::new(limits), Model::new());
        for step in &steps {
            apply(&mut list, &mut model, step);
            list.check();
            prop_assert_eq!(list.len(), model.len());
        }
        prop_assert_eq!(&all(&list), &model);
        for index in (0..model.len()).step_by(7) {
            for from in [End::Front, End::Back] {
                let mut found = None;
                list.walk(index, from, &mut |item| {
                    found = Some(item.text(&mut itoa::Buffer::new()).to_vec());
                    false
                });
                let at = if from == End::Front { index } else { model.len() - 1 - index };
                prop_assert_eq!(found.as_ref(), Some(&model[at]));
            }
        }
        let mut back = Model::new();
        list.walk(0, End::Back, &mut |item| {
            back.push_front(item.text(&mut itoa::Buffer::new()).to_vec());
            true
        });
        prop_assert_eq!(&back, &model);
        let copy = list.clone();
        while !list.free_slice(3) {
            if list.cut_epoch().is_none() && list.len() < model.len() / 2 {
                prop_assert_eq!(&all(&copy), &model);
            }
        }
        prop_assert_eq!((list.len(), list.held, list.nodes), (0, 0, 0));
        prop_assert_eq!(&all(&copy), &model);
    }

    #[test]
    fn a_cut_sees_what_was(
        limits in limits(),
        before in steps(60),
        after in prop::collection::vec((steps(6), 0_usize..200), 0..30),
    ) {
        let (mut list, mut model) = (List::new(limits), Model::new());
        before.iter().for_each(|step| apply(&mut list, &mut model, step));
        let then = model.clone();
        list.begin_cut(3);
        let mut seen = Model::new();
        let mut see = |item: Item<'_>| seen.push_back(item.text(&mut itoa::Buffer::new()).to_vec());
        let mut done = false;
        for (changes, budget) in &after {
            changes.iter().for_each(|step| apply(&mut list, &mut model, step));
            list.check();
            done = list.cut_slice(*budget, &mut see);
        }
        while !done {
            done = list.cut_slice(50, &mut see);
        }
        list.end_cut();
        prop_assert_eq!(seen, then);
        prop_assert_eq!(all(&list), model);
    }

    #[test]
    fn packed_and_back(limits in limits(), texts in prop::collection::vec(text(), 0..30)) {
        let mut bytes = Vec::new();
        listpack::create(&mut bytes);
        texts.iter().for_each(|text| listpack::push_back(&mut bytes, text));
        let list = List::of_pack(Pack(&bytes), limits);
        list.check();
        prop_assert_eq!(all(&list), Model::from(texts));
        prop_assert_eq!(list.to_pack(), bytes);
    }
}

#[test]
fn ends_do_not_move_what_is_between() {
    let mut list = List::new(Limits::DEFAULT);
    for n in 0..200_000_u32 {
        let end = if n % 2 == 0 { End::Front } else { End::Back };
        list.push(format!("element {n}").as_bytes(), end);
    }
    list.check();
    let bytes: usize = (0..200_000).map(|n| format!("element {n}").len() + 2).sum();
    // Heads, the last chunks' and nodes' room, and what an element leaves free of a node.
    assert!(list.memory() < bytes + bytes / 100 + 20_000, "{} for {bytes}", list.memory());
    let off = list.trim(150_000, End::Back).unwrap();
    list.check();
    off.check();
    assert_eq!(list.len(), 50_000);
}

#[test]
fn one_node_below_half_is_a_listpack_again() {
    let limits = Limits { size: 10, depth: 0 };
    let mut list = List::new(limits);
    (0..11).for_each(|n: i32| list.push(n.to_string().as_bytes(), End::Back));
    assert!(!list.fits_pack(limits, false), "two nodes");
    drop(list.trim(1, End::Back));
    assert!(list.fits_pack(limits, false) && !list.fits_pack(limits, true));
    drop(list.trim(5, End::Front));
    assert!(list.fits_pack(limits, true));
    list.replace(0, &[b'x'; 9000]);
    list.trim(4, End::Back);
    assert!(!list.fits_pack(limits, true), "one long element");
}
