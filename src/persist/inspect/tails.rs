//! Tails where less than everything is wanted: the part of [`inspect`](super::inspect) that cuts
//! them together with the logs that they go on from.
//!
//! A tail is what one shard's log goes on with behind the end that the manifest names for its file
//! of a generation. Other shards' marks of that generation may ask for what stands in it, and its
//! own ask for theirs. So where something of a generation or its tails is not wanted, file and tail
//! are one log, and the greatest consistent choice is made over these; then it is told apart again
//! what is kept of each. A tail of which something is kept is written anew
//! ([`crate::persist::aof::repair`]).

use super::{Group, Inspection, Listed};
use crate::persist::aof::cut::Kept;
use crate::persist::aof::manifest::PartKind;
use crate::persist::aof::scan::Scan;
use crate::persist::aof::tail::{TailScan, scan_tail, silent};
use crate::persist::recovery::{Options, RecoveryError, Step};

/// A tail that is looked at with its generation.
pub(super) struct Tailed {
    file: String,
    pub tail: TailScan,
}

impl Inspection<'_, '_> {
    /// The tails right behind a generation, where something is not wanted and as far as they say
    /// whose they are.
    pub(super) fn tails_of(&mut self, behind: &[Listed<'_>]) -> Result<Vec<Tailed>, RecoveryError> {
        let Options { until, bounds, .. } = self.plan.options;
        let mut tails = Vec::new();
        if until.is_none() && bounds.is_none() {
            return Ok(tails);
        }
        for item in behind {
            let Listed::Part(line, pairs) = item else { break };
            if pairs.kind != PartKind::Tail {
                break;
            }
            self.part_is_whole(line, pairs)?;
            let bound = |shard| bounds.map(|bounds| bounds.of(shard));
            let tail = scan_tail(self.volume, &line.file, until, bound);
            let Some(tail) = tail.map_err(self.log_error())? else { break };
            let plan = &mut self.plan;
            plan.next_id = plan.next_id.max(tail.scan.next_id);
            plan.next_pos = plan.next_pos.max(tail.scan.highest);
            plan.since = plan.since.or(tail.scan.since);
            tails.push(Tailed { file: line.file.clone(), tail });
        }
        Ok(tails)
    }

    /// Keeps the first `len` bytes of a tail.
    pub(super) fn keep_tail(&mut self, of: &Tailed, len: u64) -> Result<(), RecoveryError> {
        let (file, size) = (of.file.clone(), of.tail.scan.len);
        if len < size {
            self.plan.report.push(match len {
                0 => format!("{file}: later, goes as a whole"),
                _ => format!("{file}: cut at offset {len}, {} bytes are later", size - len),
            });
            self.plan.dropped.push(file.clone());
        }
        if len > 0 && len < size {
            self.plan.tails.push((file.clone(), len));
        }
        if len > 0 {
            self.check(&file, "INCR", size, len);
            self.plan.steps.push(Step::Part { file, len });
        }
        Ok(())
    }
}

/// The logs of a generation, by shard, each with its tail.
pub(super) fn whole_logs(group: &Group<'_>, scans: &[Scan], tails: &[Tailed]) -> Vec<Scan> {
    let shards = usize::from(group.lines[0].1.shards);
    let mut logs: Vec<Scan> = (0..shards).map(|_| silent()).collect();
    for (scan, (_, pairs)) in scans.iter().zip(&group.lines) {
        logs[usize::from(pairs.shard)] = scan.clone();
    }
    for Tailed { tail, .. } in tails {
        let Some(log) = logs.get_mut(usize::from(tail.shard)) else { continue };
        log.marks.extend(tail.scan.marks.iter().cloned());
        log.next_id = log.next_id.max(tail.scan.next_id);
        log.end = tail.scan.end;
    }
    logs
}

/// What is kept of each file, in the order of `group`, and how many bytes of each tail.
pub(super) fn apart(
    group: &Group<'_>,
    scans: &[Scan],
    tails: &[Tailed],
    kept: &[Kept],
) -> (Vec<Kept>, Vec<u64>) {
    let of_file = |(scan, (_, pairs)): (&Scan, &(_, &super::ShardPairs))| {
        let (kept, end) = (kept[usize::from(pairs.shard)], scan.end);
        let whole = Kept::all_to(end);
        // Where it ends a tail may begin, whose offsets say nothing here.
        if kept.pos >= end.pos { whole } else { kept }
    };
    let files = scans.iter().zip(&group.lines).map(of_file).collect();
    let of_tail = |Tailed { tail, .. }: &Tailed| {
        let kept = kept.get(usize::from(tail.shard)).filter(|kept| kept.pos > tail.start);
        kept.map_or(0, |kept| kept.offset)
    };
    (files, tails.iter().map(of_tail).collect())
}
