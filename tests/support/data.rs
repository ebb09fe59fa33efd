//! A whole data set, read over the wire.

use std::collections::BTreeMap;

use super::{Client, Value, show};

/// What one key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its string.
    pub value: Value,
    /// PEXPIRETIME: Unix milliseconds, -1 without an expiry.
    pub expires: i64,
    /// `OBJECT ENCODING`
    pub encoding: Value,
}

/// All keys of all databases.
pub type Data = BTreeMap<(usize, Vec<u8>), Item>;

/// Number of databases of every server in these tests.
pub const DATABASES: usize = 16;

fn words(list: &[&[u8]]) -> Vec<Vec<u8>> {
    list.iter().map(|w| w.to_vec()).collect()
}

/// Reads everything. DBSIZE must agree with what KEYS names.
pub fn read(client: &mut Client) -> Data {
    let mut data = Data::new();
    for db in 0..DATABASES {
        assert_eq!(client.words(&format!("SELECT {db}")), Value::Simple(b"OK".into()));
        let mut keys: Vec<Vec<u8>> = match client.words("KEYS *") {
            Value::Array(keys) => keys.iter().map(|k| k.text().unwrap().to_vec()).collect(),
            other => panic!("KEYS * answered {other:?}"),
        };
        keys.sort();
        let named = keys.len();
        keys.dedup();
        assert_eq!(named, keys.len(), "KEYS * named a key twice in database {db}");
        assert_eq!(client.words("DBSIZE"), Value::Int(named as i64), "DBSIZE of database {db}");
        for chunk in keys.chunks(200) {
            let commands: Vec<_> = chunk
                .iter()
                .flat_map(|k| {
                    [
                        words(&[b"GET", k]),
                        words(&[b"PEXPIRETIME", k]),
                        words(&[b"OBJECT", b"ENCODING", k]),
                    ]
                })
                .collect();
            let mut replies = client.pipeline(&commands).into_iter();
            for key in chunk {
                let (value, expires) = (replies.next().unwrap(), replies.next().unwrap());
                let encoding = replies.next().unwrap();
                let expires = expires.int().unwrap();
                data.insert((db, key.clone()), Item { value, expires, encoding });
            }
        }
    }
    client.words("SELECT 0");
    data
}

/// Differences of two data sets, at most ten, in words. Expiries may differ by `slack_ms`;
/// encodings are compared when `encodings`.
pub fn differences(left: &Data, right: &Data, slack_ms: i64, encodings: bool) -> Vec<String> {
    let mut found = Vec::new();
    let same = |a: &Item, b: &Item| {
        a.value == b.value
            && (!encodings || a.encoding == b.encoding)
            && (a.expires < 0) == (b.expires < 0)
            && (a.expires - b.expires).abs() <= slack_ms
    };
    for ((db, key), item) in left {
        match right.get(&(*db, key.clone())) {
            None => found.push(format!("db {db} {}: only left: {item:?}", show(key))),
            Some(other) if !same(item, other) => {
                found.push(format!("db {db} {}: {item:?} / {other:?}", show(key)));
            }
            Some(_) => {}
        }
    }
    for (db, key) in right.keys().filter(|k| !left.contains_key(k)) {
        found.push(format!("db {db} {}: only right", show(key)));
    }
    found.truncate(10);
    found
}

/// Fails with the differences unless the two data sets are the same.
pub fn assert_same(left: &Data, right: &Data, slack_ms: i64, encodings: bool, what: &str) {
    let found = differences(left, right, slack_ms, encodings);
    assert!(found.is_empty(), "{what}: data differs:\n{}", found.join("\n"));
}
