//! The report of a crash: what a panic says, which command ran, and where.
//!
//! A panic in any thread ends the process at once: a shard that is gone would leave its clients and
//! the other shards waiting for good, and recovery proves itself. No value of a client is told.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use crate::observe::crash;
use crate::server::boot::Journal;
use crate::server::fatal;

/// Makes every panic end the process with a report; one at length has the backtrace.
pub fn end_at_panic(journal: &Arc<Journal>) {
    let journal = Arc::clone(journal);
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let mut text = said(panic, thread.name().unwrap_or("unnamed"));
        if crash::is_reported() {
            let command = crash::noted();
            if !command.is_empty() {
                text.push_str(&format!("\nThe last command it began: {command}"));
            }
            text.push_str(&format!("\nBacktrace:\n{}", Backtrace::force_capture()));
        }
        journal.last_words(&text);
        fatal::told();
        std::process::abort();
    }));
}

/// What is said of a panic. A message that was put together may hold a client's bytes: only what
/// stands in front of its first value is told.
fn said(panic: &PanicHookInfo<'_>, thread: &str) -> String {
    let payload = panic.payload();
    let formatted = payload.downcast_ref::<String>().map(|text| {
        let end = text.find([':', ';', '\n', '"']).unwrap_or(text.len());
        &text[..end]
    });
    let said = payload.downcast_ref::<&str>().copied().or(formatted).unwrap_or("no message");
    let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
    format!("Ringstone has to stop: thread {thread} panicked{place}: {said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hook ends the process, so the panic happens in another one: this test again, told to.
    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_a_report() {
        const WORD: &str = "RINGSTONE_TEST_PANIC";
        if std::env::var_os(WORD).is_some() {
            end_at_panic(&Arc::new(Journal::for_tests()));
            let named = std::thread::Builder::new().name("shard-7".into());
            let secret = String::from_utf8(b"a client's \xff".to_vec());
            let thread = named.spawn(move || {
                crash::note("set");
                secret.expect("it holds")
            });
            let _ = thread.expect("spawns").join();
            return;
        }
        let this = std::env::current_exe().expect("this test");
        let name = "server::report::tests::a_panic_in_any_thread_ends_the_process_with_a_report";
        let mut command = std::process::Command::new(this);
        let run = command.args([name, "--exact", "--nocapture"]).env(WORD, "1").output();
        let run = run.expect("runs");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success(), "it went on: {said}");
        assert!(said.contains("thread shard-7 panicked at src/server/report.rs"), "{said}");
        assert!(said.contains("The last command it began: set"), "{said}");
        assert!(said.contains("Backtrace:") && said.contains("unwrap_failed"), "{said}");
        // The frames below name types, which are no values.
        let first = said.lines().find(|line| line.contains("has to stop")).expect("a first line");
        assert!(first.ends_with(": it holds"), "{said}");
        assert!(!said.contains("client's"), "{said}");
    }
}
