//! The installed Redis that judges: found, or installed by `tests/peer.sh`, or honestly missing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once, OnceLock};

static SKIPPED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Writes past the test harness' capture, so that it is seen for passing tests too.
fn tell(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

extern "C" fn closing_summary() {
    let skipped = SKIPPED.lock().map(|s| s.clone()).unwrap_or_default();
    tell(&format!("SKIPPED in all: {} ({})", skipped.len(), skipped.join("; ")));
}

/// Says that `what` is not tested; with `CI=true` that is a failure.
pub fn skip(what: &str, why: &str) {
    static HOOK: Once = Once::new();
    // SAFETY: `closing_summary` is an `extern "C"` function that lives as long as the program and
    // neither unwinds nor calls exit.
    HOOK.call_once(|| assert_eq!(unsafe { libc::atexit(closing_summary) }, 0));
    tell(&format!("SKIPPED: {what}: {why}"));
    SKIPPED.lock().unwrap().push(what.to_owned());
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    assert!(!ci, "{what} was skipped under CI=true: {why}");
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Runs the install script once per process, as root only; what it says goes to stderr.
fn install() -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| {
        if !rustix::process::geteuid().is_root() {
            return Err("not installed, and only root could install it".into());
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer.sh");
        let done = Command::new("sh")
            .arg(script)
            .arg(venv())
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("tests/peer.sh: {e}"))?;
        if done.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        Err(format!("tests/peer.sh failed: {}", said.lines().last().unwrap_or("")))
    })
    .clone()
}

/// Where the client libraries are, and why some of them are not.
fn libraries() -> (PathBuf, Option<String>) {
    static DONE: OnceLock<Option<String>> = OnceLock::new();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peer-libraries");
    let why = DONE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer.sh");
        let mut install = Command::new("sh");
        install.arg(script).arg("--libraries").arg(&place).stdin(Stdio::null());
        match install.output() {
            Ok(done) if done.status.success() => None,
            Ok(done) => Some(String::from_utf8_lossy(&done.stderr).trim_end().to_owned()),
            Err(error) => Some(format!("tests/peer.sh: {error}")),
        }
    });
    (place, why.clone())
}

/// A python with the pinned versions of redis-py and pytest-redis, or `None` after having said that
/// `what` is skipped.
pub fn pinned_python(what: &str) -> Option<Command> {
    let (place, why) = libraries();
    if place.join("python.done").is_file() {
        let mut python = Command::new(place.join("python/bin/python3"));
        python.env("PYTHONDONTWRITEBYTECODE", "1");
        return Some(python);
    }
    skip(what, &why.unwrap_or_default());
    None
}

/// A node that is told where the pinned versions of the JavaScript packages are, or `None` after
/// having said that `what` is skipped.
pub fn pinned_node(what: &str) -> Option<Command> {
    let (place, why) = libraries();
    let packages = place.join("node");
    let node = || {
        let mut node = Command::new("node");
        node.env("RINGSTONE_NODE_PACKAGES", &packages).current_dir(&packages);
        node
    };
    if place.join("node.done").is_file() {
        let all = "for (const p of ['redis', 'ioredis', 'redis-memory-server']) require(p)";
        match node().args(["-e", all]).output() {
            Ok(done) if done.status.success() => return Some(node()),
            _ => skip(what, "the installed node does not load the packages: is it older than 20?"),
        }
        return None;
    }
    skip(what, &why.unwrap_or_default());
    None
}

fn venv() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("peer-python")
}

/// A program of the peer (`redis-server`, `redis-cli`, …), or `None` after having said that `what`
/// is skipped.
pub fn program(name: &str, what: &str) -> Option<PathBuf> {
    if let Some(path) = find(name) {
        return Some(path);
    }
    let installed = install();
    match (find(name), installed) {
        (Some(path), _) => Some(path),
        (None, Err(why)) => {
            skip(what, &format!("{name}: {why}"));
            None
        }
        (None, Ok(())) => {
            skip(what, &format!("{name} is not there even after tests/peer.sh"));
            None
        }
    }
}

/// A python that has the `redis` module, or `None` after having said that `what` is skipped.
pub fn python(what: &str) -> Option<PathBuf> {
    let has = |python: &Path| {
        let probe = Command::new(python)
            .args(["-c", "import redis"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        probe.is_ok_and(|s| s.success())
    };
    let choices = || [PathBuf::from("python3"), venv().join("bin/python3")];
    if let Some(python) = choices().into_iter().find(|p| has(p)) {
        return Some(python);
    }
    let why = install().err().unwrap_or_else(|| "the redis module is missing".into());
    let found = choices().into_iter().find(|p| has(p));
    if found.is_none() {
        skip(what, &format!("python with redis: {why}"));
    }
    found
}
