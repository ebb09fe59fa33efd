//! `ringstone check-aof [--fix] [--yes] <manifest|directory|file>`: says of each file of a log how
//! far it is good, in the manner of `redis-check-aof`, and with `--fix` makes permanent what
//! recovery would keep, so that stock redis-server loads the directory with the same data.
//!
//! * A manifest, or a directory with one, is looked at as the server's start does
//!   ([`recovery::inspect`]); files of other servers are read to their end as well.
//! * `--fix` cuts as the server's start would ([`recovery::commit`]), keeps what it cuts off in
//!   `*.cut` files, and leaves the log as a clean stop does. Where a start would refuse since bytes
//!   that were known to be durable have gone, it says so and asks first; `--yes` answers for it.
//! * A single file is read frame by frame when a manifest beside it holds its seed, else as plain
//!   commands. One shard's file is never cut alone: the others depend on it.
//!
//! Exit status: 0 when all is good (or was made so), 1 otherwise.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::base::random::Random;
use crate::persist::aof::manifest::{
    Line, Manifest, Ours, ShardPairs, manifest_name, temp_manifest_name,
};
use crate::persist::aof::resp::{Fault, PlainReader};
use crate::persist::aof::scan::{ScanOptions, scan};
use crate::persist::disk::Volume;
use crate::persist::durable::{self, DirLock, boot_identity};
use crate::persist::recovery::{self, Options, Place, Plan, RecoveryError, Step};
use crate::persist::volume::DirVolume;

/// How the tool is called.
pub const USAGE: &str = "Usage: ringstone check-aof [--fix] [--yes] <manifest|directory|file>";

/// Runs the tool on the process' own streams; `args` are those behind `check-aof`.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let (mut out, mut input) = (io::stdout().lock(), io::stdin().lock());
    match run(&args, &mut out, &mut input) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to say it to when standard output is what failed.
            let _ = writeln!(out, "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the tool; true when all is good in the end.
pub fn run(args: &[OsString], out: &mut dyn Write, input: &mut dyn BufRead) -> io::Result<bool> {
    let (mut fix, mut yes, mut target) = (false, false, None);
    for arg in args {
        match arg.to_str() {
            Some("--fix") => fix = true,
            Some("--yes") => yes = true,
            Some(option) if option.starts_with("--") => {
                writeln!(out, "{USAGE}")?;
                return Ok(false);
            }
            _ if target.is_none() => target = Some(PathBuf::from(arg)),
            _ => {
                writeln!(out, "{USAGE}")?;
                return Ok(false);
            }
        }
    }
    let Some(target) = target else {
        writeln!(out, "{USAGE}")?;
        return Ok(false);
    };
    let mut tool = Tool { fix, yes, out, input };
    match find(&target)? {
        Target::Log { dir, appendfilename } => tool.log(&dir, &appendfilename),
        Target::File { dir, file } => tool.file(&dir, &file),
    }
}

enum Target {
    Log { dir: PathBuf, appendfilename: String },
    File { dir: PathBuf, file: String },
}

/// What a path on the command line means.
fn find(path: &Path) -> io::Result<Target> {
    let name = |path: &Path| path.file_name().and_then(OsStr::to_str).map(str::to_owned);
    if path.is_dir() {
        let inner = path.join("appendonlydir");
        let dir = if manifests(path)?.is_empty() && inner.is_dir() { inner } else { path.into() };
        return match &manifests(&dir)?[..] {
            [one] => Ok(Target::Log { dir, appendfilename: one.clone() }),
            [] => Err(io::Error::other(format!("no manifest in {}", dir.display()))),
            _ => Err(io::Error::other(format!("several manifests in {}", dir.display()))),
        };
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(file) = name(path) else {
        return Err(io::Error::other(format!("no file: {}", path.display())));
    };
    let dir = parent.to_owned();
    Ok(match file.strip_suffix(".manifest") {
        Some(log) => Target::Log { dir, appendfilename: log.to_owned() },
        None => Target::File { dir, file },
    })
}

/// The logs that have a manifest in a directory.
fn manifests(dir: &Path) -> io::Result<Vec<String>> {
    let names = DirVolume::open(dir)?.list()?;
    let logs = names.iter().filter_map(|name| name.strip_suffix(".manifest"));
    Ok(logs.filter(|log| !log.starts_with("temp-")).map(str::to_owned).collect())
}

struct Tool<'a> {
    fix: bool,
    yes: bool,
    out: &'a mut dyn Write,
    input: &'a mut dyn BufRead,
}

impl Tool<'_> {
    /// A whole log.
    fn log(&mut self, dir: &Path, appendfilename: &str) -> io::Result<bool> {
        let real = dir.canonicalize()?;
        let home = real.parent().unwrap_or(Path::new("/"));
        let (volume, data) = (DirVolume::open(dir)?, DirVolume::open(home)?);
        let _lock = match self.fix.then(|| DirLock::take(home)) {
            Some(Err(held)) => return self.say(false, &held.to_string()),
            Some(Ok(lock)) => Some(lock),
            None => None,
        };
        let boot_id = boot_identity(dir)?;
        let bytes = volume.read_all(&manifest_name(appendfilename))?;
        let mut options = Options {
            appendfilename,
            dbfilename: "",
            shards: shards_of(&bytes),
            boot_id: &boot_id,
            load_truncated: true,
            corrupt_tail_max: 0,
            data: &data,
            accept_damage: false,
        };
        writeln!(self.out, "Start checking Multi Part AOF")?;
        let plan = match recovery::inspect(&volume, &options) {
            Ok(plan) => plan,
            Err(error @ RecoveryError::Damaged { .. }) if self.fix => {
                writeln!(self.out, "{error}")?;
                options.accept_damage = true;
                match recovery::inspect(&volume, &options) {
                    Ok(plan) => plan,
                    Err(error) => {
                        return self.say(false, &format!("This cannot be cut away: {error}"));
                    }
                }
            }
            Err(error) => return self.say(false, &error.to_string()),
        };
        if !self.describe(&plan, &volume)? {
            return Ok(false);
        }
        if plan.is_whole() {
            return self.say(true, "All AOF files and manifest are valid");
        }
        if !self.fix {
            let text = "The log is not valid as it stands. Use the --fix option to cut it where \
                        a start would.";
            return self.say(false, text);
        }
        let question = "Bytes that were known to be durable will be lost. Continue?";
        if options.accept_damage && !self.agreed(question)? {
            return self.say(false, "Aborting...");
        }
        match cut(plan, &volume, appendfilename) {
            Ok(()) => self.say(true, "Successfully cut the log; what was cut off is in *.cut"),
            Err(error) => self.say(false, &error.to_string()),
        }
    }

    /// Says of each file how far it is good, and reads those of other servers to their end.
    fn describe(&mut self, plan: &Plan<'_>, volume: &DirVolume) -> io::Result<bool> {
        for file in &plan.checked {
            let diff = file.size - file.ok_up_to;
            writeln!(
                self.out,
                "AOF analyzed: filename={}, size={}, ok_up_to={}, diff={diff}",
                file.file, file.size, file.ok_up_to
            )?;
            if diff == 0 {
                writeln!(self.out, "{} AOF {} is valid", file.role, file.file)?;
            } else {
                writeln!(self.out, "{} AOF {} is not valid", file.role, file.file)?;
            }
        }
        for line in &plan.report {
            writeln!(self.out, "{line}")?;
        }
        let mut good = true;
        for step in &plan.steps {
            match step {
                Step::Foreign { file, place: Place::Log, from, end } => {
                    let mut reader = match PlainReader::open(volume, file, *from, *end) {
                        Ok(reader) => reader,
                        Err(error) => return self.say(false, &error.to_string()),
                    };
                    good &= self.read_through(&mut reader)?.is_some();
                }
                Step::Rdb { file, .. } => {
                    writeln!(self.out, "{file} is an RDB: see ringstone check-rdb {file}")?;
                }
                _ => {}
            }
        }
        Ok(good)
    }

    /// Reads plain commands to their end; the offset up to which they are whole, or `None` when
    /// something else than the end is wrong.
    fn read_through(&mut self, reader: &mut PlainReader<'_>) -> io::Result<Option<u64>> {
        loop {
            let ended = match reader.next_command() {
                Ok(Some(_)) => continue,
                Ok(None) => None,
                Err(error) => Some(error),
            };
            return match ended {
                None => Ok(Some(reader.read())),
                Some(error) => {
                    writeln!(self.out, "{error}")?;
                    let broken_off = matches!(error.fault, Fault::Truncated);
                    Ok(broken_off.then(|| reader.whole()))
                }
            };
        }
    }

    /// A single file.
    fn file(&mut self, dir: &Path, file: &str) -> io::Result<bool> {
        let volume = DirVolume::open(dir)?;
        let size = volume.len(file)?;
        if let Some(pairs) = listed_pairs(dir, &volume, file)? {
            if self.fix {
                let text = "One shard's file cannot be cut alone: give the manifest.";
                return self.say(false, text);
            }
            let end = pairs.end.map(|(pos, _)| pos);
            let (seed, start) = (pairs.seed, pairs.start);
            let options = ScanOptions { seed, start, end, same_boot: false, marks: 0 };
            let found = match scan(&volume, file, options) {
                Ok(found) => found,
                Err(error) => return self.say(false, &error.to_string()),
            };
            let ends = (found.end.pos, found.end.sum);
            let good = found.gap.is_none() && pairs.end.is_none_or(|end| end == ends);
            return self.verdict(file, size, found.end.offset, good);
        }
        let mut magic = [0; 5];
        if volume.read_at(file, 0, &mut magic)? == 5 && &magic == b"REDIS" {
            let text = format!("{file} is an RDB: see ringstone check-rdb {file}");
            return self.say(false, &text);
        }
        let mut reader = match PlainReader::open(&volume, file, 0, u64::MAX) {
            Ok(reader) => reader,
            Err(error) => return self.say(false, &error.to_string()),
        };
        let Some(whole) = self.read_through(&mut reader)? else {
            return self.verdict(file, size, reader.whole(), false);
        };
        let good = self.verdict(file, size, whole, whole == size)?;
        if good || !self.fix {
            return Ok(good);
        }
        let cut = size - whole;
        let question =
            format!("This will shrink the AOF from {size} bytes, with {cut} bytes, to {whole}");
        writeln!(self.out, "{question}")?;
        if !self.agreed("Continue?")? {
            return self.say(false, "Aborting...");
        }
        volume.truncate(file, whole)?;
        self.say(true, &format!("Successfully truncated AOF {file}"))
    }

    fn verdict(&mut self, file: &str, size: u64, end: u64, good: bool) -> io::Result<bool> {
        let diff = size.saturating_sub(end);
        writeln!(
            self.out,
            "AOF analyzed: filename={file}, size={size}, ok_up_to={end}, diff={diff}"
        )?;
        let not = if good { "" } else { "not " };
        self.say(good, &format!("AOF {file} is {not}valid"))
    }

    fn agreed(&mut self, question: &str) -> io::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        write!(self.out, "{question} [y/N]: ")?;
        self.out.flush()?;
        let mut answer = String::new();
        self.input.take(16).read_line(&mut answer)?;
        Ok(answer.trim_start().starts_with(['y', 'Y']))
    }

    fn say(&mut self, good: bool, text: &str) -> io::Result<bool> {
        writeln!(self.out, "{text}")?;
        Ok(good)
    }
}

/// Makes the cut permanent and leaves the log as a clean stop does.
fn cut(plan: Plan<'_>, volume: &DirVolume, appendfilename: &str) -> Result<(), RecoveryError> {
    let mut started = recovery::commit(plan, volume, &mut Random::from_system())?;
    let ends: Vec<_> = started.files.iter().map(|file| (file.start, file.seed)).collect();
    started.manifest.seal(&ends, true);
    let (temp, name) = (temp_manifest_name(appendfilename), manifest_name(appendfilename));
    durable::replace(volume, &temp, &name, &started.manifest.encode())
        .map_err(|error| RecoveryError::Io { file: name, error })
}

/// How many shards wrote the last generation.
fn shards_of(manifest: &[u8]) -> usize {
    let parsed = Manifest::parse(manifest);
    let shards = parsed.ok().and_then(|mut m| m.last_generation_mut().next().map(|p| p.shards));
    shards.map_or(1, usize::from)
}

/// What a manifest in the same directory says of a file of ours.
fn listed_pairs(dir: &Path, volume: &DirVolume, file: &str) -> io::Result<Option<ShardPairs>> {
    for log in manifests(dir)? {
        let Ok(manifest) = Manifest::parse(&volume.read_all(&manifest_name(&log))?) else {
            continue;
        };
        let line: Option<&Line> = manifest.lines.iter().find(|line| line.file == file);
        if let Some(Ours::Shard(pairs)) = line.and_then(|line| line.ours.as_ref()) {
            return Ok(Some(pairs.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
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
}
