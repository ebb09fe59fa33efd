//! Commands that wait for a key: the order in which waiters are served, what wakes them, and that
//! no element is lost or given twice, whatever waiters do meanwhile.

mod storm;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Client, Options, Server, show};

/// Longest wait for the server to say that clients wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `count` clients wait for keys.
fn until_blocked(control: &mut Client, count: usize) {
    until(control, "blocked_clients", count);
}

/// Waits until a field of INFO clients has a value.
fn until(control: &mut Client, field: &str, count: usize) {
    let wanted = format!("{field}:{count}");
    let began = Instant::now();
    loop {
        let info = control.words("INFO clients");
        let text = String::from_utf8_lossy(info.text().unwrap_or_default()).into_owned();
        if text.lines().any(|line| line.trim_end() == wanted) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{wanted} is expected: {text}");
        std::thread::yield_now();
    }
}

/// Plays a script: `a BLPOP k 0` sends, `a! GET k` sends and notes the reply, `=a b` notes the
/// replies of these, `?2` waits until two clients wait. Gives what was noted.
fn play(server: &Server, script: &[&str]) -> Vec<String> {
    let mut control = server.client();
    control.words("FLUSHALL");
    let mut clients: BTreeMap<char, Client> = BTreeMap::new();
    let mut noted = Vec::new();
    let mut note = |name: char, client: &mut Client, line: &str| {
        let reply =
            client.reply().unwrap_or_else(|e| panic!("{name} at {line} of {script:?}: {e}"));
        // HELLO tells of the server, and is no matter here.
        let shown = show(&reply.0);
        let shown = if shown.contains("version") { "of the server" } else { &shown };
        noted.push(format!("{line}: {name} {shown}"));
    };
    for line in script {
        if let Some(count) = line.strip_prefix('?') {
            until_blocked(&mut control, count.parse().expect("a number"));
            continue;
        }
        if let Some(names) = line.strip_prefix('=') {
            for name in names.chars().filter(|name| *name != ' ') {
                note(name, clients.get_mut(&name).expect("it has sent something"), line);
            }
            continue;
        }
        let (name, command) = line.split_once(' ').expect("a client and a command");
        let awaits = name.ends_with('!');
        let name = name.chars().next().expect("a client");
        let client = clients.entry(name).or_insert_with(|| server.client());
        client.timeout(Duration::from_secs(10)).expect("a timeout");
        let words: Vec<&str> = command.split(' ').collect();
        let id = clients_id(&mut control, &words);
        let words: Vec<&[u8]> = words
            .iter()
            .map(|word| if *word == "@" { id.as_slice() } else { word.as_bytes() })
            .collect();
        let client = clients.get_mut(&name).expect("just there");
        client.send(&crate::support::client::encode(&words)).expect("send");
        if awaits {
            note(name, client, line);
        }
    }
    until_blocked(&mut control, 0);
    noted
}

/// The number of the one client that waits, where a command names it `@`.
fn clients_id(control: &mut Client, words: &[&str]) -> Vec<u8> {
    if !words.contains(&"@") {
        return Vec::new();
    }
    let list = control.words("CLIENT LIST");
    let text = String::from_utf8_lossy(list.text().unwrap_or_default()).into_owned();
    let line = text.lines().find(|line| line.contains("flags=b")).expect("a client waits");
    let id = line.split(' ').find_map(|field| field.strip_prefix("id=")).expect("it has a number");
    id.as_bytes().to_vec()
}

/// What both servers do.
const SCRIPTS: &[&[&str]] = &[
    // In the order in which they came.
    &[
        "a BLPOP k 0",
        "?1",
        "b BRPOP k 0",
        "?2",
        "c BLPOP k 0",
        "?3",
        "d! RPUSH k 1 2 3",
        "=abc",
        "d! LLEN k",
    ],
    &["a BLPOP k 0", "?1", "b BLPOP k 0", "?2", "d! RPUSH k 1", "=a", "d! RPUSH k 2", "=b"],
    // Several keys, the first that has something.
    &["a BLPOP x y z 0", "?1", "d! RPUSH y 1", "=a", "a! BLPOP x y z 1", "d! EXISTS y"]
        as &[&str],
    &["d! RPUSH z 1 2", "a! BLPOP x y z 0", "a! BRPOP z y x 0", "d! KEYS *"],
    &["a BLPOP k k k 0", "?1", "d! RPUSH k 1 2", "=a", "d! LRANGE k 0 -1"],
    // A transaction is over before anybody is served.
    &[
        "a BLPOP x y z 0",
        "?1",
        "d! MULTI",
        "d! RPUSH z 1",
        "d! RPUSH y 2",
        "d! LPOP z",
        "d! EXEC",
        "=a",
        "d! KEYS *",
    ],
    &["a BLPOP k 0", "?1", "d! MULTI", "d! RPUSH k 1", "d! DEL k", "d! EXEC", "d! RPUSH k 2", "=a"],
    &[
        "d! MULTI",
        "d! BLPOP k 0",
        "d! BLMOVE k l LEFT LEFT 0",
        "d! BZPOPMIN k 0",
        "d! BLMPOP 0 1 k LEFT",
        "d! EXEC",
    ],
    &["d! RPUSH k 1", "d! MULTI", "d! BLPOP k 0", "d! BLPOP k 0", "d! EXEC"],
    // A key of another type is no reason.
    &[
        "a BLPOP k 0",
        "?1",
        "d! SET k v",
        "d! DEL k",
        "d! ZADD k 1 m",
        "d! DEL k",
        "d! RPUSH k 1",
        "=a",
    ],
    &[
        "d! SET k v",
        "a! BLPOP k 0",
        "a! BLPOP n k 0",
        "a! BLMOVE k l LEFT LEFT 0",
        "a! BZPOPMIN k 0",
    ],
    // Keys that come by another way.
    &["a BLPOP k 0", "?1", "d! RPUSH from 1 2", "d! RENAME from k", "=a", "d! KEYS *"],
    &["a BLPOP k 0", "?1", "d! RPUSH from 1 2", "d! COPY from k", "=a", "d! LRANGE k 0 -1"],
    &["a BLPOP k 0", "?1", "d! RPUSH from 1 2", "d! LMOVE from k LEFT RIGHT", "=a", "d! EXISTS k"],
    &["a BLPOP k 0", "?1", "d! SELECT 1", "d! RPUSH k 1", "d! MOVE k 0", "=a"],
    &["a BLPOP k 0", "?1", "d! SELECT 1", "d! RPUSH k 1", "d! SWAPDB 0 1", "=a"],
    // From list to list, on to whoever waits there.
    &[
        "a BLMOVE k l LEFT RIGHT 0",
        "?1",
        "d! RPUSH k 1 2",
        "=a",
        "d! LRANGE l 0 -1",
        "d! LRANGE k 0 -1",
    ],
    &["a BRPOPLPUSH k l 0", "?1", "b BLPOP l 0", "?2", "d! RPUSH k 1 2", "=ab", "d! KEYS *"],
    &["a BLMOVE k k LEFT RIGHT 0", "?1", "d! RPUSH k 1 2 3", "=a", "d! LRANGE k 0 -1"],
    &["a BLMOVE k l LEFT RIGHT 0", "?1", "d! SET l v", "d! RPUSH k 1", "=a", "d! LRANGE k 0 -1"],
    &["d! RPUSH k 1", "a! BLMOVE k l LEFT RIGHT 0", "a! BRPOPLPUSH l k 0", "d! LRANGE k 0 -1"],
    &[
        "a BLMOVE k l LEFT RIGHT 0",
        "?1",
        "b BLMOVE l k LEFT RIGHT 0",
        "?2",
        "c BLPOP m 0",
        "?3",
        "d! RPUSH k 1",
        "=ab",
        "d! RPUSH m 1",
        "=c",
        "d! LRANGE k 0 -1",
    ],
    // Several elements.
    &["a BLMPOP 0 2 k l LEFT COUNT 2", "?1", "d! RPUSH l 1 2 3", "=a", "d! LRANGE l 0 -1"],
    &[
        "a BLMPOP 0 1 k RIGHT COUNT 10",
        "?1",
        "b BLMPOP 0 1 k LEFT",
        "?2",
        "d! RPUSH k 1 2",
        "=a",
        "d! RPUSH k 3",
        "=b",
    ],
    // Sorted sets.
    &[
        "a BZPOPMIN k 0",
        "?1",
        "b BZPOPMAX k 0",
        "?2",
        "d! ZADD k 1 x 2 y 3 z",
        "=ab",
        "d! ZRANGE k 0 -1",
    ],
    &[
        "a HELLO 3",
        "=a",
        "a BZMPOP 0 2 k l MAX COUNT 2",
        "?1",
        "d! ZADD l 1.5 x 2 y 3 z",
        "=a",
        "d! ZRANGE l 0 -1",
    ],
    &["a BZPOPMIN k l 0", "?1", "d! ZADD z 1 x", "d! ZUNIONSTORE l 1 z", "=a", "d! KEYS *"],
    &["a BZPOPMIN k 0", "?1", "d! RPUSH k 1", "d! DEL k", "d! ZINCRBY k 1 m", "=a"],
    // Both at once on one key.
    &["a BLPOP k 0", "?1", "b BZPOPMIN k 0", "?2", "d! ZADD k 1 m", "=b", "d! RPUSH k 1", "=a"],
    // Streams.
    &["a XREAD BLOCK 0 STREAMS s $", "?1", "d! XADD s 1-1 f v", "=a", "a! XREAD STREAMS s 0"],
    &[
        "d! XADD s 5-5 f v",
        "a XREAD BLOCK 0 COUNT 2 STREAMS s t $ 7-0",
        "?1",
        "d! XADD t 6-0 f v",
        "d! XADD s 6-0 f v",
        "=a",
    ],
    &[
        "a XREAD BLOCK 0 STREAMS s $",
        "?1",
        "b XREAD BLOCK 0 STREAMS s $",
        "?2",
        "d! XADD s 1-1 f v",
        "=ab",
    ],
    &[
        "a XREAD BLOCK 20 STREAMS s $",
        "=a",
        "a! XREAD BLOCK -1 STREAMS s $",
        "a! XREAD BLOCK x STREAMS s $",
    ],
    &[
        "a XREAD BLOCK 0 STREAMS s $",
        "?1",
        "d! SET s v",
        "d! DEL s",
        "d! XADD s 1-1 f v",
        "d! DEL s",
        "=a",
    ],
    &[
        "d! XGROUP CREATE s g $ MKSTREAM",
        "a XREADGROUP GROUP g me BLOCK 0 STREAMS s >",
        "?1",
        "b XREADGROUP GROUP g you BLOCK 0 STREAMS s >",
        "?2",
        "d! XADD s 1-1 f v",
        "=a",
        "d! XADD s 2-1 f v",
        "=b",
        "d! XPENDING s g",
    ],
    &[
        "d! XGROUP CREATE s g $ MKSTREAM",
        "d! XGROUP CREATE t g 0 MKSTREAM",
        "a XREADGROUP GROUP g me BLOCK 0 NOACK STREAMS s t > >",
        "?1",
        "d! XADD t 1-1 f v",
        "=a",
        "d! XPENDING t g",
    ],
    &[
        "d! XGROUP CREATE s g $ MKSTREAM",
        "a! XREADGROUP GROUP g me BLOCK 0 STREAMS s 0",
        "a! XREADGROUP GROUP g me BLOCK 20 STREAMS s >",
        "a! XREADGROUP GROUP no me BLOCK 0 STREAMS s >",
    ],
    &["d! MULTI", "d! XREAD BLOCK 0 STREAMS s $", "d! EXEC"],
    &[
        "a XREAD BLOCK 0 STREAMS k $",
        "?1",
        "b BLPOP k 0",
        "?2",
        "d! RPUSH k 1",
        "=b",
        "d! XADD k 1-1 f v",
        "=a",
    ],
    // Time.
    &["a! BLPOP k 0.02", "a! BLMOVE k l LEFT LEFT 0.02", "a! BZMPOP 0.02 2 k l MIN", "a! PING"],
    &["a! HELLO 3", "a! BLPOP k l 0.02", "a! BRPOPLPUSH k l 0.02", "a! BZPOPMAX k 0.02"],
    &["a BLPOP k 0.02", "a RPUSH k 1", "a LPOP k", "=aaa"],
    &["a! BLPOP k -1", "a! BLPOP k x", "a! BLMPOP 0 0 k LEFT", "a! BLMPOP x 1 k LEFT"],
    // Unblocked.
    &["a BLPOP k 0", "?1", "d! CLIENT UNBLOCK @", "=a", "d! RPUSH k 1", "a! LLEN k"],
    &["a BLMOVE k l LEFT LEFT 0", "?1", "d! CLIENT UNBLOCK @ TIMEOUT", "=a"],
    &["a BZPOPMIN k 0", "?1", "d! CLIENT UNBLOCK @ ERROR", "=a", "a! PING"],
    // What was sent behind it waits.
    &[
        "a BLPOP k 0",
        "a SET x 1",
        "a GET x",
        "?1",
        "d! EXISTS x",
        "d! RPUSH k 1",
        "=aaa",
        "d! GET x",
    ],
    &["a SET x 1", "a BLPOP k 0", "a GET x", "=a", "?1", "d! RPUSH k 1", "=aa"],
    &[
        "a CLIENT REPLY OFF",
        "a BLPOP k 0",
        "a CLIENT REPLY ON",
        "?1",
        "d! RPUSH k 1 2",
        "=a",
        "d! LRANGE k 0 -1",
    ],
    // Served in databases of their own.
    &[
        "a! SELECT 3",
        "a BLPOP k 0",
        "?1",
        "d! RPUSH k 1",
        "d! LLEN k",
        "d! SELECT 3",
        "d! RPUSH k 2",
        "=a",
        "d! EXISTS k",
    ],
    &[
        "a BLPOP k 0",
        "?1",
        "d! SET k v",
        "d! EXPIRE k 100",
        "d! RPUSH k x",
        "d! FLUSHALL",
        "d! RPUSH k 2",
        "=a",
    ],
];

#[test]
fn it_does_what_redis_does() {
    let Some(peer) = Server::peer(Options::default(), "blocking commands") else { return };
    let wanted: Vec<_> = SCRIPTS.iter().map(|script| play(&peer, script)).collect();
    for shards in [1, 2, 4] {
        for fsync in ["always", "no"] {
            let server = Server::start(Options { fsync, ..Options::shards(shards) });
            for (script, wanted) in SCRIPTS.iter().zip(&wanted) {
                let got = play(&server, script);
                assert_eq!(&got, wanted, "{shards} shards, {fsync}: {script:?}");
            }
        }
    }
}

/// Since 7.2 a waiter's command is run again as a whole: it takes what it would if it came now.
#[test]
fn all_its_keys_count_when_several_are_ready_at_once() {
    for shards in [1, 2, 4] {
        let server = Server::start(Options::shards(shards));
        let told = play(
            &server,
            &[
                "a BLPOP x y z 0",
                "?1",
                "d! MULTI",
                "d! RPUSH z 1",
                "d! RPUSH y 2",
                "d! RPUSH x 3",
                "d! EXEC",
                "=a",
            ],
        );
        assert_eq!(told.last().expect("a reply"), "=a: a *2\\r\\n$1\\r\\nx\\r\\n$1\\r\\n3\\r\\n");
        let told = play(
            &server,
            &[
                "a XREAD BLOCK 0 STREAMS s t 0 0",
                "?1",
                "d! MULTI",
                "d! XADD t 1-0 f v",
                "d! XADD s 2-0 f v",
                "d! EXEC",
                "=a",
            ],
        );
        let told = told.last().expect("a reply");
        assert!(
            told.starts_with("=a: a *2\\r\\n*2\\r\\n$1\\r\\ns") && told.contains("nt\\r"),
            "{told}"
        );
    }
}

#[test]
fn a_group_that_goes_is_told_of() {
    for shards in [1, 4] {
        let server = Server::start(Options::shards(shards));
        let waits = "a XREADGROUP GROUP g me BLOCK 0 STREAMS s >";
        let make = "d! XGROUP CREATE s g $ MKSTREAM";
        for end in ["XGROUP DESTROY s g", "DEL s", "RENAME s t", "FLUSHALL"] {
            let end = format!("d! {end}");
            let told = play(&server, &[make, waits, "?1", &end, "=a"]);
            let told = told.last().expect("a reply");
            assert!(told.starts_with("=a: a -NOGROUP No such key"), "{end}: {told}");
        }
        let told = play(&server, &[make, waits, "?1", "d! SET s v", "=a"]);
        assert!(told.last().expect("a reply").starts_with("=a: a -WRONGTYPE"), "{told:?}");
    }
}

#[test]
fn what_was_served_is_there_after_a_restart() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let script = [
            "a BLPOP x y z 0",
            "?1",
            "b BLMOVE k l LEFT RIGHT 0",
            "?2",
            "d! MULTI",
            "d! RPUSH x 1",
            "d! RPUSH y 2",
            "d! RPUSH z 3",
            "d! RPUSH k 4 5",
            "d! EXEC",
            "=ab",
        ];
        let told = play(&server, &script);
        let got = |name: char| told.iter().find(|line| line.starts_with(&format!("=ab: {name}")));
        assert!(got('a').is_some_and(|line| line.contains("1")), "{told:?}");
        let server = server.kill().restart();
        let mut client = server.client();
        let held =
            ["EXISTS x", "LLEN y", "LLEN z", "LLEN k", "LINDEX l 0"].map(|c| client.words(c));
        let [x, y, z, k, l] = held;
        assert_eq!([x.int(), y.int(), z.int(), k.int()], [Some(0), Some(1), Some(1), Some(1)]);
        assert_eq!(l.text(), Some(&b"4"[..]));
    }
}
