//! Logs that tell seconds, and all that a manifest of Redis may say: loaded and gone on with, in
//! both directions; and a log of a running server cut back to a second.

use std::path::Path;
use std::process::Command;

use super::{check_aof, fill};
use crate::support::data;
use crate::support::server::{copy_home, judged_by_peer, subject};
use crate::support::{Client, Options, Server, encode, peer};

fn with_times(shards: usize) -> Options {
    Options { fsync: "everysec", ..Options::shards(shards) }.with("aof-timestamp-enabled", "yes")
}

fn manifest(home: &Path) -> std::path::PathBuf {
    home.join("appendonlydir/appendonly.aof.manifest")
}

/// After a clean stop, and after kill -9 once check-aof has mended what there was to mend.
#[test]
fn redis_loads_what_tells_seconds() {
    for (i, shards) in [1, 3].into_iter().enumerate() {
        let what = format!("a directory with seconds of {shards} shards in redis-server");
        let server = Server::start(with_times(shards));
        let ours = fill(&server, 900 + i as u64);
        let killed = server.kill();
        let copy = copy_home(killed.path());
        let fixed = check_aof(copy.path(), true);
        assert!(fixed.status.success(), "{fixed:?}");
        let Some(theirs) = Server::peer_in(copy, Options::default(), &what) else { return };
        data::assert_same(&ours, &data::read(&mut theirs.client()), 0, false, &what);
        drop(theirs);
        let stopped = killed.restart().stop();
        let copy = copy_home(stopped.path());
        let Some(tool) = peer::program("redis-check-aof", &what) else { return };
        let told = Command::new(tool).arg(manifest(copy.path())).output().expect("runs");
        assert!(told.status.success(), "{told:?}");
        let theirs = Server::peer_in(copy, Options::default(), &what).expect("it was there");
        data::assert_same(&ours, &data::read(&mut theirs.client()), 0, false, &what);
        let dir = stopped.path().join("appendonlydir");
        let files = std::fs::read_dir(dir).expect("a directory");
        let told = files.filter(|file| {
            let bytes = std::fs::read(file.as_ref().expect("a file").path()).expect("reads");
            bytes.windows(6).any(|w| w == b"\n#TS:1" || w == b"\n#TS:2")
        });
        assert!(judged_by_peer() || told.count() > 0, "no second is told");
    }
}

/// Several incremental files, history, seconds, the pairs of Redis 8; a base of both forms.
#[test]
fn a_directory_of_redis_with_all_that_its_manifest_may_say_is_continued() {
    for (i, preamble) in ["yes", "no"].into_iter().enumerate() {
        let what = "a directory of redis-server with several files";
        let options = with_times(1).with("aof-use-rdb-preamble", preamble);
        let Some(server) = Server::peer(options, what) else { return };
        fill(&server, 920 + i as u64);
        rewritten(&mut server.client());
        fill(&server, 930 + i as u64);
        let stopped = server.stop();
        let dir = stopped.path().join("appendonlydir");
        add_files(&dir, &manifest(stopped.path()));
        // Redis says what the directory holds.
        let copy = copy_home(stopped.path());
        let theirs = Server::peer_in(copy, Options::default(), what).expect("it was there");
        let theirs = data::read(&mut theirs.client());
        assert!(theirs.contains_key(&(7, b"second".to_vec())));
        for shards in [1, 3] {
            let ours = Server::start_in(copy_home(stopped.path()), with_times(shards));
            data::assert_same(&theirs, &data::read(&mut ours.client()), 0, false, what);
            let more = fill(&ours, 940 + i as u64);
            let again = ours.kill().restart();
            data::assert_same(&more, &data::read(&mut again.client()), 0, false, "and again");
            let back = copy_home(again.stop().path());
            let theirs = Server::peer_in(back, Options::default(), what).expect("it was there");
            data::assert_same(&more, &data::read(&mut theirs.client()), 0, false, "and back");
        }
    }
}

fn rewritten(client: &mut Client) {
    assert!(!client.words("BGREWRITEAOF").is_error());
    loop {
        let info = client.words("INFO persistence");
        let text = String::from_utf8_lossy(info.text().expect("a text")).into_owned();
        let lines = ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1"];
        if !lines.iter().any(|line| text.contains(line)) {
            return;
        }
        std::thread::yield_now();
    }
}

/// Adds a second incremental file and one that has served to a directory of Redis.
fn add_files(dir: &Path, manifest: &Path) {
    let mut second = b"#TS:1700000000\r\n".to_vec();
    for command in
        [&["SELECT", "7"][..], &["SET", "second", "1"], &["MULTI"], &["INCR", "second"], &["EXEC"]]
    {
        second.extend(encode(command));
    }
    second.extend_from_slice(b"#TS:1700000009\r\n");
    std::fs::write(dir.join("appendonly.aof.9.incr.aof"), second).expect("written");
    std::fs::write(dir.join("appendonly.aof.1.incr.aof"), b"served").expect("written");
    let text = std::fs::read_to_string(manifest).expect("reads");
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.ends_with("type i") {
            true => format!("{line} startoffset 17 endoffset 4711\n"),
            false => format!("{line}\nfile appendonly.aof.1.incr.aof seq 1 type h\n"),
        })
        .collect();
    let more = "file appendonly.aof.9.incr.aof seq 9 type i startoffset 4712\n";
    std::fs::write(manifest, format!("{}{more}", lines.concat())).expect("written");
}

/// The second in which the server says it is.
fn second(client: &mut Client) -> i64 {
    let time = client.words("TIME");
    let text = time.items().and_then(|items| items[0].text()).expect("a time");
    std::str::from_utf8(text).expect("digits").parse().expect("a number")
}

/// What was answered before a second began is there, what was asked for behind it is not, on all
/// shards and in transactions over several.
#[test]
fn a_log_cut_back_to_a_second_holds_what_was_done_up_to_it() {
    if judged_by_peer() {
        return;
    }
    for shards in [1, 2, 4] {
        let server = Server::start(with_times(shards));
        let mut client = server.client();
        let mut write = |value: &str| {
            for key in 0..20 {
                client.words(&format!("SET {value}:{key} {value}"));
            }
            client.words(&format!("MSET a {value} b {value} c {value} d {value} e {value}"));
            second(&mut client)
        };
        let until = write("kept");
        let mut asked = server.client();
        while second(&mut asked) <= until {
            std::thread::yield_now();
        }
        let later = write("gone");
        let stopped = if shards == 2 { server.kill() } else { server.stop() };
        let cut = |second: i64| {
            let mut tool = Command::new(subject());
            tool.args(["check-aof", "--truncate-to-timestamp", &second.to_string()]);
            tool.arg(manifest(stopped.path())).output().expect("runs")
        };
        assert!(!cut(until - 1_000_000).status.success(), "nothing is that old");
        let nothing = cut(later);
        let said = String::from_utf8_lossy(&nothing.stdout).into_owned();
        assert!(nothing.status.success() && said.contains("Truncate nothing"), "{said}");
        let done = cut(until);
        assert!(done.status.success(), "{done:?}");
        let server = stopped.restart();
        let mut client = server.client();
        for key in ["a", "b", "c", "d", "e", "kept:0", "kept:19"] {
            let value = client.words(&format!("GET {key}"));
            assert_eq!(value.text(), Some(&b"kept"[..]), "{key}, {shards} shards");
        }
        let keys = client.words("DBSIZE").int();
        assert_eq!(keys, Some(25), "{shards} shards");
    }
}
