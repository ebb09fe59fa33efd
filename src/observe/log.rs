//! The server's own log: lines of the form that Redis writes and tools read.
//!
//! `1234:M 20 Nov 2026 15:30:00.123 * Ready to accept connections`
//!
//! Process id, role, local time, weight (`.` debug, `-` verbose, `*` notice, `#` warning), text.
//! Lines are written by a thread of their own, so that a shard never waits for a terminal or a
//! disk; when more than `QUEUE_MAX` wait, further ones are dropped, and a
//! later line says how many. A file that was moved away is left to who moved it, and another one is
//! begun under its name, as log rotation expects. Times are UTC unless another [`Zone`] is given.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::config::LogLevel;
use crate::config::files::Appending;

/// Most lines waiting to be written.
const QUEUE_MAX: usize = 4096;
/// Longest text of a line, in characters; the rest is cut off.
const TEXT_MAX: usize = 4096;

/// Where lines go.
#[derive(Debug)]
pub struct Log {
    pid: u32,
    zone: Zone,
    /// The file; `None` is standard output.
    file: Option<PathBuf>,
    level: AtomicU8,
    queue: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Line {
    unix_us: i64,
    level: LogLevel,
    text: String,
    /// Told when everything before has been written.
    done: Option<SyncSender<()>>,
}

/// Local time: seconds east of Greenwich. Fixed at the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Zone {
    /// Seconds to add to UTC.
    pub offset: i32,
}

/// Opens the log and starts its writer. `file` of `None` is standard output.
pub fn open(file: Option<&Path>, level: LogLevel, pid: u32, zone: Zone) -> io::Result<Log> {
    let sink: Box<dyn Write + Send> = match file {
        None => Box::new(io::stdout()),
        Some(path) => Box::new(Appending::open(path)?),
    };
    let (queue, lines) = sync_channel(QUEUE_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    std::thread::Builder::new().name("log".into()).spawn({
        let dropped = Arc::clone(&dropped);
        move || write_lines(&lines, sink, pid, zone, &dropped)
    })?;
    Ok(Log {
        pid,
        zone,
        file: file.map(Path::to_owned),
        level: AtomicU8::new(level as u8),
        queue,
        dropped,
    })
}

fn write_lines(
    lines: &Receiver<Line>,
    mut sink: Box<dyn Write + Send>,
    pid: u32,
    zone: Zone,
    dropped: &AtomicU64,
) {
    while let Ok(line) = lines.recv() {
        let mut write = |level, text: &str| {
            let text = render(pid, 'M', line.unix_us, zone, level, text);
            // A log that cannot be written has nowhere to say so.
            let _ = sink.write_all(text.as_bytes()).and_then(|()| sink.flush());
        };
        if !line.text.is_empty() {
            write(line.level, &line.text);
            match dropped.swap(0, Ordering::Relaxed) {
                0 => {}
                n => write(LogLevel::Warning, &format!("{n} lines were lost: too many at once")),
            }
        }
        if let Some(done) = line.done {
            let _ = done.send(());
        }
    }
}

impl Log {
    /// Whether a line of this weight would be written: ask before making a costly text.
    pub fn wants(&self, level: LogLevel) -> bool {
        level as u8 >= self.level.load(Ordering::Relaxed)
    }

    /// Sets the least weight that is written.
    pub fn set_level(&self, level: LogLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Queues a line; never waits. `unix_us` is its time.
    pub fn line(&self, unix_us: i64, level: LogLevel, text: impl Into<String>) {
        if !self.wants(level) {
            return;
        }
        let line = Line { unix_us, level, text: text.into(), done: None };
        if let Err(TrySendError::Full(_)) = self.queue.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until every line queued before is written. For the end of the process, not for shards.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        let line =
            Line { unix_us: 0, level: LogLevel::Debug, text: String::new(), done: Some(done) };
        if self.queue.send(line).is_ok() {
            let _ = written.recv();
        }
    }

    /// Writes lines to standard error and to where the log goes at once, for a process that is
    /// about to end. Where they cannot be written there is nowhere to say so.
    pub fn last_words(&self, unix_us: i64, text: &str) {
        let line = |text| render(self.pid, 'M', unix_us, self.zone, LogLevel::Warning, text);
        let lines: String = text.lines().map(line).collect();
        let _ = io::stderr().write_all(lines.as_bytes());
        match &self.file {
            Some(path) => {
                let _ = Appending::open(path).and_then(|mut f| f.write_all(lines.as_bytes()));
            }
            // Past the lock of standard output, which the writer may hold.
            None if !output_is_error() => {
                let _ = rustix::io::write(io::stdout(), lines.as_bytes());
            }
            None => {}
        }
    }
}

/// Whether standard output and standard error are the same: what is written to both would stand
/// there twice.
pub fn output_is_error() -> bool {
    let about = rustix::fs::fstat(io::stdout()).ok().zip(rustix::fs::fstat(io::stderr()).ok());
    about.is_some_and(|(one, other)| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// One line as it is written. `role` is `M` for the server, `C` before it serves.
pub fn render(
    pid: u32,
    role: char,
    unix_us: i64,
    zone: Zone,
    level: LogLevel,
    text: &str,
) -> String {
    let sign = match level {
        LogLevel::Debug => '.',
        LogLevel::Verbose => '-',
        LogLevel::Notice => '*',
        LogLevel::Warning | LogLevel::Nothing => '#',
    };
    let mut text: String = text.chars().take(TEXT_MAX).collect();
    text = text.replace(char::is_control, " ");
    let time = date(unix_us, zone);
    format!("{pid}:{role} {time} {sign} {text}\n")
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `20 Nov 2026 15:30:00.123`
fn date(unix_us: i64, zone: Zone) -> String {
    let ms = unix_us.div_euclid(1000);
    let local = ms.div_euclid(1000) + i64::from(zone.offset);
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let month = MONTHS[month - 1];
    let ms = ms.rem_euclid(1000);
    format!("{day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

/// Year, month (from 1) and day of a number of days since 1970: counted in eras of 400 years that
/// begin on 1 March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let in_era = days.rem_euclid(146_097);
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: Zone = Zone { offset: 0 };

    #[test]
    fn lines_look_like_redis() {
        let line = |us, zone, level, text| render(7, 'M', us, zone, level, text);
        let us = 1_795_188_600_123_456;
        assert_eq!(
            line(us, UTC, LogLevel::Notice, "Ready"),
            "7:M 20 Nov 2026 15:30:00.123 * Ready\n"
        );
        let east = Zone { offset: 9 * 3600 };
        assert!(
            line(us, east, LogLevel::Warning, "a\nb").contains("21 Nov 2026 00:30:00.123 # a b")
        );
        assert!(line(0, UTC, LogLevel::Debug, "x").contains("01 Jan 1970 00:00:00.000 . x"));
        assert!(line(-1, UTC, LogLevel::Verbose, "x").contains("31 Dec 1969 23:59:59.999 - x"));
        assert!(line(951_782_400_000_000, UTC, LogLevel::Debug, "").contains("29 Feb 2000 "));
        assert!(line(us, UTC, LogLevel::Debug, &"é".repeat(9000)).chars().count() < 5000);
    }

    #[test]
    fn levels_and_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let log = open(Some(&path), LogLevel::Notice, 1, UTC).expect("opens");
        log.line(0, LogLevel::Verbose, "hidden");
        log.line(0, LogLevel::Notice, "one");
        log.set_level(LogLevel::Nothing);
        log.line(0, LogLevel::Warning, "silenced");
        log.set_level(LogLevel::Debug);
        log.line(0, LogLevel::Debug, "two");
        log.flush();
        let text = std::fs::read_to_string(&path).expect("reads");
        let ends: Vec<_> = text.lines().map(|l| l.rsplit(' ').next().unwrap()).collect();
        assert_eq!(ends, ["one", "two"]);
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        let log = open(Some(&path), LogLevel::Notice, 1, UTC).expect("opens");
        let say = |text: &str| {
            log.line(0, LogLevel::Notice, text);
            log.flush();
        };
        say("one");
        std::fs::rename(&path, &moved).expect("moves");
        say("two");
        say("three");
        std::fs::remove_file(&path).expect("removes");
        say("four");
        let count = |path: &Path| std::fs::read_to_string(path).expect("reads").lines().count();
        assert_eq!((count(&moved), count(&path)), (1, 1));
        // Where no file can be made the old one is written on.
        std::fs::remove_dir_all(dir.path()).expect("removes");
        say("five");
    }

    #[test]
    fn a_log_that_cannot_be_opened_says_so() {
        assert!(open(Some(Path::new("/nowhere/at/all")), LogLevel::Notice, 1, UTC).is_err());
    }
}
