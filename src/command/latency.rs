//! LATENCY: what took long, and how long commands take.
//!
//! HISTOGRAM speaks the form of Redis: cumulative counts at `1024 * 2^k` nanoseconds, named in
//! microseconds as an hdrhistogram of two digits rounds them up. Ours are within 1/32 of that.

use crate::command::args::Args;
use crate::command::fault::Fault;
use crate::command::introspect::{find_full, number};
use crate::command::server;
use crate::command::server::help;
use crate::command::session::SessionCtx;
use crate::command::sparkline::{self, Point};
use crate::command::table::{self, Command, Flags, ROW, SessionRun, printable};
use crate::observe::events::{ADVICE, Series};
use crate::observe::latency::Merged;
use crate::resp::Reply;

const ALWAYS: u32 = Flags::LOADING | Flags::STALE;
const SPECIAL: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

const fn row(name: &'static str, arity: i32, run: SessionRun) -> Command {
    let flags = ALWAYS | Flags::ADMIN | Flags::NOSCRIPT | Flags::SETTLE;
    Command { tips: SPECIAL, ..server::row(name, arity, flags, "2.8.13", run) }
}

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "latency",
    arity: -2,
    group: "server",
    since: "2.8.13",
    subcommands: &[
        row("latency|doctor", 2, doctor),
        row("latency|graph", 3, graph),
        Command {
            flags: Flags(ALWAYS),
            tips: &[],
            ..row("latency|help", 2, |ctx, _| {
                help(ctx, HELP);
                Ok(())
            })
        },
        Command { since: "7.0.0", ..row("latency|histogram", -2, histogram) },
        row("latency|history", 3, history),
        row("latency|latest", 2, latest),
        Command {
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..row("latency|reset", -2, reset)
        },
    ],
    ..ROW
}];

fn latest(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let all = ctx.server.registry().events.all();
    ctx.out.array(all.len());
    for (event, series) in all {
        let last = series.latest();
        ctx.out.array(4);
        ctx.out.bulk(event.as_bytes());
        ctx.out.int(last.map_or(0, |s| s.unix_s));
        ctx.out.int(last.map_or(0, |s| s.ms) as i64);
        ctx.out.int(series.max() as i64);
    }
    Ok(())
}

fn history(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let series = ctx.server.registry().events.get(&args[2]).unwrap_or_default();
    ctx.out.array(series.samples().count());
    for sample in series.samples() {
        ctx.out.array(2);
        ctx.out.int(sample.unix_s);
        ctx.out.int(sample.ms as i64);
    }
    Ok(())
}

fn reset(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let events = &ctx.server.registry().events;
    let gone: usize = match &args.items()[2..] {
        [] => events.reset(None),
        named => named.iter().map(|event| events.reset(Some(event))).sum(),
    };
    ctx.out.int(gone as i64);
    Ok(())
}

/// Characters in a line of the graph.
const COLUMNS: usize = 80;

fn graph(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let Some(series) = ctx.server.registry().events.get(&args[2]) else {
        let mut text = b"ERR No samples available for event '".to_vec();
        text.extend_from_slice(printable(&args[2], usize::MAX));
        text.push(b'\'');
        return Err(Fault(text.into()));
    };
    let event = String::from_utf8_lossy(&args[2]).into_owned();
    let text = draw(&event, &series, ctx.now.unix_us.div_euclid(1_000_000));
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The graph of one event, with how long ago each sample was under it.
fn draw(event: &str, series: &Series, now_s: i64) -> String {
    let points: Vec<Point> = series
        .samples()
        .map(|s| Point { value: s.ms as f64, label: ago(now_s - s.unix_s) })
        .collect();
    let of = |pick: fn(u64, u64) -> u64| series.samples().map(|s| s.ms).reduce(pick).unwrap_or(0);
    let (high, low, ever) = (of(u64::max), of(u64::min), series.max());
    let line = "-".repeat(COLUMNS);
    let head =
        format!("{event} - high {high} ms, low {low} ms (all time high {ever} ms)\n{line}\n");
    head + &sparkline::render(&points, COLUMNS, 4)
}

fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

fn doctor(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let threshold = ctx.server.config().latency_monitor_threshold;
    let all = ctx.server.registry().events.all();
    let text = diagnosis(threshold, &all, ctx.now.unix_us.div_euclid(1_000_000));
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn diagnosis(threshold: u64, all: &[(&'static str, Series)], now_s: i64) -> String {
    if threshold == 0 && all.is_empty() {
        return "The latency monitor is off: nothing is known. CONFIG SET \
                latency-monitor-threshold <milliseconds> turns it on.\n"
            .to_owned();
    }
    if all.is_empty() {
        return format!("Nothing has taken {threshold} ms or longer so far.\n");
    }
    let mut text = format!("Events of {threshold} ms or longer, the latest ones of each kind:\n\n");
    for (n, (event, series)) in (1..).zip(all) {
        let count = series.samples().count() as u64;
        let sum: u64 = series.samples().map(|s| s.ms).sum();
        let average = sum / count.max(1);
        let deviation =
            series.samples().map(|s| s.ms.abs_diff(average)).sum::<u64>() / count.max(1);
        let last = series.latest().map_or(0, |s| now_s - s.unix_s);
        text += &format!(
            "{n}. {event}: in {count} seconds, {average} ms on average (mean deviation {deviation} \
             ms), longest ever {} ms, last {} ago.\n",
            series.max(),
            ago(last)
        );
    }
    text += "\nWhat may help:\n\n";
    for (event, advice) in ADVICE.iter().filter(|(e, _)| all.iter().any(|(known, _)| known == e)) {
        text += &format!("- {event}: {advice}\n");
    }
    text
}

fn histogram(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let mut shown: Vec<(&'static Command, Merged)> = Vec::new();
    let mut add = |command: &'static Command| {
        for command in std::iter::once(command).chain(command.subcommands) {
            let merged = ctx.server.registry().latency_of(number(command));
            if !merged.is_empty() {
                shown.push((command, merged));
            }
        }
    };
    match &args.items()[2..] {
        [] => table::all().for_each(&mut add),
        names => names.iter().filter_map(|name| find_full(name)).for_each(&mut add),
    }
    ctx.out.map(shown.len());
    for (command, merged) in &shown {
        ctx.out.bulk(command.name.as_bytes());
        distribution(ctx.out, merged);
    }
    Ok(())
}

/// Longest duration that is told from longer ones, in nanoseconds.
const LONGEST_NS: u64 = 1 << 30;

/// A histogram as Redis answers it.
fn distribution(out: &mut Reply, merged: &Merged) {
    let mut steps: Vec<(i64, i64)> = Vec::new();
    let (mut level, mut before) = (1024_u64, 0);
    while before < merged.len() {
        let count = if level < LONGEST_NS { merged.below(level) } else { merged.len() };
        if count > before {
            let usec = (level + level / 128 - 1) / 1000;
            steps.push((usec as i64, count as i64));
        }
        before = count;
        level *= 2;
    }
    out.map(2);
    out.bulk(b"calls");
    out.int(merged.len() as i64);
    out.bulk(b"histogram_usec");
    out.map(steps.len());
    for (usec, count) in steps {
        out.int(usec);
        out.int(count);
    }
}

const HELP: &[&str] = &[
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the \
     specified command names.",
    "    If no commands are specified then all histograms are replied.",
    "HELP",
    "    Prints this help.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::session::fake::Fake;

    #[test]
    fn events() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("LATENCY LATEST"), "*0\r\n");
        assert_eq!(fake.run("LATENCY HISTORY command"), "*0\r\n");
        assert_eq!(fake.run("LATENCY RESET"), ":0\r\n");
        assert_eq!(
            fake.run("LATENCY GRAPH command"),
            "-ERR No samples available for event 'command'\r\n"
        );
        assert!(fake.run("LATENCY DOCTOR").contains("monitor is off"));
        fake.registry.events.add("command", 1_699_999_990, 300);
        fake.registry.events.add("command", 1_699_999_995, 200);
        assert_eq!(
            fake.run("LATENCY LATEST"),
            "*1\r\n*4\r\n$7\r\ncommand\r\n:1699999995\r\n:200\r\n:300\r\n"
        );
        assert_eq!(
            fake.run("LATENCY HISTORY command"),
            "*2\r\n*2\r\n:1699999990\r\n:300\r\n*2\r\n:1699999995\r\n:200\r\n"
        );
        let graph = fake.run("LATENCY GRAPH command");
        assert!(graph.contains("command - high 300 ms, low 200 ms (all time high 300 ms)\n----"));
        let doctor = fake.run("LATENCY DOCTOR");
        assert!(doctor.contains("1. command: in 2 seconds, 250 ms on average"), "{doctor}");
        assert!(doctor.contains("- command: Some commands take long"));
        assert_eq!(fake.run("LATENCY RESET nosuch command"), ":1\r\n");
        assert_eq!(ago(59) + &ago(61) + &ago(7200) + &ago(90_000), "59s1m2h1d");
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("LATENCY HISTOGRAM"), "*0\r\n");
        let (get, set) = (number(table::find(b"get").unwrap()), table::find(b"config").unwrap());
        for ns in [500, 1500, 1600, 40_000] {
            fake.registry.shards[0].executed(get, ns, false, true);
            fake.registry.shards[1].executed(get, ns, false, true);
        }
        fake.registry.shards[1].executed(number(&set.subcommands[0]), u64::MAX, false, true);
        let get = "$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:8\r\n$14\r\nhistogram_usec\r\n\
                   *6\r\n:1\r\n:2\r\n:2\r\n:6\r\n:66\r\n:8\r\n";
        assert_eq!(fake.run("LATENCY HISTOGRAM get nosuch"), format!("*2\r\n{get}"));
        let sub = "$10\r\nconfig|get\r\n*4\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n\
                   *2\r\n:1082130\r\n:1\r\n";
        assert_eq!(fake.run("LATENCY HISTOGRAM CONFIG"), format!("*2\r\n{sub}"));
        assert_eq!(fake.run("LATENCY HISTOGRAM"), format!("*4\r\n{get}{sub}"));
        fake.session.resp3 = true;
        assert!(fake.run("LATENCY HISTOGRAM config|get").starts_with("%1\r\n$10\r\nconfig|get"));
    }
}
