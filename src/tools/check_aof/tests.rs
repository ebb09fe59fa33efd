//! The tool on directories in a temporary place, judged by redis-server and redis-check-aof.

use super::*;
use crate::persist::testing::{LogFile, MemVolume, NAME, directory, half_an_entry, load};
use std::io::BufReader;
use std::process::{Child, Command, Stdio};

fn check(args: &[&OsStr], answer: &str) -> (bool, String) {
    let args: Vec<OsString> = args.iter().map(|a| (*a).to_owned()).collect();
    let mut out = Vec::new();
    let good = run(&args, &mut out, &mut answer.as_bytes()).unwrap();
    (good, String::from_utf8(out).unwrap())
}

fn on_disk(volume: &MemVolume, home: &Path) -> PathBuf {
    let dir = home.join("appendonlydir");
    std::fs::create_dir(&dir).unwrap();
    for name in volume.list().unwrap() {
        std::fs::write(dir.join(&name), volume.read_all(&name).unwrap()).unwrap();
    }
    dir
}

struct Redis {
    child: Child,
    socket: PathBuf,
}

impl Redis {
    fn start(home: &Path) -> Redis {
        let socket = home.join("redis.sock");
        let mut child = Command::new("redis-server")
            .args(["--port", "0", "--appendonly", "yes", "--save", "", "--dir"])
            .arg(home)
            .arg("--unixsocket")
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        let ready = lines.any(|line| line.contains("The server is now ready"));
        assert!(ready, "redis-server refuses the directory");
        // The log goes on being read, so that the server never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Redis { child, socket }
    }

    fn call(&self, args: &[&str]) -> String {
        let out =
            Command::new("redis-cli").arg("-s").arg(&self.socket).args(args).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    fn stop(mut self) {
        self.call(&["SHUTDOWN"]);
        self.child.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn stock_redis_loads_what_fix_leaves_and_we_load_what_it_adds() {
    let temp = tempfile::tempdir().unwrap();
    let dir = on_disk(&directory(&half_an_entry()).0, temp.path());
    let (good, text) = check(&[temp.path().as_os_str()], "");
    assert!(!good && text.contains("--fix"), "{text}");
    let manifest = dir.join("appendonly.aof.manifest");
    let (good, text) = check(&["--fix".as_ref(), manifest.as_os_str()], "");
    assert!(good && text.contains("Successfully cut"), "{text}");
    let (good, text) = check(&[dir.as_os_str()], "");
    assert!(good && text.ends_with("All AOF files and manifest are valid\n"), "{text}");
    let judge = Command::new("redis-check-aof").arg(&manifest).output().unwrap();
    assert!(judge.status.success(), "{}", String::from_utf8_lossy(&judge.stdout));

    let redis = Redis::start(temp.path());
    assert_eq!(redis.call(&["-n", "3", "LRANGE", "a", "0", "-1"]), "1\n2\n");
    assert_eq!(redis.call(&["LRANGE", "b", "0", "-1"]), "1\n");
    redis.call(&["RPUSH", "b", "redis"]);
    redis.stop();

    let (volume, data) = (DirVolume::open(&dir).unwrap(), MemVolume::default());
    let options = crate::persist::testing::options(&data, 3, "new");
    let plan = recovery::inspect(&volume, &options).unwrap();
    let state = load(&plan, &volume, &data);
    assert_eq!(state[&(3, "a".to_owned())], ["1", "2"]);
    assert_eq!(state[&(0, "b".to_owned())], ["1", "redis"]);
    recovery::commit(plan, &volume, &mut Random::new(1)).unwrap();
    let redis = Redis::start(temp.path());
    assert_eq!(redis.call(&["LRANGE", "b", "0", "-1"]), "1\nredis\n");
    redis.stop();
}

#[test]
fn damage_is_cut_only_when_a_human_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let mut log = LogFile::new(9, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    let middle = log.bytes.len();
    log.command(&["RPUSH", "k", "1"]).frame(0, 0);
    let all = log.pos;
    log.command(&["RPUSH", "k", "2"]).frame(all, all);
    log.bytes[middle + 50] ^= 4;
    let dir = on_disk(&directory(&[log]).0, temp.path());
    let (good, text) = check(&[dir.as_os_str()], "");
    assert!(!good && text.contains("damaged"), "{text}");
    let (good, text) = check(&["--fix".as_ref(), dir.as_os_str()], "n\n");
    assert!(!good && text.ends_with("Aborting...\n"), "{text}");
    let (good, text) = check(&["--fix".as_ref(), dir.as_os_str()], "y\n");
    assert!(good, "{text}");
    let (good, text) = check(&[dir.as_os_str()], "");
    assert!(good, "{text}");
    let kept = std::fs::metadata(dir.join("appendonly.aof.1.s00.incr.aof")).unwrap().len();
    assert_eq!(kept, middle as u64);
}

#[test]
fn single_files() {
    let temp = tempfile::tempdir().unwrap();
    let dir = on_disk(&directory(&half_an_entry()).0, temp.path());
    let (good, text) = check(&[dir.join("appendonly.aof.2.s01.incr.aof").as_os_str()], "");
    assert!(!good && text.contains("is not valid"), "{text}");
    let (good, _) = check(&[dir.join("appendonly.aof.1.s00.incr.aof").as_os_str()], "");
    assert!(good, "its frames are whole");
    let plain = temp.path().join("plain.aof");
    std::fs::write(&plain, b"*1\r\n$4\r\nPING\r\n*1\r\n$4").unwrap();
    let (good, text) = check(&["--fix".as_ref(), plain.as_os_str()], "y\n");
    assert!(good && text.contains("Successfully truncated"), "{text}");
    let (good, text) = check(&[plain.as_os_str()], "");
    assert!(good && text.contains("AOF plain.aof is valid"), "{text}");
    std::fs::write(&plain, b"*1\r\n$4\r\nPING\r\nnonsense").unwrap();
    let (good, text) = check(&["--fix".as_ref(), plain.as_os_str()], "y\n");
    assert!(!good && text.contains("ok_up_to=14, diff=8"), "{text}");
    assert_eq!(check(&[], "").1.trim_end(), USAGE);
}

#[test]
fn a_running_server_keeps_the_fix_out() {
    let temp = tempfile::tempdir().unwrap();
    let dir = on_disk(&directory(&half_an_entry()).0, temp.path());
    let _lock = DirLock::take(temp.path()).unwrap();
    let (good, text) = check(&["--fix".as_ref(), dir.as_os_str()], "");
    assert!(!good && text.contains("in use by the process"), "{text}");
    assert_eq!(NAME, "appendonly.aof");
}

/// The file names that a directory holds.
fn names(dir: &Path) -> Vec<String> {
    DirVolume::open(dir).unwrap().list().unwrap()
}

#[test]
fn a_log_is_cut_back_to_a_second_over_all_shards() {
    let temp = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (LogFile::new(1, 0), LogFile::new(2, 0));
    a.time(100).command(&["RPUSH", "a", "1"]).frame(0, 0);
    b.time(100).command(&["RPUSH", "b", "1"]).entry(3, 3, &[]).command(&["RPUSH", "b", "x"]);
    b.frame(0, 0);
    // The other shard came to its part a second later: neither part is kept.
    a.time(101).entry(3, 3, &[]).command(&["RPUSH", "a", "x"]).frame(0, 0);
    let dir = on_disk(&directory(&[a, b]).0, temp.path());
    let target = |second: &'static str| {
        [OsStr::new("--truncate-to-timestamp"), OsStr::new(second), dir.as_os_str()]
    };
    assert_eq!(check(&target("soon"), ""), (false, "Invalid timestamp, aborting...\n".into()));
    let (good, text) = check(&target("99"), "");
    assert!(!good && text.contains("has nothing before timestamp 99, aborting..."), "{text}");
    let (good, text) = check(&target("101"), "");
    assert!(good && text.contains("Truncate nothing in the log to timestamp 101"), "{text}");
    let (good, text) = check(&target("100"), "");
    assert!(good && text.contains("Successfully truncated the log to timestamp 100"), "{text}");
    let (good, text) = check(&[dir.as_os_str()], "");
    assert!(good, "{text}");
    let redis = Redis::start(temp.path());
    assert_eq!(redis.call(&["LRANGE", "a", "0", "-1"]), "1\n");
    assert_eq!(redis.call(&["LRANGE", "b", "0", "-1"]), "1\n");
    redis.stop();
    assert!(names(&dir).iter().any(|name| name.ends_with("s00.incr.aof.cut")));
}

/// In the words of redis-check-aof, and with what it leaves.
#[test]
fn a_log_of_redis_is_cut_back_as_its_own_tool_does() {
    let ping = "*1\r\n$4\r\nPING\r\n";
    let file = |seconds: &[u32]| -> String {
        seconds.iter().map(|second| format!("#TS:{second}\r\n{ping}")).collect()
    };
    for second in ["50", "150", "350", "450", "600"] {
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut told = Vec::new();
        for (home, ours) in homes.iter().zip([true, false]) {
            let dir = home.path();
            let list = "file a seq 1 type b\nfile b seq 1 type i\nfile c seq 2 type i\n";
            std::fs::write(dir.join("m.manifest"), list).unwrap();
            for (name, seconds) in [("a", &[100, 200][..]), ("b", &[300]), ("c", &[400, 500])] {
                std::fs::write(dir.join(name), file(seconds)).unwrap();
            }
            let manifest = dir.join("m.manifest");
            let args = ["--truncate-to-timestamp".as_ref(), second.as_ref(), manifest.as_os_str()];
            let (good, text) = match ours {
                true => check(&args, ""),
                false => {
                    let out = Command::new("redis-check-aof").args(args).output().unwrap();
                    (out.status.success(), String::from_utf8(out.stdout).unwrap())
                }
            };
            let path = format!("{}/", dir.display());
            let text = text.replace(&path, "").replace("ringstone check-aof", "redis-check-aof");
            let said: Vec<String> = text.lines().map(str::to_owned).collect();
            let lens = ["a", "b", "c"].map(|f| std::fs::metadata(dir.join(f)).unwrap().len());
            told.push((good, said, lens));
        }
        assert_eq!((told[0].0, told[0].2), (told[1].0, told[1].2), "{second}");
        // It says more than we do: which file it comes to, and that each is valid.
        assert!(told[0].1.iter().all(|line| told[1].1.contains(line)), "{told:?}");
    }
}

/// Bytes that Redis' loader does not look at, and an RDB's content.
#[test]
fn files_of_other_servers_are_read_as_strictly_as_they_can_be() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let rdb =
        include_bytes!("../../../tests/fixtures/aof/redis-7.0-rdb-base/appendonly.aof.2.base.rdb");
    let ping = b"*1\r\n$4\r\nPING\r\n";
    std::fs::write(dir.join("m.manifest"), "file a seq 1 type b\nfile b seq 1 type i\n").unwrap();
    let put = |rdb: &[u8], text: &[u8]| {
        std::fs::write(dir.join("a"), [rdb, ping].concat()).unwrap();
        std::fs::write(dir.join("b"), text).unwrap();
        check(&[dir.as_os_str()], "")
    };
    let (good, text) = put(rdb, ping);
    assert!(good && text.contains("a is an RDB with 24 keys, checksum OK"), "{text}");
    let mut hurt = rdb.to_vec();
    hurt[200] ^= 1;
    assert!(!put(&hurt, ping).0);
    let (good, text) = put(rdb, b"*1\r\n$4\r\nPING\r\r");
    assert!(!good && text.contains("a bulk without its line end"), "{text}");
}
