//! The start: lock, listen, find out what the log holds, load it with all shards, make it
//! permanent, serve; and after the stop, the clean end of the log.

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::clock::SystemClock;
use crate::base::random::Random;
use crate::config::load::Loaded;
use crate::config::{Config, LogLevel};
use crate::keyspace::{Effects, Keyspace};
use crate::observe::log::{self, Log, Zone};
use crate::observe::process;
use crate::observe::registry::{Facts, Listener, hex_id};
use crate::persist::aof::manifest::Manifest;
use crate::persist::disk::Volume;
use crate::persist::durable::{DirLock, boot_identity};
use crate::persist::load::{Loading, load_together, together_until};
use crate::persist::recovery::{self, Options, Place, Plan, Step};
use crate::persist::volume::DirVolume;
use crate::ring::net;
use crate::server::shards::{self, Disks, Start};
use crate::server::{listen, stop};
use crate::shard::global::{Global, Voice};
use crate::shard::order::Order;

/// Runs the server until it is stopped.
pub fn run(loaded: Loaded) -> ExitCode {
    let config = &loaded.config;
    let pid = std::process::id();
    let log = log::open(config.logfile.as_deref(), config.loglevel, pid, Zone::default());
    let journal = match log {
        Ok(log) => Arc::new(Journal { log, clock: SystemClock::default() }),
        Err(error) => {
            eprintln!("Can't open the log file: {error}");
            return ExitCode::FAILURE;
        }
    };
    end_at_panic(&journal);
    // A huge page is cleared when it is first touched: milliseconds inside one insert.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        journal.warn(&format!("turning transparent huge pages off failed: {error}"));
    }
    journal.notice("oO0OoO0OoO0Oo Ringstone is starting oO0OoO0OoO0Oo");
    loaded.warnings.iter().for_each(|w| journal.warn(w));
    let code = match serve(&loaded, &journal) {
        Ok(()) => {
            journal.warn("Ringstone is now ready to exit, bye bye...");
            ExitCode::SUCCESS
        }
        Err(lines) => {
            lines.iter().for_each(|line| journal.warn(line));
            ExitCode::FAILURE
        }
    };
    journal.log.flush();
    code
}

/// The server's log with the clock its lines are stamped by.
#[derive(Debug)]
pub struct Journal {
    log: Log,
    clock: SystemClock,
}

impl Journal {
    fn say(&self, level: LogLevel, text: &str) {
        self.log.line(self.clock.now().unix_us, level, text);
    }

    /// Says something worth knowing.
    pub fn notice(&self, text: &str) {
        self.say(LogLevel::Notice, text);
    }

    /// Says something that wants attention.
    pub fn warn(&self, text: &str) {
        self.say(LogLevel::Warning, text);
    }

    /// Waits until everything said is written.
    pub fn flush(&self) {
        self.log.flush();
    }
}

/// How the process speaks and dies.
fn voice(journal: &Arc<Journal>) -> Voice {
    let (say, die) = (Arc::clone(journal), Arc::clone(journal));
    let levels = Arc::clone(journal);
    Voice {
        say: Box::new(move |level, text| say.say(level, text)),
        level: Box::new(move |level| levels.log.set_level(level)),
        die: Box::new(move |text| {
            die.warn(text);
            die.flush();
        }),
    }
}

/// A panic in any thread ends the process at once: a shard that is gone would leave its clients and
/// the other shards waiting for good, and recovery proves itself. Builds that abort anyway get the
/// report from it.
fn end_at_panic(journal: &Arc<Journal>) {
    let journal = Arc::clone(journal);
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let text = panic_report(panic, thread.name().unwrap_or("unnamed"));
        journal.log.last_words(journal.clock.now().unix_us, &text);
        std::process::abort();
    }));
}

/// What is said of a panic. A message that was put together may hold a client's bytes: only what
/// stands in front of its first value is told.
fn panic_report(panic: &std::panic::PanicHookInfo<'_>, thread: &str) -> String {
    let payload = panic.payload();
    let formatted = payload.downcast_ref::<String>().map(|text| {
        let end = text.find([':', ';', '\n', '"']).unwrap_or(text.len());
        &text[..end]
    });
    let said = payload.downcast_ref::<&str>().copied().or(formatted).unwrap_or("no message");
    let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
    format!("Ringstone has to stop: thread {thread} panicked{place}: {said}")
}

type Lines = Vec<String>;

fn line(text: impl ToString) -> Lines {
    vec![text.to_string()]
}

fn serve(loaded: &Loaded, journal: &Arc<Journal>) -> Result<(), Lines> {
    let config = &loaded.config;
    raise_descriptor_limit(config.maxclients, journal);
    let _lock = DirLock::take(&config.dir)
        .map_err(|error| line(format!("{}: {error}", config.dir.display())))?;
    let sockets = listen::open(config)?;
    write_pid_file(config, journal);
    let shards = shard_count(config);
    let disks = Arc::new(open_disks(config)?);
    let mut random = Random::from_system();
    let boot_id = boot_identity(disks.log.path()).map_err(line)?;
    let mut plan = find_log(config, &disks, shards, &boot_id)?;
    plan.iter().flat_map(|p| &p.report).for_each(|text| journal.notice(text));
    let steps = plan.as_ref().map_or_else(|| lone_rdb(config), |p| p.steps.clone());
    let (spaces, rest, broken_off) = load_first(config, &disks, &steps, shards, &mut random)?;
    if let (Some(plan), Some((file, end))) = (&mut plan, broken_off) {
        plan.set_end(&file, end);
    }
    let pins = shards::pins(config.pin_threads, shards);
    let threads = shards::spawn(config, &disks, spaces, Arc::new(rest), &pins, journal)?;
    let started = match plan {
        Some(plan) => Some(recovery::commit(plan, &disks.log, &mut random).map_err(line)?),
        None => None,
    };
    let manifest = started.as_ref().map_or_else(Manifest::default, |s| s.manifest.clone());
    let next_id = started.as_ref().map_or(1, |s| s.next_id.max(1));
    let facts = facts(loaded, &sockets, &mut random);
    let voice = voice(journal);
    let global = Global::new(shards, config.clone(), &boot_id, manifest, facts, voice);
    let global = Arc::new(global);
    note_sizes(&global, &disks);
    let order = Arc::new(Order::new(shards, next_id));
    let clock = SystemClock::default();
    let start = |shard: usize| Start {
        order: Arc::clone(&order),
        global: Arc::clone(&global),
        clock,
        file: started.as_ref().map(|s| s.files[shard].clone()),
        seed: Random::from_system().next_u64(),
    };
    let running = threads.start(start, sockets)?;
    let ready = || announce(config, journal);
    let ends = stop::wait(running, &global, &order, journal, ready)?;
    if let Some(path) = &config.pidfile {
        let _ = std::fs::remove_file(path);
    }
    if started.is_some() {
        stop::seal(&disks.log, &global, &ends).map_err(line)?;
    }
    Ok(())
}

fn open_disks(config: &Config) -> Result<Disks, Lines> {
    let data = DirVolume::open(&config.dir).map_err(line)?;
    let log_dir = config.dir.join(&config.appenddirname);
    let log = match config.appendonly {
        true => DirVolume::create(&log_dir),
        false => DirVolume::open(&config.dir),
    };
    let log = log.map_err(|error| line(format!("{}: {error}", log_dir.display())))?;
    Ok(Disks::new(data, log))
}

/// What the log holds, when there is to be one.
fn find_log<'a>(
    config: &'a Config,
    disks: &'a Disks,
    shards: usize,
    boot_id: &'a str,
) -> Result<Option<Plan<'a>>, Lines> {
    if !config.appendonly {
        return Ok(None);
    }
    let options = Options {
        appendfilename: &config.appendfilename,
        dbfilename: &config.dbfilename,
        shards,
        boot_id,
        load_truncated: config.aof_load_truncated,
        data: &disks.data,
        accept_damage: false,
    };
    recovery::inspect(&disks.log, &options).map(Some).map_err(line)
}

/// Says what supervisors and scripts wait for.
fn announce(config: &Config, journal: &Journal) {
    journal.notice("Server initialized");
    if config.port != 0 {
        journal.notice("Ready to accept connections tcp");
    }
    if config.unixsocket.is_some() {
        journal.notice("Ready to accept connections unix");
    }
}

fn facts(loaded: &Loaded, sockets: &[OwnedFd], random: &mut Random) -> Facts {
    let config = &loaded.config;
    let mut listeners = Vec::new();
    let bound: Vec<_> = sockets.iter().filter_map(net::bound_to).collect();
    if config.port != 0 {
        let binds = bound.iter().map(|addr| addr.ip().to_string()).collect();
        listeners.push(Listener { kind: "tcp", binds, port: Some(config.port) });
    }
    if let Some(path) = &config.unixsocket {
        let binds = vec![path.display().to_string()];
        listeners.push(Listener { kind: "unix", binds, port: None });
    }
    let path = |path: Option<std::path::PathBuf>| {
        path.map_or_else(String::new, |p| p.display().to_string())
    };
    Facts {
        pid: std::process::id(),
        run_id: hex_id(random),
        replication_id: hex_id(random),
        started: SystemClock::default().now(),
        executable: path(std::env::current_exe().ok()),
        config_file: path(loaded.file.clone()),
        listeners,
        os: process::os(),
        system_memory: process::system_memory(),
        log_sync_method: "growing".to_owned(),
    }
}

/// Scripts find the process by it; the server itself does not need it.
fn write_pid_file(config: &Config, journal: &Journal) {
    if let Some(path) = &config.pidfile
        && let Err(error) = std::fs::write(path, format!("{}\n", std::process::id()))
    {
        journal.warn(&format!("Failed to write PID file {}: {error}", path.display()));
    }
}

/// What the log and the process take before the first client comes, for INFO.
fn note_sizes(global: &Global, disks: &Disks) {
    let files: Vec<String> = global.manifest().lines.iter().map(|l| l.file.clone()).collect();
    let sizes = files.iter().filter_map(|file| disks.log.len(file).ok());
    global.registry.log_base_size.store(sizes.sum(), Ordering::Relaxed);
    global.registry.startup_memory.store(process::usage().rss, Ordering::Relaxed);
}

/// What is loaded when nothing is logged: a lone dump, if there is one.
fn lone_rdb(config: &Config) -> Vec<Step> {
    let file = config.dbfilename.clone();
    match config.dir.join(&file).exists() {
        true => vec![Step::Rdb { file, place: Place::Data, may_break_off: false }],
        false => Vec::new(),
    }
}

/// Keyspaces with what had to be loaded in one go, the steps that are left, and where a file that
/// may break off does so.
type First = (Vec<Box<Keyspace>>, Vec<Step>, Option<(String, u64)>);

/// Makes the keyspaces and loads into them what must be loaded in one go.
fn load_first(
    config: &Config,
    disks: &Disks,
    steps: &[Step],
    shards: usize,
    random: &mut Random,
) -> Result<First, Lines> {
    let seed = [random.next_u64(), random.next_u64()];
    let space =
        |s| Some(Box::new(Keyspace::new(s, config.databases, seed, Effects::new(0, false))));
    let mut spaces: Vec<Option<Box<Keyspace>>> = (0..shards).map(space).collect();
    let loading = Loading {
        log: &disks.log,
        data: &disks.data,
        shards,
        now: SystemClock::default().now(),
        string_max: config.proto_max_bulk_len,
        hll_sparse_max: config.hll_sparse_max_bytes,
        progress: &disks.progress,
    };
    let first = together_until(&loading, steps).map_err(line)?;
    let mut broken_off = None;
    if first > 0 {
        let report = load_together(&loading, &steps[..first], &mut spaces).map_err(line)?;
        broken_off = report.broken_off;
    }
    Ok((spaces.into_iter().flatten().collect(), steps[first..].to_vec(), broken_off))
}

/// The shards asked for, or one per core this process may use.
fn shard_count(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = if config.shards == 0 { cores } else { config.shards };
    shards.clamp(1, crate::base::limits::SHARDS_MAX)
}

/// Every client takes a descriptor.
fn raise_descriptor_limit(maxclients: u32, journal: &Journal) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = u64::from(maxclients) + 256;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|n| n >= wanted) {
        return;
    }
    let maximum = now.maximum.map(|m| m.max(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now }));
    if raised.is_err() || getrlimit(Resource::Nofile).current.is_some_and(|n| n < wanted) {
        journal.warn(&format!(
            "maxclients asks for {wanted} descriptors and the system grants fewer: raise \
             'ulimit -n'"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hook ends the process, so the panic happens in another one: this test again, told to.
    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_a_report() {
        const WORD: &str = "RINGSTONE_TEST_PANIC";
        if std::env::var_os(WORD).is_some() {
            let log = log::open(None, LogLevel::Notice, 1, Zone::default()).expect("opens");
            end_at_panic(&Arc::new(Journal { log, clock: SystemClock::default() }));
            let named = std::thread::Builder::new().name("shard-7".into());
            let secret = String::from_utf8(b"a client's \xff".to_vec());
            let thread = named.spawn(move || secret.expect("it holds")).expect("spawns");
            let _ = thread.join();
            return;
        }
        let this = std::env::current_exe().expect("this test");
        let name = "server::boot::tests::a_panic_in_any_thread_ends_the_process_with_a_report";
        let mut command = std::process::Command::new(this);
        let run = command.args([name, "--exact", "--nocapture"]).env(WORD, "1").output();
        let run = run.expect("runs");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success(), "it went on: {said}");
        assert!(said.contains("thread shard-7 panicked at src/server/boot.rs"), "{said}");
        assert!(said.contains("it holds") && !said.contains("Utf8Error"), "{said}");
    }
}
