//! A whole data set, read over the wire.

use std::collections::BTreeMap;

use super::{Client, Value, show};

/// What one key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its type, as TYPE names it.
    pub kind: Vec<u8>,
    /// Its string, its members sorted, or its fields with their values sorted.
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
                        words(&[b"TYPE", k]),
                        words(&[b"PEXPIRETIME", k]),
                        words(&[b"OBJECT", b"ENCODING", k]),
                    ]
                })
                .collect();
            let replies = client.pipeline(&commands);
            let kinds = replies.chunks(3).map(|r| r[0].text().unwrap_or_default().to_vec());
            let reads: Vec<_> =
                chunk.iter().zip(kinds).map(|(k, kind)| content(k, &kind)).collect();
            let values = client.pipeline(&reads);
            for ((key, facts), value) in chunk.iter().zip(replies.chunks(3)).zip(values) {
                let kind = facts[0].text().unwrap_or_default().to_vec();
                let value = ordered(&kind, value);
                let (expires, encoding) = (facts[1].int().unwrap(), facts[2].clone());
                data.insert((db, key.clone()), Item { kind, value, expires, encoding });
            }
        }
    }
    client.words("SELECT 0");
    data
}

/// The request for all that a key of this type holds.
fn content(key: &[u8], kind: &[u8]) -> Vec<Vec<u8>> {
    match kind {
        b"hash" => words(&[b"HGETALL", key]),
        b"set" => words(&[b"SMEMBERS", key]),
        b"stream" => words(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]),
        b"list" => words(&[b"LRANGE", key, b"0", b"-1"]),
        b"zset" => words(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
        // Groups too.
        _ => words(&[b"GET", key]),
    }
}

/// The same whatever order a hash or a set stands in.
fn ordered(kind: &[u8], value: Value) -> Value {
    let group = match kind {
        b"hash" => 2,
        b"set" => 1,
        b"stream" => return stream(&value),
        b"zset" => return numbered(&value),
        _ => return value,
    };
    let items = value.items().unwrap_or_else(|| panic!("{value:?}"));
    let mut groups: Vec<&[Value]> = items.chunks(group).collect();
    groups.sort_by_key(|group| format!("{group:?}"));
    Value::Array(groups.concat())
}

/// What there is to know of a stream, but for what clocks and the size of a tree say, and for its
/// consumers: Redis makes one that is given nothing from 7.2 on only.
fn stream(value: &Value) -> Value {
    const LEFT_OUT: [&[u8]; 2] = [b"radix-tree-nodes", b"consumers"];
    let pairs = |value: &Value, out: &mut Vec<Value>| {
        for pair in value.items().unwrap_or(&[]).chunks(2) {
            if !pair[0].text().is_some_and(|name| LEFT_OUT.contains(&name)) {
                out.extend(pair.iter().cloned());
            }
        }
    };
    let mut all = Vec::new();
    pairs(value, &mut all);
    let groups = all.pop();
    for group in groups.iter().flat_map(|groups| groups.items().unwrap_or(&[])) {
        let mut told = Vec::new();
        pairs(group, &mut told);
        let pending = told.pop();
        for entry in pending.iter().flat_map(|pending| pending.items().unwrap_or(&[])) {
            let Some([id, consumer, _, count]) = entry.items() else { panic!("{entry:?}") };
            told.extend([id.clone(), consumer.clone(), count.clone()]);
        }
        all.push(Value::Array(told));
    }
    Value::Array(all)
}

/// Members with scores as numbers: 7.2 spells some otherwise.
fn numbered(value: &Value) -> Value {
    let items = value.items().unwrap_or_else(|| panic!("{value:?}"));
    let spelled = items.iter().enumerate().map(|(at, item)| {
        let score = item.text().filter(|_| at % 2 == 1).and_then(|t| std::str::from_utf8(t).ok());
        let score = score.and_then(|text| text.parse::<f64>().ok());
        score.map_or_else(|| item.clone(), |score| Value::Bulk(format!("{score:?}").into_bytes()))
    });
    Value::Array(spelled.collect())
}

/// Differences of two data sets, at most ten, in words. Expiries may differ by `slack_ms`;
/// encodings are compared when `encodings`.
pub fn differences(left: &Data, right: &Data, slack_ms: i64, encodings: bool) -> Vec<String> {
    let mut found = Vec::new();
    let same = |a: &Item, b: &Item| {
        a.kind == b.kind
            && a.value == b.value
            // A 7.0 packs no list.
            && (!encodings || a.kind == b"list" || a.encoding == b.encoding)
            && (a.expires < 0) == (b.expires < 0)
            && (a.expires - b.expires).abs() <= slack_ms
    };
    for ((db, key), item) in left {
        match right.get(&(*db, key.clone())) {
            None => found.push(format!("db {db} {}: only left: {item:?}", show(key))),
            Some(other) if !same(item, other) => {
                let (a, b) = (told(item, other), told(other, item));
                found.push(format!("db {db} {}: {a} / {b}", show(key)));
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

/// What one item has that another has not, to be read.
fn told(item: &Item, other: &Item) -> String {
    let text = |value: &Value| show(value.text().unwrap_or(b"?"));
    let mut said = format!("{} ({})", show(&item.kind), text(&item.encoding));
    if item.expires != other.expires {
        said += &format!(" expires {}", item.expires);
    }
    if item.value != other.value {
        let parts: Vec<String> = match item.value.items() {
            Some(items) if items.iter().all(|part| part.text().is_some()) => {
                items.iter().map(text).collect()
            }
            _ => vec![format!("{:?}", item.value)],
        };
        said += &format!(" {}", show(parts.join(" ").as_bytes()));
    }
    said
}

/// Fails with the differences unless the two data sets are the same.
pub fn assert_same(left: &Data, right: &Data, slack_ms: i64, encodings: bool, what: &str) {
    let found = differences(left, right, slack_ms, encodings);
    assert!(found.is_empty(), "{what}: data differs:\n{}", found.join("\n"));
}
