//! How far the history goes that is found ([`Reached`]): the part of [`inspect`](super::inspect)
//! that counts the stream of a generation.

use super::{Group, Inspection};
use crate::persist::aof::cut::Kept;
use crate::persist::aof::manifest::{Line, ShardPairs};
use crate::persist::aof::stream::Reached;
use crate::persist::recovery::{GenerationFile, Step};

impl Inspection<'_, '_> {
    /// Adds a generation of which so much is kept to what is loaded.
    pub(super) fn push_generation(&mut self, group: &Group<'_>, kept: &[Kept]) {
        let of = |(_, pairs): &(&Line, &ShardPairs)| pairs.stream;
        // Older versions did not count; they had no id to go on under either.
        let base = group.lines.iter().filter_map(of).fold(0, u64::saturating_add);
        let all = |test: fn(&ShardPairs, &str) -> bool| {
            group.lines.iter().all(|(_, pairs)| test(pairs, self.plan.options.boot_id))
        };
        self.plan.reached = Reached {
            at: kept.iter().map(|kept| kept.stream).fold(base, u64::saturating_add),
            base,
            clean: all(|pairs, _| pairs.clean),
            same_boot: all(|pairs, boot| pairs.end.is_none() && pairs.boot == boot),
            // Its share counts whatever stood in front.
            foreign: false,
            ..self.plan.reached
        };
        let file = |((line, pairs), kept): (&(&Line, &ShardPairs), &Kept)| GenerationFile {
            file: line.file.clone(),
            shard: pairs.shard,
            seed: pairs.seed,
            start: pairs.start,
            end: kept.pos,
        };
        let files = group.lines.iter().zip(kept).map(file).collect();
        let shards = group.lines[0].1.shards;
        self.plan.steps.push(Step::Generation { shards, files });
    }
}
