//! DEBUG RELOAD: what was saved is what is there afterwards, behind a crash as well, and what
//! cannot be saved or read changes nothing.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{bulk, contents, fill, options};
use crate::support::{Client, Options, Server, Value};

fn ok() -> Value {
    Value::Simple(b"OK".into())
}

fn not_loaded() -> Value {
    Value::Error(b"ERR Error trying to load the RDB dump, check server logs".into())
}

fn whole(client: &mut Client) -> Vec<u8> {
    bulk(&client.words("DEBUG DIGEST"))
}

fn filled(shards: usize, appendonly: bool) -> Server {
    let server = Server::start(Options { shards, appendonly, ..options() });
    let mut client = server.client();
    fill(&mut client);
    for (key, _) in contents().iter().step_by(4) {
        assert_eq!(client.call(&["PEXPIREAT", key, "4102444800123"]), Value::Int(1));
    }
    client.words("SELECT 9");
    client.words("SET of:9 x");
    client.words("HSET timed:fields a 1 b 2");
    client.words("HPEXPIREAT timed:fields 4102444800456 FIELDS 1 a");
    server
}

#[test]
fn what_was_saved_is_there_again() {
    for (shards, appendonly) in [(1, true), (3, true), (2, false)] {
        let server = filled(shards, appendonly);
        let mut client = server.client();
        let before = whole(&mut client);
        for line in ["DEBUG RELOAD", "debug reload MERGE", "DEBUG RELOAD NOSAVE"] {
            assert_eq!(client.words(line), ok(), "{line}");
            assert_eq!(whole(&mut client), before, "{line}");
        }
        // What is there already cannot be there twice, unless that is asked for.
        assert_eq!(client.words("DEBUG RELOAD NOFLUSH"), not_loaded());
        assert_eq!(client.words("DEBUG RELOAD NOFLUSH MERGE"), ok());
        assert_eq!(whole(&mut client), before);
        assert_eq!(client.words("PEXPIRETIME string:0"), Value::Int(4_102_444_800_123));
        let words = "DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.";
        let told = client.words("DEBUG RELOAD NOW");
        assert_eq!(told, Value::Error(format!("ERR {words}").into_bytes()));
        if appendonly {
            client.words("SET behind it");
            let before = whole(&mut client);
            let again = server.kill().restart();
            assert_eq!(whole(&mut again.client()), before, "{shards}");
        }
    }
}

#[test]
fn an_older_file_is_what_the_log_says_as_well() {
    for shards in [1, 3] {
        let server = filled(shards, true);
        let mut client = server.client();
        let saved = whole(&mut client);
        assert_eq!(client.words("SAVE"), ok());
        let change = |client: &mut Client| {
            for line in ["SET new 1", "DEL hash:64", "SET string:0 other", "RPUSH list:3 more"] {
                assert!(!client.words(line).is_error(), "{line}");
            }
        };
        change(&mut client);
        let changed = whole(&mut client);
        assert_ne!(changed, saved);
        assert_eq!(client.words("DEBUG RELOAD NOSAVE NOFLUSH"), not_loaded());
        assert_eq!(whole(&mut client), changed);
        assert_eq!(client.words("DEBUG RELOAD NOSAVE"), ok());
        assert_eq!(whole(&mut client), saved);
        let server = server.kill().restart();
        let mut client = server.client();
        assert_eq!(whole(&mut client), saved, "{shards}");
        change(&mut client);
        assert_eq!(client.words("DEBUG RELOAD NOSAVE NOFLUSH MERGE"), ok());
        assert_eq!(client.words("GET new"), Value::Bulk(b"1".into()));
        assert_eq!(client.words("DEL new"), Value::Int(1));
        assert_eq!(whole(&mut client), saved);
        assert_eq!(whole(&mut server.kill().restart().client()), saved, "{shards}");
    }
}

#[test]
fn what_cannot_be_read_or_written_changes_nothing() {
    let server = filled(2, true);
    let mut client = server.client();
    let before = whole(&mut client);
    let path = server.home().path().join("dump.rdb");
    assert_eq!(client.words("DEBUG RELOAD NOSAVE"), not_loaded(), "there is none yet");
    assert_eq!(client.words("SAVE"), ok());
    let file = fs::read(&path).expect("the file");
    let mut torn = file.clone();
    torn.truncate(file.len() / 2);
    let mut spoilt = file.clone();
    spoilt[file.len() / 2] ^= 4;
    for bytes in [torn, spoilt, b"REDIS0010".to_vec(), Vec::new()] {
        fs::write(&path, bytes).expect("written");
        assert_eq!(client.words("DEBUG RELOAD NOSAVE"), not_loaded());
        assert_eq!(client.words("DEBUG RELOAD NOSAVE NOFLUSH MERGE"), not_loaded());
        assert_eq!(whole(&mut client), before);
    }
    // What it would take the place of is no file.
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a directory");
    assert_eq!(client.words("DEBUG RELOAD"), Value::Error(b"ERR".into()));
    assert_eq!(whole(&mut client), before);
    fs::remove_dir(&path).expect("removed");
    assert_eq!(client.words("DEBUG RELOAD"), ok());
    assert_eq!(whole(&mut client), before);
    assert_eq!(whole(&mut server.kill().restart().client()), before);
}

#[test]
fn clients_go_on_counting() {
    let server = Server::start(Options { shards: 2, ..options() });
    let stop = AtomicBool::new(false);
    let mut made: Vec<i64> = Vec::new();
    std::thread::scope(|scope| {
        let mut writers = Vec::new();
        for writer in 0..3 {
            let (stop, mut client) = (&stop, server.client());
            writers.push(scope.spawn(move || {
                let mut made = 0;
                while !stop.load(Ordering::Relaxed) {
                    made += 1;
                    assert_eq!(client.words(&format!("INCR n:{writer}")), Value::Int(made));
                }
                made
            }));
        }
        let mut client = server.client();
        for round in 0..30 {
            let line = if round % 3 == 0 { "DEBUG RELOAD NOFLUSH MERGE" } else { "DEBUG RELOAD" };
            assert_eq!(client.words(line), ok());
        }
        stop.store(true, Ordering::Relaxed);
        made = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
    });
    let server = server.kill().restart();
    let mut client = server.client();
    for (writer, made) in made.iter().enumerate() {
        let value = Value::Bulk(made.to_string().into_bytes());
        assert_eq!(client.words(&format!("GET n:{writer}")), value);
    }
}
