//! RDB files of every version, and the tools that read them: what is built from the descriptions
//! of the format means the same to redis-server and to us, and what `convert` makes of a file is
//! the same data again.

mod build;
mod golden;
mod large;
mod reader;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::server::{self, Home, fresh_home, judged_by_peer};
use crate::support::{Client, Options, Server, Value, data, peer};

/// A directory with this dump.
fn home_with(dump: &[u8]) -> Home {
    let home = fresh_home();
    std::fs::write(home.path().join("dump.rdb"), dump).unwrap();
    home
}

fn digest(client: &mut Client) -> Value {
    let digest = client.words("DEBUG DIGEST");
    assert!(!digest.is_error(), "{digest:?}");
    digest
}

/// The server under test on a dump.
fn ours(dump: &[u8], shards: usize) -> Server {
    Server::start_in(home_with(dump), Options::shards(shards).with("enable-debug-command", "yes"))
}

/// redis-server on a dump, or on nothing.
fn theirs(dump: Option<&[u8]>, what: &str) -> Option<Server> {
    let home = dump.map_or_else(fresh_home, home_with);
    let options = Options { appendonly: false, ..Options::default() };
    Server::peer_in(home, options.with("enable-debug-command", "yes"), what)
}

fn tool(args: &[&str]) -> Output {
    let mut command = Command::new(server::subject());
    command.args(args).stdin(Stdio::null()).output().expect("the tool runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What check-rdb says of a file, when it is good.
fn checked(path: &Path) -> String {
    let said = tool(&["check-rdb", "--json", path.to_str().unwrap()]);
    assert!(said.status.success(), "{}{}", text(&said.stdout), text(&said.stderr));
    text(&said.stdout)
}

/// A number of the object that check-rdb prints.
fn number_of(json: &str, name: &str) -> u64 {
    let name = format!("\"{name}\":");
    let at = json.find(&name).unwrap_or_else(|| panic!("{name} in {json}")) + name.len();
    json[at..].bytes().take_while(u8::is_ascii_digit).fold(0, |n, b| n * 10 + u64::from(b - b'0'))
}

/// Keys of all databases.
fn keys(client: &mut Client) -> u64 {
    let info = text(client.words("INFO keyspace").text().unwrap());
    let counts = info.lines().filter_map(|line| line.split_once("keys=")?.1.split(',').next());
    counts.map(|count| count.parse::<u64>().unwrap()).sum()
}

/// Converts a dump; the file it became.
fn convert(dump: &[u8], name: &str, options: &[&str]) -> Vec<u8> {
    let home = home_with(dump);
    let (from, to) = (home.path().join("dump.rdb"), home.path().join(name));
    let places = [from.to_str().unwrap(), to.to_str().unwrap()];
    let done = tool(&[&["convert"], options, &places].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    let left = std::fs::read_dir(home.path()).unwrap().count();
    assert_eq!(left, 2, "nothing is left behind");
    std::fs::read(to).unwrap()
}

/// Pipes commands into a server; how many of them failed.
fn pipe(server: &Server, commands: &[u8], what: &str) -> bool {
    let Some(cli) = peer::program("redis-cli", what) else { return false };
    let mut child = Command::new(cli)
        .args(["-p", &server.port().to_string(), "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli");
    child.stdin.take().unwrap().write_all(commands).expect("commands");
    let said = child.wait_with_output().expect("redis-cli");
    assert!(said.status.success() && text(&said.stdout).contains("errors: 0"), "{said:?}");
    true
}

#[test]
fn files_of_every_version_mean_the_same_to_both() {
    let what = "golden RDB files";
    let Some(check) = peer::program("redis-check-rdb", what) else { return };
    if judged_by_peer() {
        return;
    }
    for version in 1..=10 {
        let dump = golden::file(version);
        let Some(redis) = theirs(Some(&dump), what) else { return };
        let home = home_with(&dump);
        let path = home.path().join("dump.rdb");
        let judged = Command::new(&check).arg(&path).output().unwrap();
        assert!(judged.status.success(), "{version}: {}", text(&judged.stdout));
        let mut other = redis.client();
        let ours = ours(&dump, 1 + version as usize % 2);
        let mut one = ours.client();
        assert_eq!(digest(&mut one), digest(&mut other), "version {version}");
        data::assert_same(&data::read(&mut one), &data::read(&mut other), 0, false, what);
        let json = checked(&path);
        assert_eq!(number_of(&json, "keys"), keys(&mut other), "{version}");
        assert_eq!(number_of(&json, "version"), u64::from(version));
    }
}

#[test]
fn files_convert_to_versions_that_redis_loads() {
    let what = "converted RDB files";
    if judged_by_peer() {
        return;
    }
    // From what is newer than redis-server 7.0 to what it reads, and from all to all.
    for (dump, versions) in [
        (golden::newer(), &["9", "10"][..]),
        (golden::file(10), &["9", "10"]),
        (golden::file(8), &["6", "7", "8", "9", "10"]),
        (golden::file(1), &["6", "10"]),
    ] {
        let ours = ours(&dump, 2);
        let wanted = digest(&mut ours.client());
        for version in versions {
            for more in [&[][..], &["--no-compression"]] {
                let options = [&["--rdb-version", version], more].concat();
                let converted = convert(&dump, "out.rdb", &options);
                assert_eq!(&converted[5..9], format!("{version:0>4}").as_bytes());
                let Some(redis) = theirs(Some(&converted), what) else { return };
                assert_eq!(digest(&mut redis.client()), wanted, "{options:?}");
            }
        }
    }
    let timed = golden::timed();
    let (one, other) =
        (ours(&timed, 1), ours(&convert(&timed, "x.rdb", &["--rdb-version", "12"]), 2));
    assert_eq!(digest(&mut one.client()), digest(&mut other.client()));
    let mut client = other.client();
    let times = client.words("HPEXPIRETIME hash FIELDS 2 a b");
    assert_eq!(times, Value::Array(vec![Value::Int(2_000_000_000_000), Value::Int(-1)]));
    let home = home_with(&timed);
    let path = home.path().join("dump.rdb");
    let out = home.path().join("out.rdb");
    let refused = tool(&["convert", path.to_str().unwrap(), out.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let why = "\"hash\": a hash whose fields have times cannot be written into an RDB file below";
    assert!(text(&refused.stderr).contains(why), "{}", text(&refused.stderr));
    assert!(!out.exists() && std::fs::read_dir(home.path()).unwrap().count() == 1);
}

#[test]
fn commands_make_the_same_data_again() {
    let what = "commands made of RDB files";
    if judged_by_peer() {
        return;
    }
    for dump in [golden::file(10), golden::file(3), golden::newer()] {
        let ours = ours(&dump, 2);
        let wanted = digest(&mut ours.client());
        let commands = convert(&dump, "out.aof", &[]);
        let Some(redis) = theirs(None, what) else { return };
        if !pipe(&redis, &commands, what) {
            return;
        }
        assert_eq!(digest(&mut redis.client()), wanted);
        // They are an append-only file, too.
        let home = fresh_home();
        std::fs::write(home.path().join("appendonly.aof"), &commands).unwrap();
        let other = Server::start_in(home, Options::default().with("enable-debug-command", "yes"));
        assert_eq!(digest(&mut other.client()), wanted);
        // What the groups say but for the times, which a claim makes anew.
        let groups = |client: &mut Client| {
            ["stream", "stream 2", "stream 3"].map(|key| {
                let pending = client.call(&["XPENDING", key, "group"]);
                (client.call(&["XINFO", "GROUPS", key]), pending)
            })
        };
        assert_eq!(groups(&mut redis.client()), groups(&mut other.client()));
    }
    let commands = text(&convert(&golden::timed(), "out.resp", &[]));
    assert!(
        commands.contains("HPEXPIREAT\r\n$4\r\nhash\r\n$13\r\n2000000000000\r\n"),
        "{commands}"
    );
}

#[test]
fn lines_of_json_hold_everything() {
    if judged_by_peer() {
        return;
    }
    let dump = golden::file(10);
    let lines = text(&convert(&dump, "out.jsonl", &[]));
    let ours = ours(&dump, 1);
    assert_eq!(lines.lines().count() as u64, keys(&mut ours.client()));
    let line = |db: u8, kind: &str, key: &str, rest: &str| {
        format!(r#"{{"db":{db},"type":"{kind}","key":"{key}",{rest}}}"#)
    };
    let never = |value: &str| format!(r#""expire_ms":null,"value":{value}"#);
    let stream = concat!(
        r#"{"entries":[["1000-1",["name","first","n","1"]],["1005-1",["name","third","n","-3"]],"#,
        r#"["1010-8",["other","field"]]],"length":3,"last_id":"2000-5","max_deleted_id":"1000-2","#,
        r#""entries_added":9,"groups":[{"name":"group","last_id":"1005-1","entries_read":5,"#,
        r#""consumers":[{"name":"one","seen_ms":1600000000123,"active_ms":1600000000123,"#,
        r#""pending":[["1000-1",1600000000000,3],["1005-1",1600000000000,70]]},"#,
        r#"{"name":"two","seen_ms":1600000000123,"active_ms":1600000000123,"pending":[]}]},"#,
        r#"{"name":"nobody","last_id":"0-0","entries_read":0,"consumers":[]}]}"#,
    );
    let ints = r#"["-9223372036854775808","0","9223372036854775807"]"#;
    let scores = r#"[["a","-inf"],["b",-0.5],["c",0.1],["d",1e+300]]"#;
    for line in [
        line(0, "string", "int8", &never("\"-123\"")),
        line(3, "string", "in another database", &never("\"1\"")),
        line(0, "string", "expires", r#""expire_ms":2000000000000,"value":"x""#),
        line(0, "string", "idle", r#""expire_ms":null,"idle_s":3000,"value":"i""#),
        line(0, "string", "freq", r#""expire_ms":null,"freq":7,"value":"f""#),
        line(0, "set", "intset 8", &never(ints)),
        line(0, "zset", "zset 2", &never(scores)),
        line(0, "stream", "stream 2", &never(stream)),
    ] {
        assert!(lines.lines().any(|found| found == line), "{line}");
    }
    let timed = text(&convert(&golden::timed(), "out.json", &[]));
    let hash = r#""value":[["a","1",2000000000000],["b","2"]]}"#;
    assert!(timed.lines().next().unwrap().ends_with(hash), "{timed}");
    for (options, count) in [
        (&["--db", "3"][..], 1),
        (&["--type", "zset"], 4),
        (&["--match", "intset ?", "--type", "set"], 3),
        (&["--match", "nothing"], 0),
    ] {
        let some = convert(&dump, "out.jsonl", options);
        assert_eq!(text(&some).lines().count(), count, "{options:?}");
    }
}

#[test]
fn what_redis_wrote_is_converted() {
    let what = "an RDB file of redis-server, converted";
    let Some(redis) = theirs(None, what) else { return };
    if judged_by_peer() {
        return;
    }
    let mut client = redis.client();
    for db in [0, 9] {
        client.words(&format!("SELECT {db}"));
        for n in 0..1500 {
            let (n, many) = (n.to_string(), format!("member {n}"));
            client.call(&["RPUSH", "list", &n, &many]);
            client.call(&["SADD", "set", &many]);
            client.call(&["HSET", "hash", &many, &n]);
            client.call(&["ZADD", "zset", &format!("{n}.25"), &many]);
            client.call(&["XADD", "stream", &format!("{n}-1"), "field", &many]);
            client.call(&["SET", &many, &n.repeat(30)]);
        }
        client.words("XGROUP CREATE stream group 0");
        client.words("XREADGROUP GROUP group me COUNT 700 STREAMS stream >");
        client.words("XDEL stream 1003-1 1499-1");
        client.words("PEXPIREAT hash 4102444800123");
        client.words("SADD numbers 1 2 3");
        client.words("SET raw a");
        client.call(&[b"APPEND", b"raw".as_slice(), &(0..=255).collect::<Vec<u8>>()]);
    }
    client.words("FUNCTION LOAD \"#!lua name=lib\\nredis.register_function('f', function() end)\"");
    client.call(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=lib\nredis.register_function('f', function() end)",
    ]);
    assert_eq!(client.words("SAVE"), Value::Simple(b"OK".into()));
    let wanted = digest(&mut client);
    let path = redis.home().path().join("dump.rdb");
    let dump = std::fs::read(&path).unwrap();
    let json = checked(&path);
    assert_eq!((number_of(&json, "keys"), number_of(&json, "functions")), (keys(&mut client), 1));
    let said = text(&tool(&["check-rdb", path.to_str().unwrap()]).stdout);
    for line in ["Checksum OK", "\\o/ RDB looks OK! \\o/", "[info] 1 libraries of functions"] {
        assert!(said.contains(line), "{said}");
    }
    let Some(piped) = theirs(None, what) else { return };
    let commands = convert(&dump, "out.aof", &[]);
    if !pipe(&piped, &commands, what) {
        return;
    }
    let mut other = piped.client();
    other.words("SELECT 9");
    assert_eq!(digest(&mut other), wanted);
    assert_eq!(other.words("FUNCTION LIST"), client.words("FUNCTION LIST"));
    assert_eq!(other.words("XINFO GROUPS stream"), client.words("XINFO GROUPS stream"));
    let converted = convert(&dump, "out.rdb", &[]);
    assert!(converted.len() < dump.len() * 21 / 20, "{} of {}", converted.len(), dump.len());
    let Some(again) = theirs(Some(&converted), what) else { return };
    let mut other = again.client();
    other.words("SELECT 9");
    assert_eq!(digest(&mut other), wanted);
    assert_eq!(other.words("FUNCTION LIST"), client.words("FUNCTION LIST"));
    assert_eq!(other.words("XINFO STREAM stream FULL"), client.words("XINFO STREAM stream FULL"));
}

#[test]
fn data_of_modules_is_refused_or_passed_over() {
    if judged_by_peer() {
        return;
    }
    let value = [&[0x81][..], &[0x12; 8], &[5, 3], b"abc", &[2, 0x40, 200, 0]].concat();
    let aux = [&[247, 0x81][..], &[0x12; 8], &[2, 2, 1, 5, 0]].concat();
    let mut file = build::File::new(10);
    let file = file.raw(&aux).value(7, "a module's", &value).value(0, "k", &build::string(b"v"));
    let dump = file.end();
    let home = home_with(&dump);
    let refused = Server::refused(home.clone(), None, Options::default());
    assert!(refused.log.contains("data of module") && refused.log.contains("rdb-module-data"));
    assert_eq!(std::fs::read(home.path().join("dump.rdb")).unwrap(), dump);
    for shards in [1, 2] {
        let options = Options::shards(shards).with("rdb-module-data", "skip");
        let server = Server::start_in(home_with(&dump), options);
        assert_eq!(server.client().words("DBSIZE"), Value::Int(1));
        server.said(|log| log.contains("2 values and other data of modules were passed over"));
    }
    let path = home.path().join("dump.rdb");
    let json = checked(&path);
    assert_eq!(["module_values", "module_aux", "keys"].map(|n| number_of(&json, n)), [1, 1, 1]);
    let refused = tool(&["convert", "--to", "json", path.to_str().unwrap(), "-"]);
    assert_eq!(refused.status.code(), Some(1));
    let lines = text(&convert(&dump, "out.json", &["--skip-modules"]));
    assert_eq!(lines.lines().count(), 1);
}

#[test]
fn broken_files_are_refused_and_command_lines_explained() {
    if judged_by_peer() {
        return;
    }
    let dump = golden::file(10);
    let home = fresh_home();
    let (path, out) = (home.path().join("x.rdb"), home.path().join("out.jsonl"));
    let (path, out) = (path.to_str().unwrap(), out.to_str().unwrap());
    let mut flipped = dump.clone();
    flipped[dump.len() / 2] ^= 16;
    let mut broken =
        vec![flipped, b"REDIS0099\xff".to_vec(), b"no RDB at all".to_vec(), Vec::new()];
    broken.extend((1..12).map(|part| dump[..dump.len() * part / 12].to_vec()));
    for bytes in broken {
        std::fs::write(path, &bytes).unwrap();
        let said = tool(&["check-rdb", path]);
        assert_eq!(said.status.code(), Some(1));
        assert!(text(&said.stdout).contains("--- RDB ERROR DETECTED ---\n[offset "), "{said:?}");
        let said = tool(&["check-rdb", "--json", path]);
        let json = text(&said.stdout);
        assert!(json.contains("\"ok\":false,\"error\":{\"offset\":"), "{json}");
        let said = tool(&["convert", path, out]);
        assert_eq!(said.status.code(), Some(1));
        assert!(text(&said.stderr).starts_with("x.rdb, byte "), "{}", text(&said.stderr));
        assert!(!Path::new(out).exists());
    }
    // The damage in a value names its key.
    let damaged = build::File::new(10).value(16, "the key", &build::string(b"no listpack")).end();
    std::fs::write(path, damaged).unwrap();
    let said = text(&tool(&["check-rdb", path]).stdout);
    assert!(said.contains("[offset 9] hash \"the key\": "), "{said}");
    assert_eq!(tool(&["check-rdb"]).status.code(), Some(2));
    assert_eq!(tool(&["convert", path]).status.code(), Some(2));
    assert_eq!(tool(&["check-rdb", "/nowhere/at.all"]).status.code(), Some(1));
    let version = text(&tool(&["check-rdb", "-v"]).stdout);
    assert!(version.starts_with("redis-check-rdb 7.2"), "{version}");
    assert!(text(&tool(&["convert", "--help"]).stdout).contains("--rdb-version"));
}
