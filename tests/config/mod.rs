//! Configuration from outside: the files of others start the server, CONFIG answers as
//! redis-server's does, a rewritten file is read by both.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Client, Options, Server, Value, peer, server, show};

/// Where Debian's package has its file.
const DEBIAN: &str = "/etc/redis/redis.conf";

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.text().unwrap_or_else(|| panic!("{value:?}"))).into_owned()
}

/// CONFIG GET as a map.
fn get(client: &mut Client, pattern: &str) -> BTreeMap<String, String> {
    let reply = client.call(&["CONFIG", "GET", pattern]);
    let items = reply.items().expect("a list");
    items.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn error(value: &Value) -> String {
    match value {
        Value::Error(text) => show(text),
        other => format!("{other:?}"),
    }
}

#[test]
fn debians_file_starts_the_server_and_is_rewritten_for_both() {
    let Ok(debian) = std::fs::read(DEBIAN) else {
        return peer::skip("Debian's redis.conf", "it is not there or not readable");
    };
    let home = server::fresh_home();
    let conf = home.path().join("redis.conf");
    std::fs::write(&conf, &debian).unwrap();
    let options = Options::default()
        .conf(&conf)
        .with("daemonize", "no")
        .with("pidfile", "")
        .with("logfile", "");
    let server = Server::start_in(home.clone(), options.clone());
    let mut client = server.client();
    assert_eq!(client.words("SET a 1"), Value::Simple(b"OK".into()));
    assert_eq!(client.words("CONFIG SET maxmemory 100mb timeout 77").text(), Some(&b"OK"[..]));
    assert_eq!(client.words("CONFIG REWRITE").text(), Some(&b"OK"[..]));
    let new = String::from_utf8(std::fs::read(&conf).unwrap()).unwrap();
    let remarks = |text: &str| {
        text.lines()
            .filter(|l| l.starts_with('#'))
            .map(|l| l.trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    let old_remarks = remarks(&String::from_utf8_lossy(&debian));
    assert_eq!(remarks(&new)[..old_remarks.len()], old_remarks, "every remark in its order");
    assert!(new.lines().any(|l| l == "timeout 77"), "{new}");
    assert!(new.lines().any(|l| l == "maxmemory 100mb"), "{new}");
    drop(client);
    server.stop();
    let ours = Server::start_in(home.clone(), options.clone());
    let mut client = ours.client();
    assert_eq!(get(&mut client, "timeout")["timeout"], "77");
    assert_eq!(client.words("GET a").text(), Some(&b"1"[..]));
    assert_eq!(client.words("CONFIG REWRITE").text(), Some(&b"OK"[..]));
    let again = std::fs::read_to_string(&conf).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    // Every server of a test gets a port of its own.
    let other = lines(&again).into_iter().zip(lines(&new));
    let other: Vec<_> = other.filter(|(a, b)| a != b && !a.starts_with("port ")).collect();
    assert!(other.is_empty() && lines(&again).len() == lines(&new).len(), "changed: {other:?}");
    drop(client);
    ours.stop();
    if let Some(theirs) = Server::peer_in(home, options, "reading a file we rewrote") {
        assert_eq!(get(&mut theirs.client(), "maxmemory")["maxmemory"], "104857600");
    }
}

/// The lines in force in the sample configuration that comes with 7.2, but for the port.
const SAMPLE: &str = "\
bind 127.0.0.1 -::1\nprotected-mode yes\ntcp-backlog 511\ntimeout 0\ntcp-keepalive 300\n\
daemonize no\npidfile ./redis_6379.pid\nloglevel notice\nlogfile \"\"\ndatabases 16\n\
always-show-logo no\nset-proc-title yes\n\
proc-title-template \"{title} {listen-addr} {server-mode}\"\nlocale-collate \"\"\n\
stop-writes-on-bgsave-error yes\nrdbcompression yes\nrdbchecksum yes\ndbfilename dump.rdb\n\
rdb-del-sync-files no\ndir ./\nreplica-serve-stale-data yes\nreplica-read-only yes\n\
repl-diskless-sync yes\nrepl-diskless-sync-delay 5\nrepl-diskless-sync-max-replicas 0\n\
repl-diskless-load disabled\nrepl-disable-tcp-nodelay no\nreplica-priority 100\n\
acllog-max-len 128\nlazyfree-lazy-eviction no\nlazyfree-lazy-expire no\n\
lazyfree-lazy-server-del no\nreplica-lazy-flush no\nlazyfree-lazy-user-del no\n\
lazyfree-lazy-user-flush no\noom-score-adj no\noom-score-adj-values 0 200 800\n\
disable-thp yes\nappendonly no\nappendfilename \"appendonly.aof\"\n\
appenddirname \"appendonlydir\"\nappendfsync everysec\nno-appendfsync-on-rewrite no\n\
auto-aof-rewrite-percentage 100\nauto-aof-rewrite-min-size 64mb\naof-load-truncated yes\n\
aof-use-rdb-preamble yes\naof-timestamp-enabled no\nslowlog-log-slower-than 10000\n\
slowlog-max-len 128\nlatency-monitor-threshold 0\nnotify-keyspace-events \"\"\n\
hash-max-listpack-entries 512\nhash-max-listpack-value 64\nlist-max-listpack-size -2\n\
list-compress-depth 0\nset-max-intset-entries 512\nset-max-listpack-entries 128\n\
set-max-listpack-value 64\nzset-max-listpack-entries 128\nzset-max-listpack-value 64\n\
hll-sparse-max-bytes 3000\nstream-node-max-bytes 4096\nstream-node-max-entries 100\n\
activerehashing yes\nclient-output-buffer-limit normal 0 0 0\n\
client-output-buffer-limit replica 256mb 64mb 60\n\
client-output-buffer-limit pubsub 32mb 8mb 60\nhz 10\ndynamic-hz yes\n\
aof-rewrite-incremental-fsync yes\nrdb-save-incremental-fsync yes\njemalloc-bg-thread yes\n";

#[test]
fn the_sample_of_7_2_starts_the_server_and_is_rewritten_for_both() {
    let home = server::fresh_home();
    let conf = home.path().join("redis.conf");
    std::fs::write(&conf, SAMPLE.replace("dir ./\n", "")).unwrap();
    let options = Options::default().conf(&conf);
    let server = Server::start_in(home.clone(), options.clone());
    let mut client = server.client();
    assert_eq!(client.words("CONFIG REWRITE").text(), Some(&b"OK"[..]));
    drop(client);
    server.stop();
    let new = std::fs::read_to_string(&conf).unwrap();
    for line in SAMPLE.lines().filter(|line| *line != "dir ./") {
        let name = line.split(' ').next().unwrap();
        let kept = new.lines().filter(|l| l.split(' ').next() == Some(name)).count();
        let lines = if name == "client-output-buffer-limit" { 3 } else { 1 };
        assert_eq!(kept, lines, "{name} in {new}");
    }
    // What a 7.0 does not know yet.
    let newer = ["locale-collate ", "set-max-listpack-"];
    let older: String = new
        .lines()
        .filter(|l| !newer.iter().any(|n| l.starts_with(n)))
        .fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(&conf, older).unwrap();
    if let Some(theirs) = Server::peer_in(home, options, "reading a rewritten sample") {
        assert_eq!(get(&mut theirs.client(), "hz")["hz"], "10");
    }
}

/// Lines of every kind, with things to keep and things to drop.
const MIXED: &str = "\
# A remark\n\n\n   # indented\nmaxmemory 1000000\nTimeout   5\nsave 100 1\nsave 200 2\n\
slowlog-max-len 10\nslave-priority 50\nloglevel verbose\nloglevel notice\n\
client-output-buffer-limit pubsub 1mb 1024 5\nhash-max-ziplist-entries 5\n\
notify-keyspace-events Kx\nrequirepass \"a b\"\nmasteruser x\n\
latency-tracking-info-percentiles 50 99\n\
oom-score-adj-values 1 2 3\nshutdown-on-sigint nosave now\n\n\nappendfilename x.aof\n";

#[test]
fn a_rewritten_file_is_what_redis_would_write() {
    let rewritten = |server: Option<Server>, conf: &Path| {
        let server = server?;
        let mut client = server.client();
        assert_eq!(client.call(&["AUTH", "a b"]).text(), Some(&b"OK"[..]));
        for line in [
            "CONFIG SET maxmemory 3gb save 5@6",
            "CONFIG SET timeout 0 masteruser @ requirepass @",
            "CONFIG SET hz 50 tcp-keepalive 11 lazyfree-lazy-expire yes",
            "CONFIG SET client-output-buffer-limit normal@1024@0@3",
        ] {
            let line: Vec<String> = line
                .split(' ')
                .map(|w| if w == "@" { String::new() } else { w.replace('@', " ") })
                .collect();
            let reply = client.call(&line);
            assert_eq!(reply.text(), Some(&b"OK"[..]), "{line:?}: {}", error(&reply));
        }
        assert_eq!(client.words("CONFIG REWRITE").text(), Some(&b"OK"[..]));
        let text = std::fs::read_to_string(conf).unwrap();
        let (head, tail) = text.split_once("# Generated by CONFIG REWRITE\n").unwrap();
        let mut tail: Vec<String> = tail.lines().map(str::to_owned).collect();
        // Redis' users, and save points that are the default, are no matter of ours; the directory
        // and the log differ by design.
        let other = ["user ", "dir ", "appendonly ", "appendfsync ", "shards ", "port ", "bind "];
        tail.retain(|l| !other.iter().any(|o| l.starts_with(o)));
        tail.sort();
        Some((head.to_owned(), tail))
    };
    let start = |peer: bool| {
        let home = server::fresh_home();
        let conf = home.path().join("x.conf");
        std::fs::write(&conf, MIXED).unwrap();
        let options = Options::default().conf(&conf);
        let server = match peer {
            true => Server::peer_in(home, options, "CONFIG REWRITE compared"),
            false => Some(Server::start_in(home, options)),
        };
        rewritten(server, &conf)
    };
    let ours = start(false);
    if let Some(theirs) = start(true) {
        assert_eq!(ours, Some(theirs));
    }
}

#[test]
fn a_rewrite_in_a_transaction_answers_there() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let mut client = server.client();
        for line in ["MULTI", "SET a 1", "CONFIG REWRITE", "SET b 2", "MGET a b c d"] {
            client.words(line);
        }
        let reply = client.words("EXEC");
        let told = error(&reply.items().expect("an array")[1]);
        assert_eq!(told, "ERR The server is running without a config file");
        assert_eq!(client.words("PING"), Value::Simple(b"PONG".into()));
        assert_eq!(client.words("CONFIG GET port").items().map(<[Value]>::len), Some(2));
    }
}

#[test]
fn a_rewrite_needs_a_file_and_waits_for_nobody() {
    let server = Server::start(Options::shards(2));
    let mut client = server.client();
    let refused = client.words("CONFIG REWRITE");
    assert_eq!(error(&refused), "ERR The server is running without a config file");
    drop(client);
    let home = server::fresh_home();
    let conf = home.path().join("x.conf");
    std::fs::write(&conf, "timeout 9\n").unwrap();
    let server = Server::start_in(home.clone(), Options::shards(2).conf(&conf));
    let mut client = server.client();
    // Many at once, among others, on one connection and inside a transaction.
    let line = |text: &str| text.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
    let mut commands = Vec::new();
    for i in 0..20 {
        commands.push(line(&format!("SET key:{i} {i}")));
        commands.push(line("CONFIG REWRITE"));
        commands.push(line(&format!("GET key:{i}")));
    }
    for (i, replies) in client.pipeline(&commands).chunks(3).enumerate() {
        assert_eq!(replies[0].text(), Some(&b"OK"[..]));
        assert_eq!(replies[1].text(), Some(&b"OK"[..]), "{replies:?}");
        assert_eq!(replies[2].text(), Some(i.to_string().as_bytes()));
    }
    let transaction = ["MULTI", "SET a 1", "CONFIG REWRITE", "SET b 2", "EXEC"].map(line);
    let replies = client.pipeline(&transaction);
    assert!(replies[4].items().is_some_and(|r| r.iter().all(|r| r.text() == Some(b"OK"))));
    std::fs::remove_dir_all(home.path()).unwrap();
    let failed = error(&client.words("CONFIG REWRITE"));
    assert!(failed.starts_with("ERR Rewriting config file: "), "{failed}");
}

#[test]
fn renamed_commands_answer_to_their_new_names_alone() {
    let home = server::fresh_home();
    let conf = home.path().join("x.conf");
    let lines = "rename-command SET Put\nrename-command GET \"\"\nrename-command EXEC do\n\
                 rename-command EVAL \"\"\nrename-command flushall wipe\n";
    std::fs::write(&conf, lines).unwrap();
    let options = Options::shards(2).conf(&conf);
    let check = |server: &Server| {
        let mut client = server.client();
        let mut said = Vec::new();
        for line in [
            "put a 1",
            "PUT b 2 XX",
            "SET a 2",
            "get a",
            "GETRANGE a 0 -1",
            "MULTI",
            "PUT x 5",
            "set y 6",
            "EXEC",
            "DO",
            "MULTI",
            "PUT x 5",
            "INCR x",
            "do",
            "PUT",
            "WIPE a b",
            "eval x 0",
        ] {
            said.push((line, client.words(line)));
        }
        said
    };
    let server = Server::start_in(home, options.clone());
    let ours = check(&server);
    let peer_home = server::fresh_home();
    if let Some(theirs) = Server::peer_in(peer_home, options, "rename-command compared") {
        assert_eq!(ours, check(&theirs));
    }
    // What is in the log is read back by the commands' own names.
    let again = server.stop().restart();
    let mut client = again.client();
    assert_eq!(client.words("GETRANGE x 0 -1").text(), Some(&b"6"[..]));
    assert_eq!(client.words("WIPE").text(), Some(&b"OK"[..]));
    assert_eq!(client.words("DBSIZE"), Value::Int(0));
    drop(client);
    let again = again.kill().restart();
    assert_eq!(again.client().words("DBSIZE"), Value::Int(0));
}

#[test]
fn protected_directives_are_for_whom_it_is_allowed() {
    for (allow, name, changes) in
        [("no", "dbfilename", false), ("yes", "dbfilename", true), ("local", "dbfilename", true)]
    {
        let options = Options::default().with("enable-protected-configs", allow);
        let server = Server::start(options);
        let reply = server.client().call(&["CONFIG", "SET", name, "other.rdb"]);
        assert_eq!(reply.text() == Some(b"OK"), changes, "{allow}: {}", error(&reply));
        if !changes {
            assert!(error(&reply).contains("set protected config"), "{}", error(&reply));
        }
    }
}

/// Values that fit some directives and not others.
const VALUES: &[&str] = &[
    "",
    "yes",
    "NO",
    "0",
    "1",
    "-1",
    "7",
    "100",
    "1gb",
    "5%",
    "abc",
    "60 1",
    "60 1 2",
    "normal 0 0 0",
    "99999999999999999999",
    "KEA",
    "1 2 3",
    "local",
    "always",
    "default",
    "0x10",
    " 5",
    "1.5",
];

/// Directives that are not compared, each with the reason.
const APART: &[(&str, &str)] = &[
    ("port", "the tests talk through it"),
    ("bind", "the tests talk through it"),
    ("appendonly", "what comes of it is compared in admin::turning"),
    ("dir", "protected; and a restart here"),
    ("requirepass", "the tests would be shut out"),
    ("protected-mode", "set by neither"),
    ("maxclients", "Redis checks descriptors"),
    ("databases", "immutable"),
    ("maxmemory-clients", "guarded: no common bound of clients' buffers"),
    ("maxmemory", "writes of the test would be refused"),
    ("min-replicas-to-write", "guarded: no replication"),
    ("min-slaves-to-write", "guarded: no replication"),
    ("activedefrag", "Redis asks whether its allocator can"),
    ("oom-score-adj", "Redis writes to /proc"),
    ("oom-score-adj-values", "Redis writes to /proc"),
    ("locale-collate", "Redis asks the system's locales"),
    ("watchdog-period", "a signal handler of Redis"),
    ("proc-title-template", "Redis looks for its own words in it"),
    ("loglevel", "7.2 has a level more than the installed one may have"),
    ("repl-backlog-size", "Redis makes it larger: there is no backlog here"),
    ("timeout", "clients would be closed"),
    ("client-query-buffer-limit", "clients would be closed"),
    ("client-output-buffer-limit", "clients would be closed"),
    ("tls-", "guarded: no TLS"),
    ("cluster-announce-hostname", "Redis tells other nodes"),
];

#[test]
fn setting_anything_answers_as_redis_does() {
    let Some(theirs) = Server::peer(Options::default(), "CONFIG SET compared") else { return };
    let ours = Server::start(Options::default());
    let (mut a, mut b) = (theirs.client(), ours.client());
    let names: Vec<String> = get(&mut a, "*").into_keys().collect();
    let known = get(&mut b, "*");
    let mut wrong = Vec::new();
    for name in &names {
        if !known.contains_key(name) {
            wrong.push(format!("{name} is not known"));
        }
        if APART
            .iter()
            .any(|(apart, _)| name == apart || apart.ends_with('-') && name.starts_with(apart))
        {
            continue;
        }
        let before = get(&mut a, name)[name].clone();
        for value in VALUES.iter().copied().chain([before.as_str()]) {
            // Numbers with a fraction are read by C's library, which knows hexadecimal ones.
            if name.ends_with("-percentiles") && value == "0x10" {
                continue;
            }
            let set = ["CONFIG", "SET", name, value];
            let (x, y) = (a.call(&set), b.call(&set));
            let (got_x, got_y) = (get(&mut a, name), get(&mut b, name));
            if x != y || got_x != got_y && name != "save" || got_x.is_empty() {
                wrong.push(format!(
                    "{name} {value:?}:\n  redis {} {got_x:?}\n  ours  {} {got_y:?}",
                    error(&x),
                    error(&y)
                ));
                let _ = b.call(&["CONFIG", "SET", name, &got_x[name]]);
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
