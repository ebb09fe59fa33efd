//! MULTI, EXEC, DISCARD, WATCH, UNWATCH and RESET: commands that steer their connection.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::clock::Stopwatch;
use crate::base::crc::shard_of;
use crate::client::Conn;
use crate::command::session::{Multi, Replies, Watch};
use crate::command::table::Control;
use crate::command::{Args, Command, Flags, OwnedRequest, Route, Run, introspect};
use crate::resp::Reply;
use crate::shard::batch::Batch;
use crate::shard::core::Shard;
use crate::shard::execute::{is_dirty, watch};
use crate::shard::lease::Work;
use crate::shard::message::{Call, Watched};
use crate::shard::requests::{Taken, all_shards};

const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

/// What became of a steering command.
enum Steered {
    /// It has been carried out and answered.
    Done,
    /// It is answered with this error.
    Failed(Cow<'static, str>),
    /// It has to wait.
    NotYet,
}

impl Shard {
    /// Queues a command of an open transaction.
    pub(super) fn queue(&mut self, conn: &mut Conn, command: &'static Command, args: &Args<'_>) {
        let limit = self.config.client_query_buffer_limit as usize;
        let Some(multi) = &mut conn.session.multi else { return };
        let request = OwnedRequest::from_args(args);
        multi.size += request.size();
        if multi.size > limit {
            conn.session.closing = true;
        }
        multi.queue.push((command, request));
    }

    /// Carries out a steering command and counts it. The commands of a transaction that runs here
    /// are within its time; of one that runs elsewhere it is the time to send it there.
    pub(super) fn steer(
        &mut self,
        conn: &mut Conn,
        batch: &mut Option<Batch>,
        command: &'static Command,
        control: Control,
        args: &Args<'_>,
    ) -> Taken {
        let mut watch = Stopwatch::default();
        watch.start();
        let failed = match self.control(conn, batch, control, args) {
            Steered::NotYet => return Taken::NotYet,
            Steered::Done => false,
            Steered::Failed(text) => {
                self.stats().error(text.as_bytes());
                self.tell(conn, batch, |out| out.error(text.as_bytes()));
                true
            }
        };
        let (number, track) = (introspect::number(command), self.config.latency_tracking);
        self.stats().executed(number, watch.lap(), failed, track);
        Taken::Yes
    }

    fn control(
        &mut self,
        conn: &mut Conn,
        batch: &mut Option<Batch>,
        control: Control,
        args: &Args<'_>,
    ) -> Steered {
        let in_multi = conn.session.multi.is_some();
        match control {
            Control::Multi if in_multi => {
                return Steered::Failed("ERR MULTI calls can not be nested".into());
            }
            Control::Multi => {
                conn.session.multi = Some(Box::new(Multi::default()));
                self.tell(conn, batch, Reply::ok);
            }
            Control::Discard if !in_multi => {
                return Steered::Failed("ERR DISCARD without MULTI".into());
            }
            Control::Discard => {
                conn.session.multi = None;
                conn.session.watch = None;
                self.tell(conn, batch, Reply::ok);
            }
            Control::Unwatch => {
                conn.session.watch = None;
                self.tell(conn, batch, Reply::ok);
            }
            Control::Watch if in_multi => {
                return Steered::Failed("ERR WATCH inside MULTI is not allowed".into());
            }
            Control::Watch => self.watch(conn, batch, args),
            Control::Reset => {
                if self.is_out(conn, batch) {
                    return Steered::NotYet;
                }
                self.reset(conn);
                self.tell(conn, batch, |out| out.simple("RESET"));
            }
            Control::Exec if !in_multi => return Steered::Failed("ERR EXEC without MULTI".into()),
            Control::Exec => return self.exec(conn, batch),
        }
        Steered::Done
    }

    fn reset(&mut self, conn: &mut Conn) {
        let session = &mut conn.session;
        session.multi = None;
        session.watch = None;
        session.db = 0;
        session.resp3 = false;
        session.name.clear();
        session.replies = Replies::On;
        session.no_evict = false;
        session.no_touch = false;
        session.authenticated = self.config.requirepass.is_none();
        if session.monitor {
            self.stop_listening(conn);
        }
    }

    fn watch(&mut self, conn: &mut Conn, batch: &mut Option<Batch>, args: &Args<'_>) {
        let db = conn.session.db;
        let state = conn.session.watch.get_or_insert_default();
        if state.is_raised() {
            return self.tell(conn, batch, Reply::ok);
        }
        let mut groups: Vec<(usize, Watched)> = Vec::new();
        for &key in &args.items()[1..] {
            if !state.keys.insert((db, key.to_vec())) {
                continue;
            }
            let shard = shard_of(key, self.order.shards());
            let group = match groups.iter().position(|g| g.0 == shard) {
                Some(at) => &mut groups[at],
                None => {
                    let watched = Watched { keys: Vec::new(), flag: Arc::clone(&state.flag) };
                    groups.push((shard, watched));
                    groups.last_mut().expect("just pushed")
                }
            };
            group.1.keys.push((db, key.to_vec()));
        }
        if groups.is_empty() {
            return self.tell(conn, batch, Reply::ok);
        }
        if groups.len() == 1 && groups[0].0 == self.id && !self.is_out(conn, batch) {
            let watched = groups.remove(0).1;
            return self.run_here(conn, |around, space, _, out| {
                watch(space, &watched, around.now.unix_ms());
                out.ok();
                0
            });
        }
        batch.get_or_insert_default().watch(groups);
    }

    /// EXEC: runs where all its keys live, or takes the keyspaces on lease; false when it has to
    /// wait for what the connection has under way.
    fn exec(&mut self, conn: &mut Conn, batch: &mut Option<Batch>) -> Steered {
        let Some(multi) = &conn.session.multi else { return Steered::Done };
        if multi.failed {
            self.end_transaction(conn);
            return Steered::Failed(ABORTED.into());
        }
        if let Some(reason) = self.exec_refusal(multi) {
            self.end_transaction(conn);
            let text = format!("EXECABORT Transaction discarded because of: {reason}");
            return Steered::Failed(text.into());
        }
        let writes = multi.queue.iter().any(|(command, _)| command.flags.has(Flags::WRITE));
        let plan = self.plan_exec(multi, conn.session.watch.as_deref());
        if writes && self.waits_for_log(conn, batch) {
            return Steered::NotYet;
        }
        let here = plan.targets == 1 << self.id;
        let elsewhere = plan.targets.count_ones() == 1 && !plan.session && !plan.cut;
        let direct = here && !plan.cut && !plan.asks && !self.is_out(conn, batch);
        if !direct && (!elsewhere && self.is_out(conn, batch) || self.is_crowded(conn, batch)) {
            return Steered::NotYet;
        }
        if plan.cut && !self.begin_cut(conn) {
            return Steered::NotYet;
        }
        let (calls, watched) = self.end_transaction(conn);
        if calls.iter().any(|call| self.is_saved_behind(call.command)) {
            self.note_emptied(conn);
        }
        if direct {
            self.exec_here(conn, &calls, watched.as_ref());
        } else if elsewhere {
            let shard = plan.targets.trailing_zeros() as usize;
            if !self.clients.listening.is_empty() && !is_raised(watched.as_ref()) {
                let db = conn.session.db;
                calls.iter().for_each(|call| {
                    call.request.with(|args| self.show(&conn.session, db, call.command, args));
                });
            }
            batch.get_or_insert_default().exec(shard, calls, watched);
        } else {
            let work = Work { calls, exec: true, watch: watched, cut: plan.cut, ..Work::default() };
            self.start_lease(conn, plan.targets, work);
        }
        Steered::Done
    }

    fn exec_refusal(&self, multi: &Multi) -> Option<String> {
        let any = |bit| multi.queue.iter().any(|(command, _)| command.flags.has(bit));
        if self.global.memory_bounded() && any(Flags::DENYOOM) && self.is_over_memory() {
            return Some("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
        }
        if any(Flags::WRITE) { self.global.misconf() } else { None }
    }

    fn plan_exec(&self, multi: &Multi, watch: Option<&Watch>) -> Plan {
        let shards = self.shards();
        let mut plan = Plan { targets: 0, session: false, cut: false, asks: false };
        for (command, request) in &multi.queue {
            plan.asks |= command.flags.has(Flags::ASKS);
            request.with(|args| match command.run_of(args) {
                Run::Data(_) => {
                    plan.targets |= self.targets(command, command.route_of(args.len()), args);
                    let alone = self.log.is_none() && shards == 1;
                    let cuts = !alone || self.is_saved_behind(command);
                    plan.cut |= command.route == Route::Cut && cuts;
                }
                Run::Session(_) | Run::Control(_) => plan.session = true,
            });
        }
        for (_, key) in watch.iter().flat_map(|w| &w.keys) {
            plan.targets |= 1 << shard_of(key, shards);
        }
        if plan.cut {
            plan.targets = all_shards(shards);
        }
        if plan.targets == 0 {
            plan.targets = 1 << self.id;
        }
        plan
    }

    /// Takes the transaction off the connection.
    fn end_transaction(&mut self, conn: &mut Conn) -> (Vec<Call>, Option<Watched>) {
        let db = conn.session.db;
        let multi = conn.session.multi.take().unwrap_or_default();
        let session = &conn.session;
        let call = |(command, request): (&'static Command, _)| Call {
            command,
            db,
            quiet: session.is_quiet(command),
            request,
        };
        let calls: Vec<Call> = multi.queue.into_iter().map(call).collect();
        let watched = conn
            .session
            .watch
            .take()
            .map(|w| Watched { keys: w.keys.into_iter().collect(), flag: w.flag });
        (calls, watched)
    }

    /// Runs a transaction on this shard's data.
    fn exec_here(&mut self, conn: &mut Conn, calls: &[Call], watched: Option<&Watched>) {
        let mut space = self.space.take().expect("requests run only while the data is home");
        let mut out = Reply::new(conn.session.resp3);
        let mut tag = 0;
        let now = self.now.unix_ms();
        space.looked.begin(self.release());
        if watched.is_some_and(|w| is_dirty(&mut space, w, now)) {
            out.null_array();
            tag = space.effects.end();
            space.looked.also();
        } else {
            out.array(calls.len());
            conn.session.in_exec = true;
            for call in calls {
                tag = tag.max(self.exec_call(conn, &mut space, call, &mut out));
            }
            conn.session.in_exec = false;
        }
        let looked = space.looked.take(tag);
        self.space = Some(space);
        if self.tightened {
            return self.tell_when_followed(conn, out);
        }
        self.run_here(conn, |_, space, _, to| {
            space.looked = looked;
            to.append(out);
            tag
        });
    }

    fn exec_call(
        &mut self,
        conn: &mut Conn,
        space: &mut Box<crate::keyspace::Keyspace>,
        call: &Call,
        out: &mut Reply,
    ) -> u64 {
        call.request.with(|args| {
            let tag = match call.command.run_of(args) {
                Run::Session(code) => {
                    self.publish_space(space);
                    self.run_session(&mut conn.session, call.command, code, args, out);
                    // In a transaction nobody waits.
                    self.wish = None;
                    0
                }
                Run::Data(code) => {
                    let db = conn.session.db;
                    let mut around = self.around();
                    around.quiet = conn.session.is_quiet(call.command);
                    around.run_one(space, db, call.command, code, args, out)
                }
                Run::Control(control) => {
                    queued_control(control, out);
                    0
                }
            };
            self.show(&conn.session, conn.session.db, call.command, args);
            tag
        })
    }
}

/// Whether a watched key is known to have changed; another shard may know more.
fn is_raised(watched: Option<&Watched>) -> bool {
    watched.is_some_and(|w| w.flag.load(Ordering::Relaxed))
}

/// A steering command inside a transaction: only UNWATCH is queued, and EXEC has done its work.
pub(super) fn queued_control(control: Control, out: &mut Reply) {
    match control {
        Control::Unwatch => out.ok(),
        _ => out.error(b"ERR Command not allowed inside a transaction"),
    }
}

/// What an EXEC needs.
struct Plan {
    targets: u64,
    session: bool,
    cut: bool,
    /// A command leaves a question: the connection has to wait for the answers.
    asks: bool,
}
