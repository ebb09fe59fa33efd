//! A directory with everything in it that the log has: a base, what another server wrote, several
//! generations, parts of both kinds, marks of entries over several shards, seconds, every type.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::interop::rewrite::{rewrite, told};
use crate::support::server::{Stopped, fresh_home};
use crate::support::{Client, Options, Server, encode};

/// Where a server has its log.
pub fn log_dir(home: &Path) -> PathBuf {
    home.join("appendonlydir")
}

/// Commands on every type that a 7.0 knows too; `%` stands for the round.
const LINES: &[&str] = &[
    "SET s:% value-%",
    "SETRANGE s:bits 1000 %",
    "INCRBY s:count 17",
    "SET s:soon % PXAT 4102444800123",
    "RPUSH l:% a b c %",
    "RPUSH l:all %",
    "LPOP l:all",
    "RPUSH l:all % %",
    "HSET h:% a 1 b 2 c %",
    "HSET h:all f:% v:%",
    "HDEL h:% b",
    "SADD set:% 1 2 3",
    "SADD set:all m:%",
    "SPOP set:%",
    "ZADD z:% 1 a 2.5 b -inf c",
    "ZINCRBY z:all % m",
    "ZADD z:all % m:%",
    "XADD x:all %-1 field value-%",
    "XADD x:% 1-1 a b c d",
    "XGROUP CREATE x:% g 0",
    "XREADGROUP GROUP g c COUNT 1 STREAMS x:% >",
    "PFADD hll a b c %",
    "SETBIT bm % 1",
    "GEOADD geo 13.361389 38.115556 p:%",
    // Over several shards.
    "MSET m:1 % m:2 % m:3 % m:4 % m:5 %",
    "SUNIONSTORE set:union set:% set:all",
    "RENAME s:% renamed:%",
    "COPY h:% h:copy REPLACE",
    "DEL m:3 l:%",
    "EXPIREAT h:copy 4102444800",
];

/// One round of writes, in two databases.
pub fn fill(client: &mut Client, round: u64) {
    for db in [0, 3] {
        client.words(&format!("SELECT {db}"));
        for line in LINES {
            let line = line.replace('%', &(100 * round + db).to_string());
            let reply = client.words(&line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
        client.words("MULTI");
        for key in 0..4 {
            client.words(&format!("APPEND t:{key} {round}"));
        }
        assert!(!client.words("EXEC").is_error());
    }
}

fn with_log(shards: usize) -> Options {
    Options { fsync: "everysec", ..Options::shards(shards) }.with("aof-timestamp-enabled", "yes")
}

/// A stopped server whose directory has it all. Where `cleanly`, it was stopped; else killed.
pub fn with_everything(shards: usize, cleanly: bool) -> Stopped {
    let home = fresh_home();
    let plain = Options { appendonly: false, ..Options::shards(shards) };
    let first = Server::start_in(home.clone(), plain);
    fill(&mut first.client(), 1);
    assert!(!first.client().words("SAVE").is_error());
    drop(first.stop());
    // The dump is taken over as the base; what stands between are cuts of all shards.
    let server = Server::start_in(home, with_log(shards));
    let mut client = server.client();
    fill(&mut client, 2);
    client.words("SELECT 9");
    client.words("SET gone 1");
    client.words("FLUSHDB");
    client.words("SWAPDB 3 5");
    fill(&mut client, 3);
    drop(client);
    let mut server = server.kill().restart();
    fill(&mut server.client(), 4);
    server = torn_inside_a_frame(server);
    fill(&mut server.client(), 5);
    server = appended_by_another(server);
    fill(&mut server.client(), 6);
    // Into frames of their own.
    fill(&mut server.client(), 7);
    if cleanly { server.stop() } else { server.kill() }
}

/// The files of a log with this ending, by sequence number.
fn ending(dir: &Path, with: &str) -> Vec<(u64, PathBuf)> {
    let mut found: Vec<(u64, PathBuf)> = std::fs::read_dir(dir)
        .expect("the log directory")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let seq = name.strip_prefix("appendonly.aof.")?.split('.').next()?.parse().ok()?;
            name.ends_with(with).then_some((seq, path))
        })
        .collect();
    found.sort();
    found
}

/// Kills the server so that recovery has to cut one shard's frame inside, and keep its front.
fn torn_inside_a_frame(mut server: Server) -> Server {
    for attempt in 0..40 {
        let mut client = server.client();
        let mut pipeline = Vec::new();
        for key in 0..8 {
            pipeline.extend(encode(&["SET", &format!("front:{key}"), "kept"]));
        }
        pipeline.extend(encode(&["MSET", "m:1", "x", "m:2", "x", "m:3", "x", "m:4", "x"]));
        client.send(&pipeline).expect("sent");
        (0..9).for_each(|_| drop(client.reply().expect("a reply")));
        drop(client);
        let (home, options) = (server.home(), server.options().clone());
        drop(server.kill());
        let dir = log_dir(home.path());
        let files = ending(&dir, ".incr.aof");
        // The connection may be with either shard: what it executes first is in that one's frame.
        let torn = format!(".s0{}.", attempt % 2);
        let mut of_shard = files.iter().filter(|(_, f)| f.to_string_lossy().contains(&torn));
        let torn = &of_shard.next_back().expect("a shard's file").1;
        let bytes = std::fs::read(torn).expect("reads");
        std::fs::write(torn, &bytes[..bytes.len().saturating_sub(3)]).expect("cut");
        server = Server::attempt(home.clone(), None, options.clone()).unwrap_or_else(|_| {
            // Another log had seen what was cut off: that is damage.
            std::fs::write(torn, bytes).expect("put back");
            Server::start_in(home, options)
        });
        if !ending(&dir, ".tail.incr.aof").is_empty() {
            return server;
        }
    }
    panic!("no frame was ever cut inside");
}

/// Lets another server have gone on in the log.
fn appended_by_another(server: Server) -> Server {
    let stopped = server.stop();
    let dir = log_dir(stopped.path());
    let last = ending(&dir, ".incr.aof").pop().expect("files").1;
    let mut file = OpenOptions::new().append(true).open(last).expect("opens");
    for command in [&["SELECT", "0"][..], &["SET", "foreign", "1"], &["INCR", "foreign"]] {
        file.write_all(&encode(command)).expect("written");
    }
    drop(file);
    let server = stopped.restart();
    assert_eq!(server.client().words("GET foreign").text(), Some(&b"2"[..]));
    server
}

/// A directory behind two rewrites, with what they have replaced still there, several generations
/// behind the base, a whole-keyspace command between them, and files that were written ahead. The
/// base is an RDB or, where `rdb` is not set, commands.
pub fn behind_rewrites(shards: usize, cleanly: bool, rdb: bool) -> Stopped {
    let options = with_log(shards)
        .with("aof-use-rdb-preamble", if rdb { "yes" } else { "no" })
        .with("aof-commit-method", "segment")
        .with("aof-disable-auto-gc", "yes")
        .with("aof-reserve-size", "0");
    let server = Server::start(options);
    let mut client = server.client();
    fill(&mut client, 1);
    rewrite(&mut client);
    fill(&mut client, 2);
    rewrite(&mut client);
    fill(&mut client, 3);
    for round in 4..6 {
        client.words("SELECT 9");
        client.words("SET gone 1");
        client.words("FLUSHDB");
        fill(&mut client, round);
    }
    // What was written ahead is there by then.
    until_ahead(&mut client, shards);
    fill(&mut client, 6);
    drop(client);
    let stopped = if cleanly { server.stop() } else { server.kill() };
    for (_, file) in ending(&log_dir(stopped.path()), ".incr.aof") {
        shorten_filler(&file);
    }
    stopped
}

/// Waits until every shard writes over what was written ahead.
fn until_ahead(client: &mut Client, shards: usize) {
    while told(client, "aof_commit_method") != "segment" {
        for key in 0..4 * shards {
            client.words(&format!("SET ahead:{key} 1"));
        }
    }
}

/// Leaves some of the filler at a file's end, as if the kill had come earlier: there may be
/// megabytes, in which most bits would flip.
fn shorten_filler(file: &Path) {
    let bytes = std::fs::read(file).expect("reads");
    let blank = |byte: &u8| matches!(byte, b'#' | b' ' | b'\n');
    let solid = bytes.iter().rposition(|byte| !blank(byte)).map_or(0, |at| at + 1);
    // A whole number of lines.
    let kept = (solid + 3000).next_multiple_of(512);
    if kept < bytes.len() {
        std::fs::write(file, &bytes[..kept]).expect("cut");
    }
}
