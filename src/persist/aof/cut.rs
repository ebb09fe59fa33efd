//! Where the logs of a generation must be cut so that what is kept is consistent. Pure.
//!
//! # What is wanted
//!
//! Every shard `s` has a readable prefix of its log, up to `limit[s]`. A *choice* is one position
//! `kept[s] <= limit[s]` for each. A choice is *closed* when every mark in front of `kept[s]`, for
//! every `s`, is met:
//!
//! * an entry's mark: each named participant keeps its mark of the same entry, and each shard that
//!   was only read keeps its log to the named position;
//! * a causality mark: each named shard keeps its log to the named position.
//!
//! # The greatest closed choice
//!
//! Take two closed choices and, shard by shard, the larger position. A mark in front of the larger
//! position is in front of it in one of the two, is met there, and what met it is kept in the
//! larger as well: the result is closed. So there is a greatest closed choice, `G`.
//!
//! The procedure starts from `limit` and, while some mark is not met, cuts that shard's log in
//! front of it. It never goes below `G`: were `kept >= G` before a step and `kept[s] < G[s]` after,
//! the mark cut at would stand in front of `G[s]`, so `G` meets it, so `kept >= G` met it, and it
//! would not have been cut at. It ends, since each step shortens a log, and where it ends nothing
//! is unmet, so the choice is closed and therefore `G`. The order of the steps does not matter.
//!
//! # Why one number per participant is enough
//!
//! Ids ascend in every log, and each log holds a mark of every entry that names its shard as a
//! participant. So a participant keeps its mark of entry `id` exactly when the highest id it keeps
//! is not below `id`. (A log that ends above `id` and has no such mark breaks that rule: that is
//! damage and is refused, as far back as the marks are held.)
//!
//! # What the marks prove about a gap
//!
//! A causality mark that names a position beyond a gap says that bytes behind the gap were once
//! released. Under `always` that means durable, under the other policies written; the mark does
//! not say under which it was made. So it proves damage only while the machine has not been
//! restarted; otherwise the log that holds it is cut in front of it, which keeps what is left
//! consistent whichever it was.

use crate::base::limits::SHARDS_MAX;
use crate::persist::aof::format::Mark;
use crate::persist::aof::scan::{Border, MarkAt, Scan, bits};

/// Where one shard's log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The position kept up to.
    pub pos: u64,
    /// The last border in front of it, or at it.
    pub border: Border,
    /// Offset in the file of the first byte not kept.
    pub offset: u64,
    /// Bytes of the stream kept, from the start of the file.
    pub stream: u64,
}

impl Kept {
    /// Everything in front of a border.
    pub fn all_to(border: Border) -> Kept {
        Kept { pos: border.pos, border, offset: border.offset, stream: border.stream }
    }

    /// True when the cut falls inside a frame.
    pub fn inside_frame(&self) -> bool {
        self.border.pos < self.pos
    }
}

/// Why no cut can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutError {
    /// The kept lists of marks are too short: scan again with longer ones.
    ListTooShort,
    /// This mark (shard, index) names a shard that the generation does not have.
    NoSuchShard(usize, usize),
    /// This mark (shard, index) names a participant whose log has no mark of the entry, though it
    /// goes on beyond it.
    MarkMissing(usize, usize, usize),
}

/// A demand of the mark at `mark` in the log of `shard`.
#[derive(Clone, Copy)]
struct Demand {
    need: u64,
    shard: usize,
    mark: usize,
}

/// The greatest choice in which every mark is met.
pub fn greatest_cut(scans: &[Scan]) -> Result<Vec<Kept>, CutError> {
    let mut work = Work::new(scans)?;
    let mut lowered: Vec<usize> = (0..scans.len()).collect();
    while let Some(shard) = lowered.pop() {
        let reach = work.kept[shard].pos;
        while let Some(demand) = work.by_pos[shard].pop_if(|d| d.need > reach) {
            work.cut(scans, demand, &mut lowered);
        }
        let highest = work.highest_id(scans, shard);
        while let Some(demand) = work.by_id[shard].pop_if(|d| d.need > highest) {
            work.cut(scans, demand, &mut lowered);
        }
    }
    for scan in scans {
        let reaches = |shard: usize| work.kept.get(shard).map_or(0, |k| k.pos);
        let unmet = |shard: usize| {
            scan.dropped.pos[shard] > reaches(shard)
                || scan.dropped.id[shard] > work.highest_id(scans, shard)
        };
        if (0..SHARDS_MAX).any(unmet) {
            return Err(CutError::ListTooShort);
        }
    }
    Ok(work.kept)
}

struct Work {
    kept: Vec<Kept>,
    /// Per shard the positions that others need of it, ascending.
    by_pos: Vec<Vec<Demand>>,
    /// Per shard the ids (plus one) whose marks others need in it, ascending.
    by_id: Vec<Vec<Demand>>,
}

impl Work {
    fn new(scans: &[Scan]) -> Result<Work, CutError> {
        let whole = |scan: &Scan| Kept::all_to(scan.end);
        let mut by_pos = vec![Vec::new(); scans.len()];
        let mut by_id = vec![Vec::new(); scans.len()];
        for (shard, scan) in scans.iter().enumerate() {
            for (mark, at) in scan.marks.iter().enumerate() {
                let demand = |need| Demand { need, shard, mark };
                let ats = match &at.mark {
                    Mark::Entry { id, participants, readers } => {
                        for other in bits(*participants) {
                            if other >= scans.len() {
                                return Err(CutError::NoSuchShard(shard, mark));
                            }
                            if lacks(&scans[other], *id) {
                                return Err(CutError::MarkMissing(shard, mark, other));
                            }
                            by_id[other].push(demand(id.saturating_add(1)));
                        }
                        readers
                    }
                    Mark::Seen(seen) => seen,
                };
                for &(other, pos) in ats {
                    let list = by_pos.get_mut(usize::from(other));
                    list.ok_or(CutError::NoSuchShard(shard, mark))?.push(demand(pos));
                }
            }
        }
        for list in by_pos.iter_mut().chain(&mut by_id) {
            list.sort_unstable_by_key(|d| d.need);
        }
        Ok(Work { kept: scans.iter().map(whole).collect(), by_pos, by_id })
    }

    /// Cuts in front of the mark that makes a demand, unless its log already ends there.
    fn cut(&mut self, scans: &[Scan], demand: Demand, lowered: &mut Vec<usize>) {
        let Some(mark) = scans[demand.shard].marks.get(demand.mark) else { return };
        let kept = &mut self.kept[demand.shard];
        if mark.pos < kept.pos {
            *kept = in_front_of(mark);
            lowered.push(demand.shard);
        }
    }

    /// One above the highest entry id that a shard's kept prefix holds.
    fn highest_id(&self, scans: &[Scan], shard: usize) -> u64 {
        let (Some(scan), Some(kept)) = (scans.get(shard), self.kept.get(shard)) else { return 0 };
        let held = scan.marks.partition_point(|m| m.pos < kept.pos);
        let ids = scan.marks.range(..held).rev().find_map(|m| match m.mark {
            Mark::Entry { id, .. } => Some(id.saturating_add(1)),
            Mark::Seen(_) => None,
        });
        ids.unwrap_or(scan.dropped.own)
    }
}

/// The cut in front of a mark.
fn in_front_of(mark: &MarkAt) -> Kept {
    // A mark that opens its frame is cut at the border: nothing of the frame is kept.
    let offset = if mark.frame.pos == mark.pos { mark.frame.offset } else { mark.offset };
    Kept { pos: mark.pos, border: mark.frame, offset, stream: mark.stream }
}

/// True when a log goes on beyond an entry whose mark it lacks.
fn lacks(scan: &Scan, id: u64) -> bool {
    if id.saturating_add(1) >= scan.next_id || id < scan.dropped.own {
        return false;
    }
    // Causality marks stand between; ids ascend over those that have one.
    let mut low = 0;
    let mut high = scan.marks.len();
    while low < high {
        let middle = (low + high) / 2;
        let (at, found) = entry_from(scan, middle, high);
        match found {
            Some(held) if held == id => return false,
            Some(held) if held < id => low = at + 1,
            _ => high = middle,
        }
    }
    true
}

/// The first entry mark at or behind `from`, before `to`.
fn entry_from(scan: &Scan, from: usize, to: usize) -> (usize, Option<u64>) {
    let mut range = scan.marks.range(from..to).enumerate();
    let found = range.find_map(|(i, m)| match m.mark {
        Mark::Entry { id, .. } => Some((from + i, Some(id))),
        Mark::Seen(_) => None,
    });
    found.unwrap_or((to, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::aof::scan::{MARKS_KEPT, ScanOptions, scan};
    use crate::persist::disk::Volume;
    use crate::persist::testing::{LogFile, MemVolume, history};
    use proptest::prelude::*;

    fn scans(logs: &[LogFile], marks: usize) -> Vec<Scan> {
        let volume = MemVolume::default();
        let one = |(shard, log): (usize, &LogFile)| {
            let name = shard.to_string();
            volume.put(&name, &log.bytes);
            let (seed, start) = (log.seed, log.borders[0].1);
            let (end, same_boot, until, bound) = (None, false, None, None);
            let options = ScanOptions { seed, start, end, same_boot, marks, until, bound };
            scan(&volume as &dyn Volume, &name, options).unwrap()
        };
        logs.iter().enumerate().map(one).collect()
    }

    /// Every choice of cuts, tried against the definition word by word.
    fn by_trying_all(scans: &[Scan]) -> Vec<u64> {
        let choices: Vec<Vec<u64>> = scans
            .iter()
            .map(|s| s.marks.iter().map(|m| m.pos).chain([s.end.pos]).collect())
            .collect();
        let mut best: Option<Vec<u64>> = None;
        let mut pick = vec![0; scans.len()];
        loop {
            let kept: Vec<u64> = pick.iter().zip(&choices).map(|(i, c)| c[*i]).collect();
            if closed(scans, &kept) {
                let sum = |kept: &Vec<u64>| kept.iter().sum::<u64>();
                if best.as_ref().is_none_or(|b| sum(b) < sum(&kept)) {
                    best = Some(kept);
                }
            }
            let Some(next) = (0..pick.len()).find(|&s| pick[s] + 1 < choices[s].len()) else {
                return best.unwrap();
            };
            pick[next] += 1;
            pick[..next].fill(0);
        }
    }

    fn closed(scans: &[Scan], kept: &[u64]) -> bool {
        scans.iter().zip(kept).all(|(scan, &end)| {
            scan.marks.iter().filter(|m| m.pos < end).all(|mark| match &mark.mark {
                Mark::Seen(seen) => seen.iter().all(|&(s, pos)| kept[usize::from(s)] >= pos),
                Mark::Entry { id, participants, readers } => {
                    let holds = |s: usize| {
                        scans[s].marks.iter().any(|m| {
                            m.pos < kept[s]
                                && matches!(m.mark, Mark::Entry { id: held, .. } if held == *id)
                        })
                    };
                    bits(*participants).all(holds)
                        && readers.iter().all(|&(s, pos)| kept[usize::from(s)] >= pos)
                }
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn finds_the_greatest_closed_choice(seed: u64, shards in 1..5usize) {
            let logs = history(seed, shards);
            let whole = scans(&logs, MARKS_KEPT);
            let kept = greatest_cut(&whole).unwrap();
            let positions: Vec<u64> = kept.iter().map(|k| k.pos).collect();
            prop_assert_eq!(&positions, &by_trying_all(&whole));
            for (kept, log) in kept.iter().zip(&logs) {
                prop_assert_eq!(kept.stream, log.streamed(kept.pos));
            }
            for (kept, scan) in kept.iter().zip(&whole) {
                prop_assert!(kept.border.pos <= kept.pos && kept.border.offset <= kept.offset);
                prop_assert_eq!(kept.inside_frame(), kept.border.offset < kept.offset);
                prop_assert!(kept.offset <= scan.end.offset);
            }
            // A list that is too short either gives the same, or says that it is.
            for marks in 0..4 {
                match greatest_cut(&scans(&logs, marks)) {
                    Ok(short) => prop_assert_eq!(&short, &kept),
                    Err(error) => prop_assert_eq!(error, CutError::ListTooShort),
                }
            }
        }
    }

    #[test]
    fn a_mark_that_is_missing_in_the_middle_is_damage() {
        let (mut a, mut b) = (LogFile::new(1, 0), LogFile::new(2, 0));
        a.entry(5, 3, &[]).entry(6, 3, &[]).frame(0, 0);
        b.entry(6, 3, &[]).frame(0, 0);
        let logs = [a.clone(), b];
        assert_eq!(greatest_cut(&scans(&logs, 9)), Err(CutError::MarkMissing(0, 0, 1)));
        assert_eq!(greatest_cut(&scans(&[a], 9)), Err(CutError::NoSuchShard(0, 0)));
    }
}
