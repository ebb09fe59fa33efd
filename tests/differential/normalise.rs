//! The one table of loosened comparisons: which command, what is not compared, why. Whatever is not
//! listed here is compared byte for byte. Errors are never loosened: where 7.2 words one otherwise
//! than 7.0, both texts stand in the second table.

use std::collections::BTreeMap;

use super::generate::{Args, universe};
use super::zsets::LEVELS;
use crate::documents::ADDED;
use crate::support::Value;

/// How two replies that are not the same may still agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The same elements in any order.
    AnyOrder,
    /// The same pairs in any order.
    AnyOrderPairs,
    /// Integers at most this far apart.
    Near(i64),
    /// The same type of reply, whatever it says.
    Type,
    /// A key the stream has named, or nothing on both sides.
    SomeKey,
    /// The same, but for how numbers are spelled.
    Numbers,
    /// A whole scan: the same groups of that many elements in any order.
    Scanned(usize),
    /// Of a list `quicklist`, where it may be a `listpack`.
    ListForm,
    /// As many elements, or one, or none.
    Drawn,
    /// The same, but for consumers and the times of pending entries.
    Consumers,
    /// A cursor and a page.
    Page,
    /// A map, but for the values of `version`, `id` and `modules`.
    Hello,
    /// The number of keys and of expiries in each database, where both name databases.
    Keyspace,
    /// Rows of the command table: arity, key positions and the flags that both versions have.
    CommandRows,
    /// Names of commands: those of the server under test are among the peer's.
    SomeCommands,
}

/// A row of the table.
pub struct Loosened {
    /// Lower-case command, with its subcommand if only that one is meant.
    pub command: &'static str,
    /// How far.
    pub how: How,
    /// What is not compared.
    pub what: &'static str,
    /// Why.
    pub why: &'static str,
}

const fn row(command: &'static str, how: How, what: &'static str, why: &'static str) -> Loosened {
    Loosened { command, how, what, why }
}

const CLOCK: &str = "the two servers read their clocks at different moments";
const HELD_UP: &str = "a SAVE may hold one of the two up for seconds while others use the disk";
const SHARED: &str =
    "small numbers are one value for all keys in 7.0, and so is its use; has a test";
const DOUBLES: &str = "7.2 prints the shortest text of a double, 7.0 prints 17 digits";
const TABLE: &str = "the order of a hash table is nobody's promise";
const CONSUMERS: &str =
    "7.2 makes a consumer that is given nothing, and tells when it was given something; has tests";
const VERSION: &str = "7.0 judges 7.2: texts were added (documented in the release notes of 7.2)";

/// The table.
pub static TABLE_OF_LOOSENED: &[Loosened] = &[
    row("keys", How::AnyOrder, "order", TABLE),
    row(
        "scan",
        How::Page,
        "cursor and page",
        "cursors are opaque; whole scans are compared as sets",
    ),
    row("hgetall", How::AnyOrderPairs, "order", TABLE),
    row("hkeys", How::AnyOrder, "order", TABLE),
    row("hvals", How::AnyOrder, "order", TABLE),
    row("hrandfield", How::Type, "which fields", "random; has a test"),
    row("hscan", How::Scanned(2), "order", TABLE),
    row("smembers", How::AnyOrder, "order", TABLE),
    row("sinter", How::AnyOrder, "order", TABLE),
    row("sunion", How::AnyOrder, "order", TABLE),
    row("sdiff", How::AnyOrder, "order", TABLE),
    row("spop", How::AnyOrder, "order", TABLE),
    row("srandmember", How::Drawn, "which members", "random; has a test"),
    row("sscan", How::Scanned(1), "order", TABLE),
    row("xgroup|createconsumer", How::Type, "whether it is new", CONSUMERS),
    row("xinfo|consumers", How::Type, "the consumers", CONSUMERS),
    row("xinfo|groups", How::Consumers, "the consumers", CONSUMERS),
    row("xinfo|stream", How::Consumers, "the consumers, times", CONSUMERS),
    row("xinfo|help", How::Type, "the text", VERSION),
    row("xgroup|help", How::Type, "the text", VERSION),
    row("xpending", How::Consumers, "times", CLOCK),
    row("zadd", How::Numbers, "spelling", DOUBLES),
    row("zincrby", How::Numbers, "spelling", DOUBLES),
    row("zscore", How::Numbers, "spelling", DOUBLES),
    row("zmscore", How::Numbers, "spelling", DOUBLES),
    row("zrange", How::Numbers, "spelling", DOUBLES),
    row("zrevrange", How::Numbers, "spelling", DOUBLES),
    row("zrangebyscore", How::Numbers, "spelling", DOUBLES),
    row("zrevrangebyscore", How::Numbers, "spelling", DOUBLES),
    row("bzpopmin", How::Numbers, "spelling", DOUBLES),
    row("bzpopmax", How::Numbers, "spelling", DOUBLES),
    row("bzmpop", How::Numbers, "spelling", DOUBLES),
    row("zpopmin", How::Numbers, "spelling", DOUBLES),
    row("zpopmax", How::Numbers, "spelling", DOUBLES),
    row("zmpop", How::Numbers, "spelling", DOUBLES),
    row("zunion", How::Numbers, "spelling", DOUBLES),
    row("zinter", How::Numbers, "spelling", DOUBLES),
    row("zdiff", How::Numbers, "spelling", DOUBLES),
    row("zrandmember", How::Drawn, "which members", "random; has a test"),
    row("zscan", How::Scanned(2), "order, spelling", TABLE),
    row("randomkey", How::SomeKey, "which key", "random; it must be one the stream has named"),
    row("ttl", How::Near(60), "a minute", HELD_UP),
    row("pttl", How::Near(60_000), "a minute", HELD_UP),
    row("expiretime", How::Near(60), "a minute", HELD_UP),
    row("pexpiretime", How::Near(60_000), "a minute", HELD_UP),
    row("object|idletime", How::Near(160), "what a RESTORE said, and a minute", SHARED),
    row("object|encoding", How::ListForm, "forms of lists", "a 7.0 packs no list"),
    row("dump", How::Type, "the bytes", "order of tables, compression, doubles; has tests"),
    row("object|refcount", How::Type, "the count", "sharing of values is the allocator's business"),
    row("object|help", How::Type, "the text", VERSION),
    row("time", How::Type, "the time", CLOCK),
    row("hello", How::Hello, "version, id, modules", "another program, another number of clients"),
    row("client|help", How::Type, "the text", VERSION),
    row("client|info", How::Type, "the line", "other connections, and fields of 7.2; has a test"),
    row("client|list", How::Type, "the lines", "other connections, and fields of 7.2; has a test"),
    row("client|id", How::Type, "the id", "the number of clients so far differs"),
    row("info", How::Keyspace, "all but keys and expires", "another program; fields have a test"),
    row("slowlog|get", How::Type, "the calls", CLOCK),
    row("slowlog|len", How::Type, "the number", CLOCK),
    row("latency|histogram", How::Type, "the durations", CLOCK),
    row("memory|usage", How::Type, "the number of bytes", "another allocator, other structures"),
    row("memory|stats", How::Type, "the numbers", "another allocator, other structures"),
    row("memory|doctor", How::Type, "the text", "advice on another program"),
    row("memory|malloc-stats", How::Type, "the text", "another allocator"),
    row("acl|list", How::Type, "`sanitize-payload`", VERSION),
    row("acl|getuser", How::Type, "`sanitize-payload`", VERSION),
    row("acl|cat", How::AnyOrder, "order", TABLE),
    row("acl|help", How::Type, "subcommands", "those for more than one user come later"),
    row("module|help", How::Type, "subcommands", "modules cannot be loaded"),
    row("lastsave", How::Type, "the time", CLOCK),
    row("lolwut", How::Type, "the picture", "art"),
    row("debug|object", How::Type, "address, length, age", "other structures"),
    row("debug|htstats", How::Type, "the text", "other structures"),
    row("debug|htstats-key", How::Type, "the text", "other structures"),
    row("debug|sdslen", How::Type, "bytes taken", "another allocator, other structures"),
    row("debug|structsize", How::Type, "the sizes", "other structures"),
    row("debug|help", How::Type, "subcommands", "those about what is not there"),
    row("latency|doctor", How::Type, "the text", "advice on another program"),
    row("config|get", How::AnyOrderPairs, "order", TABLE),
    row("config|help", How::Type, "the text", VERSION),
    row("command|count", How::Type, "the number", "commands of later issues are not there yet"),
    row(
        "command|info",
        How::CommandRows,
        "categories, tips, key specs, subcommands; rows of commands not there yet",
        "compared part by part by the tests of `documents`",
    ),
    row("command|list", How::SomeCommands, "commands not there yet", "they come with later issues"),
    row("command|docs", How::Type, "the texts", VERSION),
    row("command|help", How::Type, "the text", VERSION),
    row("command", How::SomeCommands, "all but the names", "they come with later issues"),
];

/// Commands that 7.0 does not know: the stream does without them, and they have tests of their own.
pub static NEWER: &[&str] = &[
    "delex",
    "delifeq",
    "digest",
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hgetdel",
    "hgetex",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "hsetex",
    "httl",
    "msetex",
    "waitaof",
];

/// An error that 7.2 words otherwise than the peer, which may be 7.0. A text may end in `…`.
pub struct Reworded {
    /// What provokes it.
    pub command: &'static str,
    /// The peer's text, if it is a 7.0.
    pub old: &'static str,
    /// Ours.
    pub new: &'static str,
    /// Where 7.2 changed it.
    pub why: &'static str,
}

/// The table of texts.
pub static REWORDED: &[Reworded] = &[
    Reworded {
        command: "hello",
        old: "otherwise the HELLO AUTH <user> <pass> option",
        new: "otherwise the HELLO <proto> AUTH <user> <pass> option",
        why: "7.2 mended the text: AUTH stands behind the protocol version",
    },
    Reworded {
        command: "hello",
        old: "WRONGPASS invalid username-password pair or user is disabled.",
        new: "ERR Syntax error in HELLO option '…",
        why: "7.2 reads all options before it tries the password (modules may do that since)",
    },
    Reworded {
        command: "xread",
        old: "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be \
              specified.",
        new: "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be \
              specified.",
        why: "7.2 names the command that was called",
    },
    Reworded {
        command: "xreadgroup",
        old: "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be \
              specified.",
        new: "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must \
              be specified.",
        why: "7.2 names the command that was called",
    },
];

/// The peer's bytes with texts that were only mended put as 7.2 has them.
pub fn as_72(peer: &[u8]) -> Vec<u8> {
    let mut text = peer.to_vec();
    for row in REWORDED.iter().filter(|row| !row.new.ends_with('…')) {
        while let Some(at) = text.windows(row.old.len()).position(|w| w == row.old.as_bytes()) {
            text.splice(at..at + row.old.len(), row.new.bytes());
        }
    }
    text
}

/// Whether both say the same error, each in the words of its version.
fn reworded(args: &Args, peer: &Value, ours: &Value) -> bool {
    let (Value::Error(peer), Value::Error(ours)) = (peer, ours) else { return false };
    let name = full_name(args);
    let mut rows = REWORDED.iter().filter(|row| name.iter().any(|n| n == row.command));
    let is = |text: &[u8], said: &str| match said.strip_suffix('…') {
        Some(beginning) => text.starts_with(beginning.as_bytes()),
        None => text == said.as_bytes(),
    };
    rows.any(|row| is(peer, row.old) && is(ours, row.new))
}

/// The command's name, and with its subcommand if it has one.
fn full_name(args: &Args) -> Vec<String> {
    let lower = |word: &Vec<u8>| String::from_utf8_lossy(word).to_ascii_lowercase();
    let names: Vec<String> = args.iter().take(2).map(lower).collect();
    let full = names.join("|");
    names.into_iter().take(1).chain([full]).collect()
}

/// Whether 7.0 and 7.2 take the request for two different things, so that the stream is to do
/// without it: 7.2 lowered the arity of COMMAND GETKEYS from -4 to -3 (redis/redis#11201), ZRANK
/// and ZREVRANK have an option there, and 7.0 takes a RANK of LPOS that has no opposite. Nor may a
/// sorted set that is to have one score get another by a spoilt number (see `zsets`).
pub fn is_left_out(args: &Args) -> bool {
    let names = full_name(args);
    let ranked = args.len() > 3 && matches!(names[0].as_str(), "zrank" | "zrevrank");
    let least = i64::MIN.to_string();
    let lowest = names[0] == "lpos" && args.iter().any(|arg| arg == least.as_bytes());
    let other = |score: &Vec<u8>| score.contains(&b'0') && score != b"0";
    let scored = names[0] == "zadd" && args.len() > 1 && LEVELS.contains(&&args[1][..]);
    let uneven = scored && args.iter().skip(2).any(other);
    ranked || lowest || uneven || args.len() == 3 && names[1] == "command|getkeys"
}

fn find(args: &Args) -> Option<&'static Loosened> {
    let name = String::from_utf8_lossy(args.first()?).to_ascii_lowercase();
    let with_sub = args.get(1).map(|sub| {
        let sub = String::from_utf8_lossy(sub).to_ascii_lowercase();
        format!("{name}|{sub}")
    });
    let row = |wanted: &str| TABLE_OF_LOOSENED.iter().find(|l| l.command == wanted);
    match with_sub.as_deref().and_then(row) {
        Some(found) => Some(found),
        // The bare form of a command with subcommands has a row of its own.
        None if name == "command" && args.len() > 1 => None,
        None => row(&name),
    }
}

/// Whether the reply of the server under test agrees with the peer's.
pub fn agree(args: &Args, peer: &Value, ours: &Value) -> bool {
    if peer == ours {
        let key = matches!(find(args), Some(l) if l.how == How::SomeKey);
        return !key || !matches!(peer, Value::Bulk(_)) || known_key(peer);
    }
    if peer.is_error() || ours.is_error() {
        return reworded(args, peer, ours);
    }
    let Some(loosened) = find(args) else { return false };
    match loosened.how {
        How::AnyOrder => same_type(peer, ours) && sorted(peer, 1) == sorted(ours, 1),
        How::AnyOrderPairs => same_type(peer, ours) && sorted(peer, 2) == sorted(ours, 2),
        How::Near(slack) => match (peer.int(), ours.int()) {
            (Some(a), Some(b)) => (a < 0) == (b < 0) && (a >= 0) && (a - b).abs() <= slack,
            _ => false,
        },
        How::Type => same_type(peer, ours),
        How::SomeKey => known_key(peer) && known_key(ours) && peer.is_null() == ours.is_null(),
        How::Scanned(group) => match (peer.items(), ours.items()) {
            (Some([a, b]), Some([c, d])) => {
                let spelled = |value: &Value| sorted(&respelled(value), group);
                a == c && (sorted(b, group) == sorted(d, group) || spelled(b) == spelled(d))
            }
            _ => false,
        },
        How::ListForm => peer.text() == Some(b"quicklist") && ours.text() == Some(b"listpack"),
        How::Numbers => alike(peer, ours),
        How::Drawn => {
            let len = |value: &Value| value.items().map(<[Value]>::len);
            same_type(peer, ours) && len(peer) == len(ours)
        }
        How::Consumers => same_type(peer, ours) && timeless(peer) == timeless(ours),
        How::Page => is_page(peer) && is_page(ours),
        How::Hello => same_type(peer, ours) && hello(peer) == hello(ours),
        How::Keyspace => same_type(peer, ours) && keyspace(peer, ours),
        How::CommandRows => command_rows(peer, ours),
        How::SomeCommands => {
            let (theirs, mine) = (names(peer), names(ours));
            let added = |name: &Vec<u8>| ADDED.iter().any(|(known, _)| known.as_bytes() == name);
            same_type(peer, ours) && mine.iter().all(|n| theirs.contains(n) || added(n))
        }
    }
}

/// A number as text, spelled one way; other texts as they are.
fn respelled(value: &Value) -> Value {
    match value {
        Value::Bulk(text) => Value::Bulk(respelled_text(text)),
        Value::Number(kind, text) => Value::Number(*kind, respelled_text(text)),
        Value::Array(items) => Value::Array(items.iter().map(respelled).collect()),
        other => other.clone(),
    }
}

fn respelled_text(text: &[u8]) -> Vec<u8> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    number.map_or(text.to_vec(), |number| number.to_string().into())
}

/// Whether two replies are the same but for how numbers are spelled.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        _ => respelled(a) == respelled(b),
    }
}

fn same_type(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn sorted(value: &Value, group: usize) -> Vec<String> {
    let items = value.items().unwrap_or(&[]);
    let mut all: Vec<String> = items.chunks(group).map(|c| format!("{c:?}")).collect();
    all.sort();
    all
}

/// A reply about groups without their consumers and the times of pending entries.
fn timeless(value: &Value) -> String {
    let Some(items) = value.items() else { return format!("{value:?}") };
    if let [Value::Bulk(id), Value::Bulk(consumer), Value::Int(_), Value::Int(count)] = items {
        return format!("{id:?} {consumer:?} {count}");
    }
    let (mut text, mut at) = (String::from("["), 0);
    while at < items.len() {
        let skip = items[at].text() == Some(b"consumers");
        at += if skip { 2 } else { 1 };
        if !skip {
            text += &timeless(&items[at - 1]);
            text.push(' ');
        }
    }
    text + "]"
}

fn known_key(value: &Value) -> bool {
    value.is_null() || value.text().is_some_and(|key| universe().contains(key))
}

fn is_page(value: &Value) -> bool {
    let Some([Value::Bulk(cursor), Value::Array(_)]) = value.items() else { return false };
    !cursor.is_empty() && cursor.iter().all(u8::is_ascii_digit)
}

fn hello(value: &Value) -> Vec<String> {
    let keep = |pair: &&[Value]| {
        let name = pair[0].text().unwrap_or(b"");
        !matches!(name, b"version" | b"id" | b"modules")
    };
    let items = value.items().unwrap_or(&[]);
    items.chunks(2).filter(keep).map(|pair| format!("{pair:?}")).collect()
}

fn keyspace(peer: &Value, ours: &Value) -> bool {
    let lines = |value: &Value| -> Vec<String> {
        let text = String::from_utf8_lossy(value.text().unwrap_or(b"")).into_owned();
        let counts = |l: &str| l.split(",avg_ttl").next().unwrap_or("").to_owned();
        text.lines().filter(|l| l.starts_with("db") && l.contains(":keys=")).map(counts).collect()
    };
    lines(peer) == lines(ours)
}

fn command_rows(peer: &Value, ours: &Value) -> bool {
    // Flags that exist to steer what is not compared here, or that differ between 7.0 and 7.2.
    let row = |value: &Value| -> Option<String> {
        let items = value.items()?;
        let mut flags = sorted(&items[2], 1);
        flags.retain(|f| !f.contains("movablekeys"));
        let keys = &items[3..6];
        let name = items[0].text()?.to_ascii_lowercase();
        Some(format!("{name:?} {:?} {flags:?} {keys:?}", items[1]))
    };
    let (Some(theirs), Some(mine)) = (peer.items(), ours.items()) else { return false };
    // A command of a later issue has no row yet, but its place.
    let same = |(a, b): (&Value, &Value)| b.is_null() && a != b || row(a) == row(b);
    same_type(peer, ours) && theirs.len() == mine.len() && theirs.iter().zip(mine).all(same)
}

fn names(value: &Value) -> Vec<Vec<u8>> {
    let name = |v: &Value| match v.items() {
        Some(row) => row.first().and_then(Value::text).map(<[u8]>::to_vec),
        None => v.text().map(<[u8]>::to_vec),
    };
    value.items().unwrap_or(&[]).iter().filter_map(name).collect()
}

#[test]
fn the_table_is_a_table() {
    for row in REWORDED {
        assert!(!row.why.is_empty() && row.old != row.new, "{}: say why", row.command);
    }
    let mut seen = BTreeMap::new();
    for row in TABLE_OF_LOOSENED {
        assert!(!row.what.is_empty() && !row.why.is_empty(), "{}: say what and why", row.command);
        assert!(seen.insert(row.command, row.how).is_none(), "{} stands twice", row.command);
    }
}

#[test]
fn loosened_is_not_loose() {
    let key = |name: &str| vec![name.as_bytes().to_vec(), b"k".to_vec()];
    let bulk = |text: &str| Value::Bulk(text.into());
    assert!(agree(&key("TTL"), &Value::Int(100), &Value::Int(101)));
    assert!(!agree(&key("TTL"), &Value::Int(100), &Value::Int(-1)));
    assert!(!agree(&key("TTL"), &Value::Int(100), &Value::Int(200)));
    assert!(!agree(&key("GET"), &bulk("a"), &bulk("b")));
    assert!(!agree(&key("GET"), &Value::NullBulk, &Value::Null));
    assert!(!agree(&key("RANDOMKEY"), &bulk("k1"), &bulk("never named")));
    assert!(!agree(&key("RANDOMKEY"), &bulk("k1"), &Value::NullBulk));
    let (ab, ba) = (vec![bulk("a"), bulk("b")], vec![bulk("b"), bulk("a")]);
    assert!(agree(&key("KEYS"), &Value::Array(ab.clone()), &Value::Array(ba.clone())));
    assert!(!agree(&key("KEYS"), &Value::Array(ab.clone()), &Value::Set(ba.clone())));
    assert!(!agree(&key("MGET"), &Value::Array(ab), &Value::Array(ba)));
    let error = Value::Error(b"ERR a".into());
    assert!(!agree(&key("KEYS"), &error, &Value::Error(b"ERR b".into())));
    let [wrong, row] = ["WRONGPASS invalid username-password pair or user is disabled.", "ERR b"]
        .map(|text| Value::Error(text.into()));
    let option = Value::Error(b"ERR Syntax error in HELLO option 'x'".into());
    assert!(agree(&key("HELLO"), &wrong, &option) && !agree(&key("HELLO"), &option, &wrong));
    assert!(!agree(&key("HELLO"), &wrong, &row) && !agree(&key("GET"), &wrong, &option));
}
