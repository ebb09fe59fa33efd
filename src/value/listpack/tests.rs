//! Listpacks against a plain model, against bytes that Redis makes, and against damage.

use proptest::prelude::*;

use super::*;

fn pack(items: &[&[u8]]) -> Vec<u8> {
    let mut pack = Vec::new();
    create(&mut pack);
    items.iter().for_each(|item| push_back(&mut pack, item));
    pack
}

fn texts(pack: &[u8]) -> Vec<Vec<u8>> {
    Pack(pack).iter().map(|(_, item)| item.text(&mut itoa::Buffer::new()).to_vec()).collect()
}

#[test]
fn bytes_are_those_of_redis() {
    assert_eq!(pack(&[]), [7, 0, 0, 0, 0, 0, 0xFF]);
    let some = pack(&[b"a", b"1", b"-1", b"300000"]);
    let want = [
        &[20, 0, 0, 0, 4, 0][..],
        &[0x81, b'a', 2],
        &[1, 1],
        &[0xDF, 0xFF, 2],
        &[0xF2, 0xE0, 0x93, 0x04, 4],
        &[0xFF],
    ]
    .concat();
    assert_eq!(some, want);
    let long = pack(&[&[b'x'; 200]]);
    // 2 bytes of head, 200 of data: the length behind takes two bytes.
    assert_eq!(long[6..8], [0xE0, 200]);
    assert_eq!(long[208..], [1, 202 & 0x7F | 0x80, 0xFF]);
}

#[test]
fn integers_of_every_width_come_back() {
    let mut values = vec![0, 127, 128, -1, 4095, 4096, -4096, -4097, i64::MIN, i64::MAX];
    for bits in [7, 12, 15, 23, 31, 62] {
        let edge = 1_i64 << bits;
        values.extend([edge - 1, edge, edge + 1, -edge - 1, -edge, -edge + 1]);
    }
    let words: Vec<Vec<u8>> = values.iter().map(|n| n.to_string().into_bytes()).collect();
    let bytes = pack(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(validate(&bytes), Ok(values.len()));
    let back: Vec<Item<'_>> = Pack(&bytes).iter().map(|(_, item)| item).collect();
    assert_eq!(back, values.iter().map(|n| Item::Int(*n)).collect::<Vec<_>>());
    // What is no decimal form stays a string.
    for text in [&b"01"[..], b"+1", b"-0", b"", b" 1", b"9223372036854775808"] {
        assert!(matches!(Pack(&pack(&[text])).at(HEAD), Some((Item::Str(own), _)) if own == text));
    }
}

#[test]
fn very_many_elements_are_counted() {
    let mut bytes = pack(&[]);
    for n in 0..66_000_u32 {
        push_back(&mut bytes, n.to_string().as_bytes());
    }
    assert_eq!((Pack(&bytes).len(), &bytes[4..6]), (66_000, &[0xFF, 0xFF][..]));
    assert_eq!(validate(&bytes), Ok(66_000));
    assert_eq!(delete(&mut bytes, HEAD, 1000), 1000);
    assert_eq!(
        (Pack(&bytes).len(), bytes[4..6].to_vec()),
        (65_000, 65_000_u16.to_le_bytes().into())
    );
}

#[test]
fn damage_is_found() {
    let good = pack(&[b"abc", b"7", &[b'y'; 100], b"-70000"]);
    assert_eq!(validate(&good), Ok(4));
    for cut in 0..good.len() {
        assert!(validate(&good[..cut]).is_err(), "cut at {cut}");
    }
    let mut found = 0;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            match validate(&bad) {
                Err(_) => found += 1,
                // Another text of the same length: nothing that could be told, or harm.
                Ok(_) => assert_eq!(texts(&bad).len(), 4),
            }
        }
    }
    assert!(found > 100, "{found}");
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        (-5000_i64..5000).prop_map(|n| n.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(any::<u8>(), 120..140),
        prop::collection::vec(any::<u8>(), 4080..4110),
        prop::collection::vec(any::<u8>(), 16_370..16_400),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Delete(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<usize>(), text()).prop_map(|(at, text)| Step::Insert(at, text)),
        2 => (any::<usize>(), text()).prop_map(|(at, text)| Step::Replace(at, text)),
        1 => (any::<usize>(), 0_usize..4).prop_map(|(at, n)| Step::Delete(at, n)),
    ]
}

proptest! {
    #[test]
    fn it_is_a_vector(steps in prop::collection::vec(step(), 1..60)) {
        let (mut bytes, mut model) = (bytes::BytesMut::new(), Vec::<Vec<u8>>::new());
        create(&mut bytes);
        for step in steps {
            match step {
                Step::Insert(at, text) => {
                    let at = at % (model.len() + 1);
                    let offset = Pack(&bytes).seek(at as i64).unwrap_or(Pack(&bytes).end());
                    insert(&mut bytes, offset, &text);
                    model.insert(at, text);
                }
                Step::Replace(at, text) if !model.is_empty() => {
                    let at = at % model.len();
                    let offset = Pack(&bytes).seek(at as i64 - model.len() as i64).unwrap();
                    replace(&mut bytes, offset, &text);
                    model[at] = text;
                }
                Step::Delete(at, count) if !model.is_empty() => {
                    let at = at % model.len();
                    let offset = Pack(&bytes).seek(at as i64).unwrap();
                    let gone = delete(&mut bytes, offset, count);
                    prop_assert_eq!(gone, count.min(model.len() - at));
                    model.drain(at..at + gone);
                }
                _ => {}
            }
            prop_assert_eq!(validate(&bytes), Ok(model.len()));
            prop_assert_eq!(&texts(&bytes), &model);
        }
        let pack = Pack(&bytes);
        let (mut back, mut offset) = (Vec::new(), pack.last());
        while let Some(at) = offset {
            back.push(at);
            offset = pack.before(at);
        }
        back.reverse();
        prop_assert_eq!(back, pack.iter().map(|(at, _)| at).collect::<Vec<_>>());
        prop_assert_eq!(pack.seek(model.len() as i64), None);
        if let Some(last) = model.last() {
            let first = model.iter().position(|text| text == last).unwrap();
            prop_assert_eq!(pack.find(HEAD, last, 1), pack.seek(first as i64));
        }
    }

    #[test]
    fn any_bytes_are_judged(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if bytes.len() > 7 {
            let len = bytes.len() as u32;
            bytes[..4].copy_from_slice(&len.to_le_bytes());
            *bytes.last_mut().unwrap() = END;
        }
        if let Ok(count) = validate(&bytes) {
            prop_assert_eq!(Pack(&bytes).iter().count(), count);
        }
    }
}
