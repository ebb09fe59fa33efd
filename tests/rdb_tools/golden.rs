//! A file of every version, with every encoding there was by then.

use super::build::{File, intset, length, listpack, repeated, string, texts, ziplist, zipmap};

/// A time far ahead, in Unix seconds.
const LATER: i32 = 2_000_000_000;

/// Elements of every form that packed collections have.
fn items() -> Vec<Vec<u8>> {
    let mut items = texts(&[
        "0",
        "12",
        "13",
        "-1",
        "127",
        "-128",
        "128",
        "4095",
        "-4096",
        "5000",
        "-32768",
        "32768",
        "-8388608",
        "8388607",
        "8388608",
        "-2147483648",
        "2147483648",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "007",
        "",
        "text",
    ]);
    items.extend([60, 64, 128, 253, 254, 300, 4096, 17_000].map(|len| vec![b'a'; len]));
    items
}

/// Pairs of distinct fields and values of every form.
fn pairs() -> Vec<(Vec<u8>, Vec<u8>)> {
    let field =
        |at: usize| if at.is_multiple_of(3) { format!("{at}") } else { format!("field {at}") };
    items().into_iter().enumerate().map(|(at, value)| (field(at).into_bytes(), value)).collect()
}

fn flat(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
    pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect()
}

/// Members in order of their scores, which are of every form.
fn scores() -> Vec<Vec<u8>> {
    let pairs = [
        ("low", "-inf"),
        ("neg", "-1234567890123"),
        ("tiny", "-1.5"),
        ("0", "0"),
        ("a", "3"),
        ("b", "3.25"),
        ("7", "100000"),
        ("c", "17179869184.5"),
        ("d", "1e+100"),
        ("high", "inf"),
    ];
    pairs.iter().flat_map(|(member, score)| texts(&[member, score])).collect()
}

fn elements(items: &[Vec<u8>]) -> Vec<u8> {
    items.iter().fold(length(items.len() as u64), |body, item| [body, string(item)].concat())
}

/// Types of the first version.
fn first(file: &mut File) {
    file.value(0, "plain", &string(b"text")).value(0, "empty", &string(b""));
    file.value(0, "int8", &[0xC0, 0x85]).value(0, "int16", &[0xC1, 0x39, 0x30]);
    file.value(0, "int32", &[0xC2, 0xFF, 0xFF, 0xFF, 0x7F]);
    file.value(0, "compressed", &repeated(b'z', 20_000));
    file.value(0, "long length", &[&[0x80, 0, 0, 0, 3][..], b"abc"].concat());
    file.raw(&[0]).raw(&repeated(b'k', 300)).raw(&[0xC0, 7]);
    file.raw(&[253]).raw(&LATER.to_le_bytes()).value(0, "expires", &string(b"x"));
    file.value(1, "list", &elements(&items()));
    file.value(2, "set", &elements(&items()));
    file.value(
        2,
        "set of many",
        &elements(&(0..700).map(|n| format!("m{n}").into()).collect::<Vec<_>>()),
    );
    let hash =
        flat(&pairs()).iter().fold(length(pairs().len() as u64), |b, t| [b, string(t)].concat());
    file.value(4, "hash", &hash);
    let mut zset = length(6);
    for (member, score) in [("a", "1"), ("b", "-2.5"), ("c", "3.0000000000000004"), ("d", "1e300")]
    {
        zset.extend([string(member.as_bytes()), vec![score.len() as u8], score.into()].concat());
    }
    zset.extend([string(b"high"), vec![254], string(b"low"), vec![255]].concat());
    file.value(3, "zset", &zset);
    file.raw(&[254, 3]).value(0, "in another database", &[0xC0, 1]);
    file.raw(&[254]).raw(&length(0));
}

/// A node of a stream: three entries with the same fields, one removed, one with its own.
fn node() -> Vec<u8> {
    listpack(&texts(&[
        "3", "1", "2", "name", "n", "0", //
        "2", "0", "0", "first", "1", "5", //
        "3", "0", "1", "gone", "2", "5", //
        "2", "5", "0", "third", "-3", "5", //
        "0", "10", "7", "1", "other", "field", "6",
    ]))
}

fn id(ms: u64, seq: u64) -> Vec<u8> {
    [ms.to_be_bytes(), seq.to_be_bytes()].concat()
}

/// A stream of the type 15, 19 or 21, with two groups.
pub fn stream(kind: u8) -> Vec<u8> {
    let mut body = [length(1), string(&id(1000, 1)), string(&node())].concat();
    // Three entries, and the last id.
    body.extend([length(3), length(2000), length(5)].concat());
    if kind > 15 {
        // The first entry, the highest removed, and how many there ever were.
        body.extend([length(1000), length(1), length(1000), length(2), length(9)].concat());
    }
    let read: &dyn Fn(u64) -> Vec<u8> = &|n| if kind > 15 { length(n) } else { Vec::new() };
    body.extend([length(2), string(b"group"), length(1005), length(1), read(5)].concat());
    let (time, seen) = (1_600_000_000_000u64.to_le_bytes(), 1_600_000_000_123u64.to_le_bytes());
    body.extend([length(2), id(1000, 1), time.to_vec(), length(3)].concat());
    body.extend([id(1005, 1), time.to_vec(), length(70)].concat());
    body.extend([length(2), string(b"one"), seen.to_vec()].concat());
    if kind > 19 {
        body.extend(time);
    }
    body.extend([length(2), id(1000, 1), id(1005, 1), string(b"two"), seen.to_vec()].concat());
    if kind > 19 {
        body.extend((-1i64).to_le_bytes());
    }
    body.extend([length(0), string(b"nobody"), length(0), length(0), read(0)].concat());
    body.extend([length(0), length(0)].concat());
    body
}

/// A file of a version that redis-server 7.0 reads: 1 to 10.
pub fn file(version: u32) -> Vec<u8> {
    let mut file = File::new(version);
    if version >= 7 {
        file.raw(&[250]).raw(&string(b"redis-ver")).raw(&string(b"7.0.15"));
        file.raw(&[250]).raw(&string(b"%any")).raw(&[0xC1, 1, 2]);
    }
    file.raw(&[254, 0]);
    if version >= 7 {
        file.raw(&[251]).raw(&length(40)).raw(&length(5));
    }
    first(&mut file);
    if version >= 2 {
        let some = &pairs()[..20];
        file.value(9, "zipmap", &string(&zipmap(some)));
        file.value(10, "list ziplist", &string(&ziplist(&items())));
        file.value(10, "list ziplist, compressed", &packed(&ziplist(&vec![vec![b'r'; 400]; 9])));
        file.value(11, "intset 2", &string(&intset(2, &[-5, 0, 7, 300])));
        file.value(11, "intset 4", &string(&intset(4, &[-70_000, 1])));
        file.value(11, "intset 8", &string(&intset(8, &[i64::MIN, 0, i64::MAX])));
        file.value(12, "zset ziplist", &string(&ziplist(&scores())));
    }
    if version >= 3 {
        let at = i64::from(LATER) * 1000 + 123;
        file.raw(&[252]).raw(&at.to_le_bytes()).value(0, "expires in ms", &string(b"y"));
    }
    if version >= 4 {
        file.value(13, "hash ziplist", &string(&ziplist(&flat(&pairs()))));
    }
    if version >= 7 {
        let nodes = [length(2), string(&ziplist(&items())), string(&ziplist(&texts(&["x", "1"])))];
        file.value(14, "quicklist", &nodes.concat());
    }
    if version >= 8 {
        let doubles = [f64::NEG_INFINITY, -0.5, 0.1, 1e300].into_iter().enumerate();
        let body = doubles.fold(length(4), |body, (at, score)| {
            [body, string(&[b'a' + at as u8]), score.to_le_bytes().to_vec()].concat()
        });
        file.value(5, "zset 2", &body);
    }
    if version >= 9 {
        file.value(15, "stream", &stream(15));
        file.raw(&[248]).raw(&length(3000)).value(0, "idle", &string(b"i"));
        file.raw(&[249, 7]).value(0, "freq", &string(b"f"));
    }
    if version >= 10 {
        file.value(16, "hash listpack", &string(&listpack(&flat(&pairs()))));
        file.value(17, "zset listpack", &string(&listpack(&scores())));
        let nodes =
            [length(3), length(2), string(&listpack(&items())), length(1), string(&[9; 9000])];
        let last = [length(2), string(&listpack(&texts(&["1"])))];
        file.value(18, "quicklist 2", &[nodes.concat(), last.concat()].concat());
        file.value(19, "stream 2", &stream(19));
    }
    file.end()
}

/// A text as one compressed string of literals.
fn packed(text: &[u8]) -> Vec<u8> {
    let runs: Vec<u8> =
        text.chunks(32).flat_map(|run| [&[run.len() as u8 - 1][..], run].concat()).collect();
    [vec![0xC3], length(runs.len() as u64), length(text.len() as u64), runs].concat()
}

/// A file with what came after version 10, as far as version 11 has it.
pub fn newer() -> Vec<u8> {
    let mut file = File::new(11);
    file.raw(&[244]).raw(&[1, 2, 3]);
    file.value(20, "set listpack", &string(&listpack(&items())));
    file.value(21, "stream 3", &stream(21));
    file.end()
}

/// A file of version 12: fields with times.
pub fn timed() -> Vec<u8> {
    let at = i64::from(LATER) * 1000;
    let mut file = File::new(12);
    let fields = [length(1), string(b"a"), string(b"1"), length(0), string(b"b"), string(b"2")];
    file.value(24, "hash", &[at.to_le_bytes().to_vec(), length(2), fields.concat()].concat());
    let pack = listpack(&texts(&["c", "3", &(at + 7).to_string(), "d", "4", "0"]));
    file.value(25, "hash listpack", &[(at + 7).to_le_bytes().to_vec(), string(&pack)].concat());
    file.end()
}
