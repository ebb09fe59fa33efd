//! The server's own log lines, in Redis' form: `pid:M 20 Nov 2026 15:30:00.123 * text`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::LogLevel;
use crate::shard::global::Level;

/// Where lines go.
#[derive(Debug)]
pub struct Journal {
    file: Option<Mutex<File>>,
    threshold: LogLevel,
    pid: u32,
}

impl Journal {
    /// A journal to a file, or to standard output.
    pub fn open(path: Option<&Path>, threshold: LogLevel) -> io::Result<Journal> {
        let open = |path| OpenOptions::new().append(true).create(true).open(path);
        let file = path.map(open).transpose()?.map(Mutex::new);
        Ok(Journal { file, threshold, pid: std::process::id() })
    }

    /// Says a line.
    pub fn say(&self, level: Level, text: &str) {
        let (weight, sign) = match level {
            Level::Notice => (LogLevel::Notice, '*'),
            Level::Warning => (LogLevel::Warning, '#'),
        };
        if weight < self.threshold {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamp = stamp(now.as_secs() as i64, now.subsec_millis());
        let line = format!("{}:M {stamp} {sign} {text}\n", self.pid);
        // A line that cannot be written has nowhere else to go.
        let _ = match &self.file {
            Some(file) => match file.lock() {
                Ok(mut file) => file.write_all(line.as_bytes()),
                Err(_) => Ok(()),
            },
            None => {
                let mut out = io::stdout().lock();
                out.write_all(line.as_bytes()).and_then(|()| out.flush())
            }
        };
    }

    /// Says something worth knowing.
    pub fn notice(&self, text: &str) {
        self.say(Level::Notice, text);
    }

    /// Says something that wants attention.
    pub fn warn(&self, text: &str) {
        self.say(Level::Warning, text);
    }
}

/// `20 Nov 2026 15:30:00.123`, in UTC.
fn stamp(unix: i64, millis: u32) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    let month = MONTHS[month as usize - 1];
    format!("{day:02} {month} {year} {h:02}:{m:02}:{s:02}.{millis:03}")
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Count from 1 March of year 0, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        assert_eq!(stamp(0, 7), "01 Jan 1970 00:00:00.007");
        assert_eq!(stamp(951_827_696, 0), "29 Feb 2000 12:34:56.000");
        assert_eq!(stamp(1_795_188_600, 123), "20 Nov 2026 15:30:00.123");
    }
}
