//! Entries of every shape.

use super::*;

fn bytes_of(entry: &Entry) -> Vec<u8> {
    match entry.value() {
        ValueRef::Int(n) => n.to_string().into_bytes(),
        ValueRef::Str(s) | ValueRef::Packed(_, s) => s.to_vec(),
        ValueRef::Shared(b) => b.to_vec(),
        ValueRef::Object(_) => unreachable!("no object here"),
    }
}

fn check(entry: &Entry, key: &[u8], value: &[u8], expire: Option<i64>) {
    assert_eq!(entry.key(), key);
    assert_eq!(bytes_of(entry), value);
    assert_eq!(entry.expire_ms(), expire);
}

const LENGTHS: [usize; 9] = [0, 1, 7, 32, 44, 1023, 1024, 1025, 100_000];
const KEYS: [usize; 6] = [0, 1, 16, 65_534, 65_535, 70_000];
const EXPIRIES: [Option<i64>; 4] = [None, Some(0), Some(i64::MIN), Some(i64::MAX)];

#[test]
fn every_shape_reads_back_clones_and_renames() {
    for key_len in KEYS {
        let key = vec![b'k'; key_len];
        for len in LENGTHS {
            let value = vec![b'v'; len];
            for expire in EXPIRIES {
                let mut entry =
                    Entry::new(&key, NewValue::Str { bytes: &value, raw: len == 7 }, expire);
                entry.set_tag(0x7_5A5A);
                check(&entry, &key, &value, expire);
                assert_eq!(entry.is_raw(), len == 7);
                assert_eq!(entry.tag(), 0x7_5A5A);
                check(&entry.clone(), &key, &value, expire);
                check(&entry.rename(b"other"), b"other", &value, expire);
            }
        }
        let entry = Entry::new(&key, NewValue::Int(i64::MIN), None);
        check(&entry, &key, b"-9223372036854775808", None);
    }
}

#[test]
fn expiry_comes_and_goes_and_keeps_the_tag() {
    for key_len in KEYS {
        let key = vec![b'k'; key_len];
        for len in LENGTHS {
            let value = vec![b'v'; len];
            let mut entry = Entry::new(&key, NewValue::Str { bytes: &value, raw: false }, None);
            let before = entry.memory();
            entry.set_tag(0x2_AAAA);
            for expire in [Some(1), Some(2), None, None, Some(i64::MIN), None] {
                entry.set_expire(expire);
                check(&entry, &key, &value, expire);
                assert_eq!(entry.tag(), 0x2_AAAA);
            }
            assert_eq!(entry.memory(), before);
        }
    }
}

#[test]
fn overwriting_from_every_shape_to_every_other() {
    for from in LENGTHS {
        for to in LENGTHS {
            for (a, b) in [(None, None), (None, Some(5)), (Some(5), None), (Some(5), Some(6))] {
                let (old, new) = (vec![b'o'; from], vec![b'n'; to]);
                let mut entry = Entry::new(b"key", NewValue::Str { bytes: &old, raw: true }, a);
                let at = entry.base();
                let value = NewValue::Str { bytes: &new, raw: false };
                let fits = entry.overwrite(Stored::new(value.clone()), b).is_ok();
                assert_eq!(entry.base(), at);
                let fresh = Entry::new(b"key", value, b);
                if fits {
                    check(&entry, b"key", &new, b);
                    assert!(!entry.is_raw());
                    assert_eq!(entry.memory(), fresh.memory());
                } else {
                    check(&entry, b"key", &old, a);
                    assert!(entry.is_raw());
                }
            }
        }
    }
    let mut entry = Entry::new(b"n", NewValue::Int(1), None);
    assert!(entry.overwrite(Stored::Int(2), None).is_ok());
    check(&entry, b"n", b"2", None);
}

#[test]
fn the_target_shape_fills_its_class() {
    let value = NewValue::Str { bytes: &[0; 32], raw: false };
    assert_eq!(Entry::new(&[0; 16], value.clone(), None).memory(), 64);
    assert_eq!(Entry::new(&[0; 16], value, Some(1)).memory(), 64);
}

#[test]
fn short_shared_values_let_their_buffer_go() {
    let big = Bytes::from(vec![1u8; 5000]);
    let entry = Entry::new(b"k", NewValue::Shared { bytes: big.slice(..10), raw: false }, None);
    assert!(big.is_unique());
    assert!(matches!(entry.value(), ValueRef::Str(s) if s == [1; 10]));
}
