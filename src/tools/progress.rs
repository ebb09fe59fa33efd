//! A bar on standard error that shows how far a file has been read, when somebody looks at it.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks.
const STEP: Duration = Duration::from_millis(200);
/// Looks without a bar: what is done by then needs none.
const PATIENCE: u32 = 4;
/// Characters of the bar.
const WIDTH: u64 = 40;

/// The bar; it goes when this is dropped.
pub struct Progress {
    /// Bytes read.
    pub read: Arc<AtomicU64>,
    /// Dropped to end the thread.
    ends: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// A bar for a file of `total` bytes.
    pub fn new(total: u64) -> Progress {
        let read = Arc::new(AtomicU64::new(0));
        if !io::stderr().is_terminal() {
            return Progress { read, ends: None, thread: None };
        }
        let (ends, end) = channel::<()>();
        let seen = Arc::clone(&read);
        let look = move || {
            let mut looks = 0;
            while end.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
                looks += 1;
                if looks >= PATIENCE {
                    draw(&bar(seen.load(Ordering::Relaxed), total));
                }
            }
            if looks >= PATIENCE {
                draw("");
            }
        };
        // Without a thread there is no bar.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(look).ok();
        Progress { read, ends: Some(ends), thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.ends.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that matters now.
            let _ = thread.join();
        }
    }
}

/// Shows a line in the place of the last one.
fn draw(text: &str) {
    let mut err = io::stderr().lock();
    // A bar that cannot be seen is missed by nobody.
    let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
}

fn bar(read: u64, total: u64) -> String {
    let done = (WIDTH * read.min(total)).checked_div(total).unwrap_or(WIDTH) as usize;
    let percent = (100 * read.min(total)).checked_div(total).unwrap_or(100);
    let (full, rest) = ("#".repeat(done), ".".repeat(WIDTH as usize - done));
    format!("[{full}{rest}] {percent:3}% {} of {} MB", read / 1_000_000, total / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_at_the_end() {
        assert_eq!(bar(0, 0), format!("[{}] 100% 0 of 0 MB", "#".repeat(40)));
        let half = format!("[{}{}]  50% 500 of 1000 MB", "#".repeat(20), ".".repeat(20));
        assert_eq!(bar(500_000_000, 1_000_000_000), half);
        assert!(bar(u64::MAX / 200, u64::MAX / 200).contains("100%"));
        drop(Progress::new(5));
    }
}
