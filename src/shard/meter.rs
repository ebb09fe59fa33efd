//! How long commands take, without two readings of the clock for each.
//!
//! Commands that are brief by their nature ([`introspect::is_brief`]) and have small arguments run
//! in a *row*, between two readings, and are told their average, which is what a histogram can
//! tell of them anyway. A row that took much longer than usual was held up by one of its commands,
//! which is told all of the excess: an average would hide the stalls a histogram is there to show.
//! Everything else is timed by itself: whatever can be slow of its own doing, commands that come
//! alone (the clock is read as often either way), and all of them where the bounds of SLOWLOG or
//! LATENCY are so low that brief ones may pass them.
//!
//! What passed a bound is kept with its arguments until [`super::late`] takes it. Of a row only the
//! names are known, and that is what is said of it: it takes a stall of the machine to get there.

use smallvec::SmallVec;

use crate::base::clock::Stopwatch;
use crate::command::{Args, Command, Flags, introspect, redact};
use crate::observe::ShardStats;
use crate::observe::metrics::Executions;
use crate::observe::slowlog;
use crate::shard::late::{Bounds, Late};
use crate::shard::message::ReplyTo;
use crate::shard::serve::Slow;

/// What a row of brief commands may take beyond the usual before one of them is held to be the
/// cause, in nanoseconds.
const OUTLIER_NS: u64 = 10_000;
/// Bounds under this are within what a brief command may take, in nanoseconds.
const BRIEF_NS: u64 = 1_000_000;

/// Measures executions.
#[derive(Debug, Default)]
pub struct Meter {
    watch: Stopwatch,
    /// Executions since the last reading, by the command's number.
    run: SmallVec<[(usize, Executions); 4]>,
    /// What runs is a part of a call that another shard counts.
    part: bool,
    /// What one of a row takes as a rule, in nanoseconds; moves by a sixteenth of the difference.
    usual: u64,
    bounds: Bounds,
    /// Everything is timed by itself, since so little has come.
    alone: bool,
    /// The last reading was the end of a command, with only the next one's request behind it.
    fresh: bool,
    /// What passed a bound.
    late: Vec<Late>,
    /// The same of what ran for clients that waited, since this turn began.
    served: Vec<(ReplyTo, Slow)>,
}

impl Meter {
    /// One that knows from when on something is too long.
    pub fn bounded(bounds: Bounds) -> Self {
        Meter { bounds, ..Meter::default() }
    }

    /// Sets from when on something is too long.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Begins a span; `alone` says that it holds so few commands that each is timed by itself.
    pub fn begin(&mut self, alone: bool) {
        self.alone = alone;
        self.fresh = false;
        self.watch.start();
    }

    /// Something else comes, which is no command's own time.
    pub fn interrupt(&mut self) {
        self.fresh = false;
    }

    /// Whether a command is to be timed by itself.
    pub fn times_alone(&self, command: &'static Command, args: &Args<'_>) -> bool {
        self.alone
            || self.bounds.least() < BRIEF_NS
            || !is_small(args)
            || !introspect::is_brief(command, args)
    }

    /// What runs from here on are parts of calls that another shard counts, or they are not.
    pub fn set_part(&mut self, part: bool) {
        self.part = part;
    }

    /// Whether what runs is a part of a call that another shard counts.
    pub fn is_part(&self) -> bool {
        self.part
    }

    /// Counts an execution in the row.
    pub fn count(&mut self, number: usize, ok: bool) {
        let parts = u64::from(self.part);
        let ran = Executions { all: 1, parts, failed: u64::from(!ok && !self.part) };
        match self.run.iter_mut().find(|r| r.0 == number) {
            Some((_, run)) => {
                run.all += 1;
                run.parts += ran.parts;
                run.failed += ran.failed;
            }
            None => self.run.push((number, ran)),
        }
    }

    /// Ends the row, if there is one, and books it on what ran in it.
    pub fn settle(&mut self, stats: &ShardStats, track: bool) {
        let total: u64 = self.run.iter().map(|r| r.1.all).sum();
        if total == 0 {
            // What came in between was no command's own time, unless it was its request.
            if !self.alone && !self.fresh {
                self.watch.start();
            }
            return;
        }
        let nanos = self.watch.lap();
        let (each, excess) = self.split(nanos, total);
        if each + excess >= self.bounds.least() {
            self.note_row(each + excess, total);
        }
        self.book(stats, track, each, excess);
    }

    /// Ends the span of one command that was timed by itself. What SLOWLOG keeps of one that
    /// `waits` for a key is given back: it is kept when the wait is over.
    pub fn settle_one(
        &mut self,
        stats: &ShardStats,
        track: bool,
        (command, waits): (&'static Command, bool),
        args: &Args<'_>,
    ) -> Option<Slow> {
        let nanos = self.watch.lap();
        self.fresh = true;
        self.book(stats, track, nanos, 0);
        if nanos < self.bounds.least() {
            return None;
        }
        let mut args = self.slow_args(command, args, nanos);
        let kept = if waits { args.take() } else { None };
        self.late.push(Late { nanos, fast: command.flags.has(Flags::FAST), args });
        kept.map(|args| (nanos, args))
    }

    /// Something ran for a client that waited; SLOWLOG keeps this of it.
    pub fn note_served(&mut self, to: ReplyTo, slow: Option<Slow>) {
        self.served.extend(slow.map(|slow| (to, slow)));
    }

    /// Takes what has been noted so.
    pub fn take_served(&mut self) -> Vec<(ReplyTo, Slow)> {
        std::mem::take(&mut self.served)
    }

    /// What SLOWLOG keeps of a command that took so long, if anything.
    pub fn slow_args(
        &self,
        command: &Command,
        args: &Args<'_>,
        nanos: u64,
    ) -> Option<Vec<Vec<u8>>> {
        let logged = nanos >= self.bounds.slow_ns && !command.flags.has(Flags::SKIP_SLOWLOG);
        logged.then(|| redact::with_kept(command, args, slowlog::kept))
    }

    fn book(&mut self, stats: &ShardStats, track: bool, each: u64, excess: u64) {
        for (index, (number, ran)) in self.run.drain(..).enumerate() {
            if index > 0 || excess == 0 {
                stats.executed_many(number, ran, each, track);
                continue;
            }
            let all = ran.all - 1;
            let parts = ran.parts.min(all);
            let rest = Executions { all, parts, failed: ran.failed.min(all - parts) };
            let (parts, failed) = (ran.parts - rest.parts, ran.failed - rest.failed);
            stats.executed_many(number, rest, each, track);
            stats.executed_many(number, Executions { all: 1, parts, failed }, each + excess, track);
        }
    }

    fn note_row(&mut self, nanos: u64, total: u64) {
        let commands = self.run.iter().map(|r| introspect::by_number(r.0));
        let mut args: Vec<Vec<u8>> = commands.clone().map(|c| c.name.into()).collect();
        let others = match total {
            1 => "... (its arguments were not kept)".to_owned(),
            n => format!("... (one of {n} brief commands in a row)"),
        };
        args.push(others.into());
        let fast = commands.clone().all(|c| c.flags.has(Flags::FAST));
        let args = (nanos >= self.bounds.slow_ns).then_some(args);
        self.late.push(Late { nanos, fast, args });
    }

    /// Takes what has passed a bound since the last call.
    pub fn take_late(&mut self) -> Vec<Late> {
        std::mem::take(&mut self.late)
    }

    /// What each of `total` commands took of `nanos`, and what one of them took beyond that.
    fn split(&mut self, nanos: u64, total: u64) -> (u64, u64) {
        let average = nanos / total;
        let excess = nanos.saturating_sub(self.usual * total);
        if self.usual > 0 && total > 1 && excess > OUTLIER_NS {
            // Drawn along slowly, so that rows of commands that all take long become usual.
            self.usual += (average - self.usual) / 16;
            return (self.usual, nanos - self.usual * total);
        }
        let moves = average.min(2 * self.usual + OUTLIER_NS);
        self.usual = (self.usual * 15 + moves).div_ceil(16);
        (average, 0)
    }
}

/// Arguments so few that a brief command over them takes about as long as any other such.
fn is_small(args: &Args<'_>) -> bool {
    args.len() <= 8 && args.items().iter().all(|a| a.len() <= 512)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[test]
    fn a_stall_is_told_of_one_command_and_no_time_is_lost() {
        let mut meter = Meter::default();
        for _ in 0..100 {
            assert_eq!(meter.split(16 * 500, 16), (500, 0));
        }
        let (each, excess) = meter.split(16 * 500 + 900_000, 16);
        assert!(each < 5000 && excess > 800_000, "{each} {excess}");
        assert_eq!(each * 16 + excess, 16 * 500 + 900_000);
        // Commands that all take long are no outliers for long.
        let mut outliers = 0;
        for _ in 0..200 {
            outliers += u32::from(meter.split(16 * 20_000, 16).1 > 0);
        }
        assert!(outliers < 100, "{outliers}");
        // One alone is measured as it is.
        assert_eq!(meter.split(900_000, 1), (900_000, 0));
    }

    #[test]
    fn what_can_be_slow_is_timed_by_itself() {
        let mut meter = Meter::default();
        let alone = |meter: &Meter, words: &[&[u8]]| {
            meter.times_alone(table::find(words[0]).unwrap(), &Args::new(words))
        };
        let (get, keys): (&[&[u8]], &[&[u8]]) = (&[b"GET", b"k"], &[b"KEYS", b"*"]);
        meter.begin(false);
        assert!(!alone(&meter, get) && alone(&meter, keys));
        assert!(alone(&meter, &[b"SET", b"k", &[b'x'; 513]]));
        for (range, brief) in [
            ("ZRANGE k 0 9", true),
            ("LRANGE k 80 95", true),
            ("ZREVRANGE k 5 0", true),
            ("ZRANGE k 0 16", false),
            ("ZRANGE k 0 -1", false),
            ("LRANGE k 0 100", false),
            ("ZRANGE k 0 x", false),
            ("ZRANGE k 0 9 BYSCORE", false),
            ("ZRANGE k 0 9 WITHSCORES", false),
            ("ZRANGEBYSCORE k 0 9", false),
        ] {
            let words: Vec<&[u8]> = range.split(' ').map(str::as_bytes).collect();
            assert_eq!(alone(&meter, &words), !brief, "{range}");
        }
        meter.begin(true);
        assert!(alone(&meter, get));
        meter.begin(false);
        meter.set_bounds(Bounds { slow_ns: 0, event_ns: u64::MAX });
        assert!(alone(&meter, get));
    }

    #[test]
    fn a_part_is_no_call_but_takes_its_time() {
        let names = introspect::names_counted();
        let get = introspect::number(table::find(b"get").unwrap());
        for (whole, failed, parts) in [(1, 0, 0), (0, 0, 1), (3, 2, 5), (1, 1, 1), (0, 0, 9)] {
            for excess in [0, 70_000] {
                let stats = ShardStats::new(1, names.len());
                let mut meter = Meter::default();
                for at in 0..whole + parts {
                    meter.set_part(at >= whole);
                    meter.count(get, at >= failed && at < whole);
                }
                meter.book(&stats, true, 100, excess);
                let of = &stats.commands[get];
                let counted = (of.calls.get(), of.failed.get(), stats.commands_processed.get());
                assert_eq!(counted, (whole, failed, whole));
                assert_eq!(stats.executions(), whole + parts);
                assert_eq!(of.nanos.get(), (whole + parts) * 100 + excess);
            }
        }
    }

    #[test]
    fn what_passes_a_bound_is_kept_as_itself() {
        let names = introspect::names_counted();
        let stats = ShardStats::new(1, names.len());
        let mut meter = Meter::default();
        let (get, exec) = (table::find(b"get").unwrap(), table::find(b"exec").unwrap());
        meter.set_bounds(Bounds { slow_ns: 0, event_ns: u64::MAX });
        meter.begin(true);
        for (command, word) in [(get, b"key".as_slice()), (exec, b"x")] {
            meter.count(introspect::number(command), true);
            meter.settle_one(&stats, true, (command, false), &Args::new(&[b"CMD", word]));
        }
        let late = meter.take_late();
        assert_eq!(late[0].args, Some(vec![b"CMD".to_vec(), b"key".to_vec()]));
        assert_eq!((late.len(), late[0].fast, &late[1].args), (2, true, &None));
        meter.count(introspect::number(get), true);
        meter.count(introspect::number(get), true);
        meter.settle(&stats, true);
        let row = meter.take_late().remove(0).args.unwrap();
        assert_eq!(row, [b"get".as_slice(), b"... (one of 2 brief commands in a row)"]);
        assert_eq!(stats.commands[introspect::number(get)].calls.get(), 3);
    }
}
