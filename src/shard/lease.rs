//! Leases: keyspaces sent to a coordinator, which runs plain single-threaded code on them.
//!
//! A lease is an entry for every shard concerned. When it comes up, the shard sends its keyspace to
//! the coordinator and pauses its FIFO (not its I/O, nor leases it coordinates itself: two shards
//! that coordinate could otherwise wait for each other). Entries stand in the same order
//! everywhere, so some lease is always the next one of all its shards: there is no deadlock. The
//! coordinator runs once every keyspace is there and sends them home with their effects; the owner
//! puts the entry's mark in front of these and goes on.
//!
//! A connection whose lease is under way is not parsed further. Its reply waits until every shard
//! concerned has released what the lease read and wrote there.

use std::sync::Arc;

use crate::client::Conn;
use crate::client::output::{Merged, Parts, Remote};
use crate::command::{Args, DataRun, Route, Run, Session, Spaces, scan, table};
use crate::keyspace::Keyspace;
use crate::keyspace::effects::TIME_LINE;
use crate::observe::crash;
use crate::persist::aof::format::{At, write_entry_mark};
use crate::persist::payload::codec;
use crate::resp::Reply;
use crate::shard::backup::Sealer;
use crate::shard::blocking::Block;
use crate::shard::core::{Push, Shard};
use crate::shard::cut::Diverted;
use crate::shard::execute::{Fate, Surroundings, is_dirty};
use crate::shard::message::{Call, LeaseCall, Message, ReplyTo, Return, Watched};
use crate::shard::reload::Source;
use crate::shard::snapshot::{Job, Plan};
use crate::shard::transaction::queued_control;

/// What is to be done with the keyspaces.
#[derive(Debug, Default)]
pub struct Work {
    /// The commands.
    pub calls: Vec<Call>,
    /// They are a transaction: one array of replies.
    pub exec: bool,
    /// What the client watches.
    pub watch: Option<Watched>,
    /// Whole-keyspace commands among them: the log is cut.
    pub cut: bool,
    /// Nothing is to be run: this is to be read again, see [`super::reload`].
    pub reload: Option<Source>,
    /// Nothing is to be run: a snapshot begins, see [`super::snapshot`].
    pub snapshot: Option<Plan>,
    /// Nothing is to be run: a backup is sealed, see [`super::backup`].
    pub seals: Option<Sealer>,
    /// Nothing is to be run: a log goes on in another file, see [`super::mend`].
    pub mends: bool,
    /// Nothing is to be run: the log ends, see [`super::turning`].
    pub ends_log: bool,
    /// Nothing is to be run: keys are on their way, by this name, see [`super::migrate`].
    pub migration: Option<u64>,
    /// The one command may wait.
    pub block: Option<Block>,
}

/// A lease this shard coordinates.
#[derive(Debug)]
pub struct Lease {
    pub(super) to: ReplyTo,
    pub(super) work: Work,
    /// The keyspaces that have arrived, by shard.
    pub(super) spaces: Vec<Option<Box<Keyspace>>>,
    missing: usize,
    /// The snapshot that begins with it.
    pub(super) job: Option<Arc<Job>>,
}

impl Shard {
    /// Surroundings of an execution in this turn.
    pub(super) fn around(&mut self) -> Surroundings<'_> {
        Surroundings {
            stats: &self.global.registry.shards[self.id],
            meter: &mut self.meter,
            track: self.config.latency_tracking,
            now: self.now,
            random: &mut self.random,
            shards: self.order.shards(),
            string_max: self.config.proto_max_bulk_len,
            shapes: &self.config.shapes,
            codec: codec(self.config.rdb.version, self.config.rdb.compress),
            quiet: false,
            claim: None,
            fate: Fate::Answered,
        }
    }

    /// A single command over several shards.
    pub(super) fn lease_call(&mut self, conn: &mut Conn, targets: u64, call: Call) {
        let work = Work { calls: vec![call], ..Work::default() };
        self.start_lease(conn, targets, work);
    }

    /// Asks for the keyspaces of `targets`; the connection waits.
    pub(super) fn start_lease(&mut self, conn: &mut Conn, targets: u64, work: Work) {
        let lease = self.name();
        let to = ReplyTo { shard: self.id, conn: conn.key, batch: lease, part: 0, words: 0 };
        let missing = targets.count_ones() as usize;
        conn.blocked = true;
        conn.targets |= targets;
        let (commands, parts) = (vec![], Parts::new());
        let quiet = conn.session.is_muted();
        let remote = Remote { id: lease, missing, commands, parts, estimate: 0, bytes: 0, quiet };
        conn.output.push_remote(remote);
        self.mark_dirty(conn);
        self.ask_for_keyspaces(targets, to, work);
    }

    /// Asks for the keyspaces of `targets`, to do what `to` waits for.
    pub(super) fn ask_for_keyspaces(&mut self, targets: u64, to: ReplyTo, work: Work) {
        let (lease, missing) = (to.batch, targets.count_ones() as usize);
        let spaces = (0..self.shards()).map(|_| None).collect();
        self.leases.insert(lease, Lease { to, work, spaces, missing, job: None });
        let call = LeaseCall { entry: 0, coordinator: self.id, lease };
        let shards = (0..self.shards()).filter(|s| targets >> s & 1 == 1);
        let parts = shards.map(|shard| (shard, Message::Lease(call))).collect();
        self.pushes.push(Push::Entry { writers: targets, parts });
    }

    /// A lease has come up in this shard's FIFO.
    pub(super) fn grant(&mut self, call: LeaseCall) {
        assert!(self.paused.is_none());
        self.tell_rest();
        let mut space = self.space.take().expect("the FIFO runs only while the data is home");
        if let Some(log) = &mut self.log
            && !space.effects.is_empty()
        {
            let payload = space.effects.take(Vec::new());
            log.gather(payload);
            log.note_behind(space.effects.selected(), space.effects.stream());
        }
        self.paused = Some(call.entry);
        if call.coordinator == self.id {
            self.granted(call.entry, call.lease, self.id, space);
        } else {
            let (entry, lease, shard) = (call.entry, call.lease, self.id);
            let grant = Message::Grant { entry, lease, shard, space };
            self.replies.push((call.coordinator, grant));
        }
    }

    /// A keyspace has arrived; the last one sets the lease going.
    pub(super) fn granted(&mut self, entry: u64, lease: u64, shard: usize, space: Box<Keyspace>) {
        let held = self.leases.get_mut(&lease).expect("a lease lives until it has run");
        assert!(held.spaces[shard].replace(space).is_none(), "a shard grants once");
        held.missing -= 1;
        if held.missing == 0
            && let Some(held) = self.leases.remove(&lease)
        {
            if let Some(source) = held.work.reload {
                self.begin_reload(entry, held, source);
            } else if held.work.snapshot.is_some() {
                self.begin_snapshot(entry, held);
            } else if let Some(sealer) = held.work.seals {
                self.begin_seal(entry, held, sealer);
            } else if held.work.mends {
                self.begin_mend(entry, held);
            } else if held.work.ends_log {
                self.begin_end(entry, held);
            } else if let Some(name) = held.work.migration {
                self.at_the_keys(entry, held, name);
            } else {
                self.run_lease(entry, held);
            }
        }
    }

    fn run_lease(&mut self, entry: u64, mut lease: Lease) {
        let mut conn = self.take_conn(lease.to.conn);
        // A client that has gone meanwhile leaves its transaction behind, in its database.
        let mut orphan = Session::new(0, true);
        orphan.db = lease.work.calls.first().map_or(0, |call| call.db);
        let session = conn.as_mut().map_or(&mut orphan, |c| &mut c.session);
        let mut out = Reply::new(session.resp3);
        let second = self.second();
        lease.spaces.iter_mut().flatten().for_each(|s| s.effects.set_second(second));
        // Whether there is a log is known here: nobody turns it on or off while this has the right
        // to cut.
        let logs = lease.spaces.iter().flatten().any(|space| space.effects.enabled());
        if lease.work.cut && !logs {
            lease.work.cut = false;
            self.global.end_cut();
            lease.spaces.iter_mut().flatten().take(1).for_each(|s| s.effects.add_stream(1));
        }
        let mut diverted = lease.work.cut.then(|| Diverted::begin(&mut lease.spaces));
        lease.spaces.iter_mut().flatten().for_each(|s| s.read_tag = s.floor);
        self.meter.begin(true);
        let aborted = self.run_work(&mut lease, session, &mut out, diverted.as_mut());
        let blocked = self.settle_block(&mut lease);
        self.settle_meter(session);
        let served = self.serve_leased(&mut lease);
        if lease.work.exec
            && let Some(command) = table::find(b"EXEC")
        {
            self.show(session, session.db, command, &Args::new(&[b"EXEC"]));
        }
        #[cfg(test)]
        crate::shard::sim::probe::ran_lease(entry, lease.to, &lease.spaces);
        let followers = if self.tightened { self.shards() } else { 0 };
        if self.tightened {
            self.spread_stricter(lease.to);
        }
        let (commands, answers) = self.take_asked(out, lease.to);
        if let Some(conn) = &mut conn {
            conn.output.change_remote(lease.to.batch, |remote| {
                remote.missing =
                    (remote.missing + followers + answers + blocked.more) - blocked.less;
                if blocked.answered {
                    remote.bytes = commands.iter().map(Merged::size).sum();
                    remote.commands = commands;
                }
            });
        }
        if let Some(conn) = conn {
            self.put_conn(conn);
        }
        let cut = diverted.and_then(|d| self.lead_cut(d, &mut lease.spaces));
        self.send_home(entry, lease, aborted, cut, &served);
    }

    /// Runs the commands; true when a watched key forbade it.
    fn run_work(
        &mut self,
        lease: &mut Lease,
        session: &mut Session,
        out: &mut Reply,
        mut diverted: Option<&mut Diverted>,
    ) -> bool {
        let now = self.now.unix_ms();
        if let Some(watched) = &lease.work.watch {
            let shards = lease.spaces.len();
            for (db, key) in &watched.keys {
                let shard = crate::base::crc::shard_of(key, shards);
                let space = lease.spaces[shard].as_mut().expect("watched shards are leased");
                space.hold_expired(false);
                space.lookup(*db, key, now);
            }
            let any = lease.spaces.iter_mut().flatten().next().expect("a lease has a shard");
            if is_dirty(any, &Watched { keys: Vec::new(), flag: watched.flag.clone() }, now) {
                out.null_array();
                return true;
            }
        }
        if lease.work.exec {
            out.array(lease.work.calls.len());
        }
        session.in_exec = lease.work.exec;
        for call in &lease.work.calls {
            call.request.with(|args| match call.command.run_of(args) {
                Run::Session(code) => {
                    lease.spaces.iter().flatten().for_each(|s| self.publish_space(s));
                    self.run_session(session, call.command, code, args, out);
                    self.wish = None;
                }
                Run::Data(code) => {
                    let db = if lease.work.exec { session.db } else { call.db };
                    let before = diverted.as_ref().map(|_| Diverted::weigh(&lease.spaces));
                    let at = out.checkpoint();
                    let mut around = self.around();
                    around.claim = lease.work.block.as_ref().map(|block| Arc::clone(&block.claim));
                    let ok = around.run_leased(&mut lease.spaces, db, call, code, args, out);
                    around.count(call.command, args, ok, true);
                    let fate = std::mem::take(&mut around.fate);
                    if let Some(block) = &mut lease.work.block {
                        block.fate = fate;
                    }
                    if let (Some(diverted), Some(before)) = (diverted.as_deref_mut(), before) {
                        let failed = out.bytes_from(at).first() == Some(&b'-');
                        diverted.ran(&mut lease.spaces, call, db, args, failed, &before);
                    }
                }
                Run::Control(control) => queued_control(control, out),
            });
            if lease.work.exec {
                call.request.with(|args| self.show(session, session.db, call.command, args));
            }
        }
        session.in_exec = false;
        false
    }

    /// Sends the keyspaces home with what their owners need to log.
    pub(super) fn send_home(
        &mut self,
        entry: u64,
        mut lease: Lease,
        aborted: bool,
        cut: Option<Vec<crate::shard::message::CutFile>>,
        served: &[ReplyTo],
    ) {
        let mut writers = 0u64;
        let snapshot = lease.job.map(|job| (job.open(), job));
        let untold = lease.work.cut && cut.is_none();
        let mut readers: Vec<At> = Vec::new();
        for space in lease.spaces.iter().flatten() {
            if space.effects.is_empty() {
                readers.push((space.shard as u8, space.effects.end()));
            } else {
                writers |= 1 << space.shard;
            }
        }
        self.around().tell_events(&mut Spaces::Many(&mut lease.spaces));
        for mut space in lease.spaces.into_iter().flatten() {
            if aborted || untold {
                // The reply tells of a write somewhere (one that raised the flag, one that
                // emptied a database): it waits for all of them.
                space.read_tag = space.effects.end();
            }
            let shard = space.shard;
            let cut = cut.as_ref().map(|files| files[shard].clone());
            let readers = readers.clone();
            let served = served.to_vec();
            let snapshot = snapshot.clone();
            let to = lease.to;
            let home = Return { entry, to, space, writers, readers, cut, served, snapshot };
            if shard == self.id {
                self.come_home(home);
            } else {
                self.replies.push((shard, Message::Return(Box::new(home))));
            }
        }
    }

    /// This shard's keyspace is back.
    pub(super) fn come_home(&mut self, home: Return) {
        assert_eq!(self.paused.take(), Some(home.entry), "a lease ends before the next begins");
        let mut space = home.space;
        space.effects.end_diversion();
        let mut tag = space.read_tag;
        if let Some(file) = home.cut {
            tag = self.begin_cut_part(home.entry, &mut space, file);
        } else {
            if home.writers >> self.id & 1 == 1 {
                let at = space.effects.end() - space.effects.pending().len() as u64;
                let mut lines = Vec::new();
                write_entry_mark(&mut lines, home.entry, home.writers, &home.readers);
                // A lease with one shard is atomic by its frame and needs no mark.
                if home.writers.count_ones() > 1 || !home.readers.is_empty() {
                    // Behind a causality mark: a log may be cut in front of each, and a cut
                    // between this mark and its effects would keep the one without the other.
                    // For the release point the entry begins at `at` all the same.
                    let seen = leading_seen(space.effects.pending());
                    space.effects.insert(at + seen as u64, &lines);
                    if let Some(log) = &mut self.log {
                        // What was in front of the lease has been gathered.
                        let stream = log.stream_here();
                        log.marked(home.entry, at, stream);
                    }
                }
                tag = space.effects.end();
            }
            self.entry_executed(home.entry, space.effects.end());
        }
        #[cfg(test)]
        crate::shard::sim::probe::came_home(&space);
        space.events.set_wanted(self.config.events);
        space.expiry_paused = self.clients.pause.is_some();
        if home.snapshot.is_none() && self.wants_no_large() {
            space.drop_large();
        }
        self.space = Some(space);
        self.note_time();
        if let Some((open, job)) = home.snapshot {
            if job.is_last() {
                self.hold_still(home.entry);
            }
            self.begin_part(job, open);
        }
        for to in home.served {
            self.answer(tag, to.shard, Message::LeaseReleased { to });
        }
        self.answer(tag, home.to.shard, Message::LeaseReleased { to: home.to });
    }
}

impl Surroundings<'_> {
    /// Runs a command of any route on leased keyspaces; true when it did not fail.
    fn run_leased(
        &mut self,
        spaces: &mut [Option<Box<Keyspace>>],
        db: usize,
        call: &Call,
        code: DataRun,
        args: &Args<'_>,
        out: &mut Reply,
    ) -> bool {
        crash::note(call.command.name);
        for space in spaces.iter_mut().flatten() {
            space.hold_expired(call.command.writes());
            space.begin_uses(call.quiet);
        }
        if call.command.route != Route::Cursor || scan::begins(args).is_some() {
            return self.run(Spaces::Many(spaces), db, code, args, out);
        }
        let shard = scan::cursor_shard(args, spaces.len());
        match spaces[shard].as_deref_mut() {
            Some(space) => self.run(Spaces::One(space), db, code, args, out),
            None => self.run(Spaces::Many(spaces), db, code, args, out),
        }
    }
}

/// Length of the second and the causality mark that `payload` starts with.
fn leading_seen(payload: &[u8]) -> usize {
    let mut len = 0;
    let before = [TIME_LINE, b"#D ", b"#d "];
    while before.iter().any(|start| payload[len..].starts_with(start)) {
        let line = memchr::memchr(b'\n', &payload[len..]);
        len += line.expect("marks are written whole") + 1;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_lease_stands_behind_the_causality_mark() {
        assert_eq!(leading_seen(b""), 0);
        assert_eq!(leading_seen(b"*1\r\n$4\r\nPING\r\n"), 0);
        let two = b"#TS:7\r\n#D 1:2\r\n#d 3:4\r\n";
        assert_eq!(leading_seen(&[&two[..], b"*2\r\n$3\r\n#D \r\n"].concat()), two.len());
    }
}
