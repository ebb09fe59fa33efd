//! Packed collections from elsewhere: listpacks, intsets, ziplists and zipmaps. What is accepted
//! can be read whole, in both directions, and says the same when it is made anew.
//!
//! Input: one byte that says what it is to be, then the bytes. With the highest bit of that byte
//! they are given a right length and end, so that not all is refused for these.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringstone::value::intset::{self, Ints};
use ringstone::value::list::{End, Kept, Limits, List};
use ringstone::value::listpack::{self, Item, Pack};
use ringstone::value::ziplist;

fn text(item: Item<'_>) -> Vec<u8> {
    item.text(&mut itoa::Buffer::new()).to_vec()
}

fn check_listpack(bytes: &[u8]) {
    let Ok(count) = listpack::validate(bytes) else { return };
    let pack = Pack(bytes);
    let forward: Vec<Vec<u8>> = pack.iter().map(|(_, item)| text(item)).collect();
    assert!(forward.len() == count && pack.len() == count);
    let mut backward = Vec::new();
    Kept::Packed(pack).walk(0, End::Back, &mut |item| {
        backward.push(text(item));
        true
    });
    backward.reverse();
    assert_eq!(forward, backward);
    let mut again = Vec::new();
    listpack::create(&mut again);
    forward.iter().for_each(|element| listpack::push_back(&mut again, element));
    assert_eq!(listpack::validate(&again), Ok(count));
    let mut list = List::of_pack(pack, Limits { size: 3, depth: 1 });
    list.push(b"one more", End::Front);
    let mut seen = Vec::new();
    list.walk(1, End::Front, &mut |item| {
        seen.push(text(item));
        true
    });
    assert_eq!(forward, seen);
}

fn check_intset(bytes: &[u8]) {
    if intset::validate(bytes).is_err() {
        return;
    }
    let members: Vec<i64> = Ints(bytes).iter().collect();
    assert!(members.len() == Ints(bytes).len() && members.is_sorted());
    assert!(members.iter().all(|&n| Ints(bytes).contains(n)));
}

fn check_ziplist(bytes: &[u8]) {
    let Ok(items) = ziplist::read(bytes) else { return };
    assert!(items.iter().map(|item| item.text_len()).sum::<usize>() <= 20 * bytes.len());
}

fn check_zipmap(bytes: &[u8]) {
    let Ok(pairs) = ziplist::read_map(bytes) else { return };
    assert!(pairs.iter().map(|(f, v)| f.len() + v.len() + 3).sum::<usize>() <= bytes.len());
}

fuzz_target!(|data: &[u8]| {
    let Some((&what, body)) = data.split_first() else { return };
    let mut bytes = body.to_vec();
    let len = bytes.len();
    if what & 0x80 != 0 && len > 10 {
        if what & 3 != 3 {
            bytes[..4].copy_from_slice(&(len as u32).to_le_bytes());
        }
        bytes[len - 1] = 0xFF;
    }
    match what & 3 {
        0 => check_listpack(&bytes),
        1 => check_intset(body),
        2 => check_ziplist(&bytes),
        _ => check_zipmap(&bytes),
    }
});
