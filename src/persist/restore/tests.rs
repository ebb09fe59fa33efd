//! Chains over rewrites, and cuts at positions, on directories in memory.

use super::*;
use crate::base::random::Random;
use crate::persist::aof::format;
use crate::persist::aof::manifest::{NewFile, PartKind};
use crate::persist::recovery::commit;
use crate::persist::rewrite::{Installed, install};
use crate::persist::testing::*;

/// One generation after another, a rewrite between, and what stood in each in order.
struct Logs {
    volume: MemVolume,
    manifest: Manifest,
}

impl Logs {
    fn generation(&mut self, logs: &mut [LogFile], sealed: bool) {
        let files: Vec<NewFile> = logs
            .iter()
            .map(|l| NewFile { seed: l.seed, start: l.borders[0].1, stream: 0 })
            .collect();
        let names = self.manifest.begin_generation(NAME, &files, 1, "old");
        names.iter().zip(&*logs).for_each(|(name, log)| self.volume.put(name, &log.bytes));
        if sealed {
            let ends: Vec<_> = logs.iter().map(|log| (log.pos, log.sum)).collect();
            self.manifest.seal(&ends, false);
        }
        self.volume.put(&manifest_name(NAME), &self.manifest.encode());
    }

    /// A base in front of the last generation.
    fn rewrite(&mut self, commands: &[u8]) {
        let first = self.manifest.lines.iter().filter(|l| l.kind == FileType::Incr);
        let last = self.manifest.generation();
        let of_last =
            |l: &&Line| matches!(&l.ours, Some(Ours::Shard(pairs)) if pairs.generation == last);
        let first = first.clone().find(of_last).map(|l| l.seq);
        self.volume.put("temp", commands);
        match install(&self.volume, NAME, "temp", "aof", first, &self.manifest).unwrap() {
            Installed::Done { manifest, .. } => self.manifest = manifest,
            Installed::Superseded => panic!("nothing has begun anew"),
        }
    }

    fn go_back(&self, to: &str) -> Result<State, String> {
        let moment = Moment::parse(to).unwrap();
        let manifest = read_manifest(&self.volume, NAME).unwrap();
        let chain = chain(&self.volume, NAME, &manifest).unwrap();
        let view =
            View { volume: &self.volume, name: manifest_name(NAME), manifest: chain.encode() };
        let data = MemVolume::default();
        let options = bounded(options(&data, 2, "new"), &moment);
        let plan = look(&view, &chain, &options).map_err(|error| error.to_string())?;
        let state = load(&plan, &self.volume, &data);
        // The same once a copy has been cut.
        let copy = self.volume.copy();
        copy.put(&view.name, &view.manifest);
        let plan = recovery::inspect(&copy, &options).unwrap();
        commit(plan, &copy, &mut Random::new(1)).unwrap();
        let again = recovery::inspect(&copy, &crate::persist::testing::options(&data, 2, "new"));
        assert_eq!(load(&again.unwrap(), &copy, &data), state, "{to}");
        Ok(state)
    }
}

fn values(state: &State, key: &str) -> usize {
    state.get(&(0, key.to_owned())).map_or(0, Vec::len)
}

fn pushes(seed: u64, start: u64, key: &str, count: usize) -> LogFile {
    let mut log = LogFile::new(seed, start);
    for n in 0..count {
        log.command(&["RPUSH", key, &n.to_string()]).frame(0, 0);
    }
    log
}

/// Three generations of two shards with a rewrite in front of the second and the third.
fn logs() -> (Logs, Vec<Vec<LogFile>>) {
    let mut logs = Logs { volume: MemVolume::default(), manifest: Manifest::default() };
    let mut all = Vec::new();
    let (mut starts, mut base) = ([10, 10], [0, 0]);
    for generation in 0..3_u64 {
        let mut two: Vec<LogFile> = (0..2)
            .map(|s| pushes(1 + s as u64 + 10 * generation, starts[s], &format!("k{s}"), 3))
            .collect();
        logs.generation(&mut two, generation < 2);
        if generation > 0 {
            let mut bytes = Vec::new();
            for (shard, count) in base.iter().enumerate() {
                for _ in 0..*count {
                    bytes.extend(resp(&["RPUSH", &format!("k{shard}"), "old"]));
                }
            }
            logs.rewrite(&bytes);
        }
        starts = [two[0].pos, two[1].pos];
        base = [base[0] + 3, base[1] + 3];
        all.push(two);
    }
    (logs, all)
}

#[test]
fn positions_in_front_of_a_rewrite_are_reached_through_its_history() {
    let (logs, all) = logs();
    for (generation, two) in all.iter().enumerate() {
        for (n, border) in two[0].borders.iter().enumerate() {
            let state = logs.go_back(&format!("0:{},1:{}", border.1, two[1].pos)).unwrap();
            let want = generation * 3 + n;
            assert_eq!(values(&state, "k0"), want, "generation {generation}, border {n}");
            assert_eq!(values(&state, "k1"), generation * 3 + 3);
        }
    }
    assert!(logs.go_back("0:9").unwrap_err().contains("begins at position 10 here, behind 9"));
    assert!(logs.go_back("2:50").unwrap_err().contains("there is no log of a shard 2"));
}

#[test]
fn what_is_missing_of_history_is_not_looked_for() {
    let (logs, all) = logs();
    let first = logs.manifest.lines.iter().find(|l| l.kind == FileType::History).unwrap();
    logs.volume.remove(&first.file).unwrap();
    let border = all[0][0].pos - 1;
    let error = logs.go_back(&format!("0:{border}")).unwrap_err();
    assert!(error.contains("aof-history-retention"), "{error}");
    let state = logs.go_back(&format!("0:{},1:{}", all[1][0].borders[1].1, all[1][1].pos));
    let state = state.unwrap();
    assert_eq!((values(&state, "k0"), values(&state, "k1")), (4, 6));
}

#[test]
fn an_entry_half_of_which_is_behind_a_bound_is_not_kept() {
    let (mut a, mut b) = (LogFile::new(1, 10), LogFile::new(2, 10));
    a.command(&["RPUSH", "k0", "before"]).entry(1, 3, &[]).command(&["RPUSH", "k0", "both"]);
    a.frame(0, 0);
    b.entry(1, 3, &[]).command(&["RPUSH", "k1", "both"]).frame(0, 0);
    b.command(&["RPUSH", "k1", "after"]).frame(0, 0);
    let (volume, manifest) = directory(&[a.clone(), b.clone()]);
    let logs = Logs { volume, manifest };
    let both = |to: String| {
        let state = logs.go_back(&to).unwrap();
        (values(&state, "k0"), values(&state, "k1"))
    };
    assert_eq!(both(format!("0:{},1:{}", a.pos, b.pos)), (2, 2));
    assert_eq!(both(format!("1:{}", b.pos - 1)), (2, 1));
    assert_eq!(both(format!("1:{}", b.borders[1].1)), (2, 1));
    assert_eq!(both(format!("1:{}", b.borders[1].1 - 1)), (1, 0));
    assert_eq!(both(format!("0:{}", a.pos - 1)), (1, 0));
}

/// Of a frame beyond the bound stays what stands in front of the last mark that is not: no more,
/// and no less.
#[test]
fn a_frame_is_cut_at_the_last_mark_in_front_of_a_bound() {
    let entries = |count: u64| {
        let mut log = LogFile::new(1, 10);
        for id in 1..=count {
            log.entry(id, 1, &[]).command(&["RPUSH", "k0", "x"]);
        }
        log.frame(0, 0);
        log
    };
    let (volume, manifest) = directory(&[entries(4), pushes(2, 10, "k1", 1)]);
    let logs = Logs { volume, manifest };
    let kept = |to: u64| values(&logs.go_back(&format!("0:{to}")).unwrap(), "k0");
    // Where the mark behind so many entries stands.
    for count in 1..4 {
        let at = entries(count).pos;
        let known = [kept(at - 1), kept(at), kept(at + 1)];
        assert_eq!(known.map(|kept| kept as u64), [count - 1, count, count]);
    }
    assert_eq!(kept(entries(4).pos), 4);
}

/// A whole-keyspace command takes a position: it is kept by whoever wants that.
#[test]
fn a_part_is_kept_with_the_position_behind_it() {
    let mut logs = Logs { volume: MemVolume::default(), manifest: Manifest::default() };
    let mut first = [pushes(1, 10, "k0", 2), pushes(2, 10, "k1", 2)];
    logs.generation(&mut first, true);
    let part = resp(&["RPUSH", "part", "1"]);
    let name = logs.manifest.add_part(NAME, PartKind::Cut, &part);
    logs.volume.put(&name, &part);
    let ends = [first[0].pos, first[1].pos];
    let mut second = [pushes(3, ends[0] + 1, "k0", 1), pushes(4, ends[1] + 1, "k1", 1)];
    logs.generation(&mut second, false);
    let parts = |a: u64, b: u64| values(&logs.go_back(&format!("0:{a},1:{b}")).unwrap(), "part");
    assert_eq!(parts(ends[0], ends[1]), 0);
    assert_eq!(parts(ends[0] + 1, ends[1]), 0);
    assert_eq!(parts(ends[0] + 1, ends[1] + 1), 1);
}

/// The file that a log goes on in from `from` on, as [`crate::shard::log::kept`] writes it.
fn tail(log: &LogFile, shard: u8, from: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for two in log.borders[from..].windows(2) {
        let ((at, pos), (end, behind)) = (two[0], two[1]);
        format::write_border(&mut bytes, (shard, pos));
        let head = (end - at) - (behind - pos);
        bytes.extend_from_slice(&log.bytes[(at + head) as usize..end as usize]);
    }
    bytes
}

/// A generation whose first log goes on in a tail behind `from` frames, and one more behind it.
fn tailed(a: &LogFile, b: &LogFile, from: usize) -> Logs {
    let mut logs = Logs { volume: MemVolume::default(), manifest: Manifest::default() };
    let mut front = a.clone();
    (front.pos, front.bytes) = (a.borders[from].1, a.bytes[..a.borders[from].0 as usize].to_vec());
    // What its last frame says is its checksum.
    front.sum = match from {
        0 => a.seed,
        _ => {
            let (at, _) = a.borders[from - 1];
            format::parse_head(&a.bytes[at as usize..]).unwrap().sum
        }
    };
    logs.generation(&mut [front, b.clone()], true);
    let bytes = tail(a, 0, from);
    let name = logs.manifest.add_part(NAME, PartKind::Tail, &bytes);
    logs.volume.put(&name, &bytes);
    logs.generation(&mut [pushes(7, a.pos, "k0", 2), pushes(8, b.pos, "k1", 2)], false);
    logs
}

#[test]
fn a_log_is_cut_within_its_tail() {
    let (a, b) = (pushes(1, 10, "k0", 5), pushes(2, 10, "k1", 2));
    let logs = tailed(&a, &b, 2);
    for (n, &(_, pos)) in a.borders.iter().enumerate() {
        let kept = |to: u64| values(&logs.go_back(&format!("0:{to},1:{}", b.pos)).unwrap(), "k0");
        assert_eq!(kept(pos), n, "border {n}");
        if n > 0 {
            assert_eq!((kept(pos - 1), kept(pos + 1)), (n - 1, n), "around border {n}");
        }
    }
    // The other log within the generation: the tail is wanted as a whole.
    let state = logs.go_back(&format!("0:{},1:{}", a.pos, b.borders[1].1)).unwrap();
    assert_eq!((values(&state, "k0"), values(&state, "k1")), (5, 1));
    let state = logs.go_back(&format!("0:{},1:{}", a.pos + 1, b.pos)).unwrap();
    assert_eq!((values(&state, "k0"), values(&state, "k1")), (5, 2));
    // And everything.
    let state = logs.go_back(&format!("0:{},1:{}", u64::MAX, u64::MAX)).unwrap();
    assert_eq!((values(&state, "k0"), values(&state, "k1")), (7, 4));
}

/// Entries over both logs, of which one has its part in a tail.
#[test]
fn an_entry_whose_part_in_a_tail_is_behind_a_bound_is_not_kept() {
    let (mut a, mut b) = (LogFile::new(1, 10), LogFile::new(2, 10));
    a.command(&["RPUSH", "k0", "first"]).frame(0, 0);
    for id in 1..4 {
        a.entry(id, 3, &[]).command(&["RPUSH", "k0", "both"]);
        if id != 2 {
            a.frame(0, 0);
        }
        b.entry(id, 3, &[]).command(&["RPUSH", "k1", "both"]);
        b.command(&["RPUSH", "k1", "too"]).frame(0, 0);
    }
    let logs = tailed(&a, &b, 1);
    let both = |to: String| {
        let state = logs.go_back(&to).unwrap();
        (values(&state, "k0"), values(&state, "k1"))
    };
    let at = |n: usize| a.borders[n].1;
    // Not one of them; one; one, since two are in a frame that the mark between them parts; all.
    assert_eq!(both(format!("0:{}", at(1))), (1, 0));
    assert_eq!(both(format!("0:{}", at(2) - 1)), (1, 0));
    assert_eq!(both(format!("0:{}", at(2))), (2, 2));
    assert_eq!(both(format!("0:{}", at(3) - 1)), (3, 4));
    assert_eq!(both(format!("0:{},1:{}", at(3), b.pos)), (4, 6));
    // What the tail holds goes where the other's part is not wanted.
    for (n, kept) in [(0, (1, 0)), (1, (2, 2)), (2, (3, 4)), (3, (4, 6))] {
        assert_eq!(both(format!("0:{},1:{}", a.pos, b.borders[n].1)), kept);
    }
}

/// A generation of which one log held nothing, and has no file.
#[test]
fn a_log_without_a_file_is_no_other_log() {
    let mut logs = Logs { volume: MemVolume::default(), manifest: Manifest::default() };
    let (mut b, mut c) = (LogFile::new(2, 10), LogFile::new(3, 10));
    b.seen(&[(0, 10)]).command(&["RPUSH", "k1", "first"]).frame(0, 0);
    for id in 1..3 {
        b.entry(id, 6, &[]).command(&["RPUSH", "k1", "both"]).frame(0, 0);
        c.entry(id, 6, &[]).command(&["RPUSH", "k2", "both"]).frame(0, 0);
    }
    logs.generation(&mut [LogFile::new(1, 10), b.clone(), c.clone()], true);
    logs.manifest.drop_lines(|line| line.file.contains(".s00."));
    logs.volume.put(&manifest_name(NAME), &logs.manifest.encode());
    let state = logs.go_back(&format!("2:{}", c.borders[1].1)).unwrap();
    assert_eq!((values(&state, "k1"), values(&state, "k2")), (2, 1));
}

#[test]
fn old_history_goes_base_by_base() {
    let (logs, _) = logs();
    let names = logs.manifest.lines.iter().map(|l| &l.file[..]);
    let bases: Vec<&str> = names.filter(|f| f.contains(".base.")).collect();
    let [newest, older] = bases[..] else { panic!("{bases:?}") };
    let due = |old: &[&str]| due(&logs.manifest, NAME, |file| old.contains(&file)).len();
    assert_eq!((due(&[]), due(&[older]), due(&[older, newest])), (0, 2, 5));
}

#[test]
fn moments_are_read() {
    assert_eq!(Moment::parse("17"), Some(Moment::Second(17)));
    let positions = Bounds([(0, 5), (3, 7)].into());
    assert_eq!(Moment::parse("3:7,0:5"), Some(Moment::Positions(positions)));
    for bad in ["", "0", "-1", "x", "1:", "1:2,1:3", "1:2,", "300:1", "1:-1"] {
        assert_eq!(Moment::parse(bad), None, "{bad}");
    }
}
