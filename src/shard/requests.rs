//! From bytes to execution: parsing a connection's input, checking each request as Redis does, and
//! routing it to whoever owns its keys.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::base::crc::shard_of;
use crate::client::{Conn, ConnKey, Input};
use crate::command::session::Replies;
use crate::command::table::Control;
use crate::command::{
    Args, Command, DataRun, Flags, Merge, OwnedRequest, Route, Run, introspect, scan, sort, table,
};
use crate::config::renames::Named;
use crate::keyspace::Looked;
use crate::persist::payload::codec;
use crate::resp::{Limits, ProtocolError, Reply, Status, peek};
use crate::shard::batch::{BATCH_MAX, Batch};
use crate::shard::blocking::may_wait;
use crate::shard::core::Shard;
use crate::shard::execute::{Fate, Surroundings};
use crate::shard::message::Call;
use crate::shard::upkeep::guarded;

const NO_AUTH: &[u8] = b"NOAUTH Authentication required.";
const OUT_OF_MEMORY: &[u8] = b"OOM command not allowed when used memory > 'maxmemory'.";
const NOT_IN_MULTI: &[u8] = b"ERR Command not allowed inside a transaction";

/// Outstanding output at which a connection's input is left alone, in bytes; the smaller one when
/// all connections together hold more than [`OUTPUT_TOTAL`].
const OUTPUT_MAX: usize = 1 << 20;
const OUTPUT_MIN: usize = 8 << 10;
const OUTPUT_TOTAL: usize = 64 << 20;

/// Input up to this long is one request or two, looked at across connections; longer input is
/// looked at by itself, in bytes.
const PEEK_MIN: usize = 160;

/// Room for the replies to one request or two, and to a row of them, in bytes: replies that need
/// more of it make it grow.
const ROOM_FOR_ONE: usize = 64;
const ROOM_FOR_MANY: usize = 512;

/// What remains of a chunk once requests have been taken from it.
struct Rest {
    /// Where the first unconsumed byte stands.
    from: usize,
    /// How many bytes from there are to be kept.
    keep: usize,
}

/// What became of a request.
#[derive(PartialEq, Eq)]
pub(super) enum Taken {
    /// Queued, run or sent.
    Yes,
    /// It has to wait for what is under way; it is looked at again later.
    NotYet,
}

impl Shard {
    /// A connection has received `data`.
    pub fn input(&mut self, key: ConnKey, data: &[u8]) {
        let Some(mut conn) = self.take_conn(key) else { return };
        conn.last_us = self.now.mono_us;
        self.consume(&mut conn, data);
        self.put_conn(conn);
    }

    /// Goes through a connection's input with `chunk` added to it.
    pub(super) fn consume(&mut self, conn: &mut Conn, chunk: &[u8]) {
        if conn.ended || conn.session.closing || self.stopping {
            return conn.input.clear();
        }
        let chunk = conn.input.feed_big(chunk);
        if conn.input.wants_big() {
            return;
        }
        if conn.blocked || self.paused.is_some() || self.is_full(conn, &None) {
            conn.input.buf.extend_from_slice(chunk);
            if self.paused.is_some() {
                self.go_on(conn);
            }
            return self.check_input_limit(conn);
        }
        let mut input = std::mem::take(&mut conn.input);
        let kept = std::mem::take(&mut input.buf);
        if kept.is_empty() {
            let rest = self.requests(conn, &mut input, chunk);
            input.buf.extend_from_slice(&chunk[rest.from..rest.from + rest.keep]);
        } else {
            let mut bytes = kept;
            bytes.extend_from_slice(chunk);
            let rest = self.requests(conn, &mut input, &bytes);
            bytes.truncate(rest.from + rest.keep);
            bytes.drain(..rest.from);
            if !bytes.is_empty() {
                input.buf = bytes;
            }
        }
        conn.input = input;
        self.check_input_limit(conn);
    }

    /// Whether so much is outstanding that the connection must wait before it asks for more.
    pub(super) fn is_full(&self, conn: &Conn, batch: &Option<Batch>) -> bool {
        let max = if self.output_bytes > OUTPUT_TOTAL { OUTPUT_MIN } else { OUTPUT_MAX };
        let batch = batch.as_ref().map_or(0, |batch| batch.estimate(self.abroad.reply_mean));
        conn.output.len() + batch > max
    }

    fn check_input_limit(&mut self, conn: &mut Conn) {
        if conn.input.len() > self.config.client_query_buffer_limit as usize {
            conn.input.clear();
            conn.session.closing = true;
            self.mark_dirty(conn);
        }
    }

    /// Takes requests from `bytes` until they end, the connection must wait, or the turn's share
    /// is used up.
    fn requests(&mut self, conn: &mut Conn, input: &mut Input, bytes: &[u8]) -> Rest {
        let mut batch = None;
        let mut at = 0;
        // What comes alone may as well be timed alone: it costs no further look at the clock.
        let few = bytes.len() <= PEEK_MIN;
        self.meter.begin(few);
        self.intake.reply_room = if few { ROOM_FOR_ONE } else { ROOM_FOR_MANY };
        conn.held = false;
        let mut keep = None;
        let mut peeked = 0;
        let nothing_due = conn.output.ready.is_empty();
        loop {
            if at >= peeked && bytes.len() - at > PEEK_MIN {
                peeked = at + self.prefetch(conn.session.db, &bytes[at..]).max(1);
            }
            self.account(conn);
            if conn.blocked || conn.session.closing || self.is_full(conn, &batch) {
                break;
            }
            if batch.as_ref().is_some_and(|b: &Batch| b.len() >= BATCH_MAX) {
                self.go_on(conn);
                break;
            }
            let limits = Limits {
                bulk_max: self.config.proto_max_bulk_len as usize,
                authenticated: conn.session.authenticated,
            };
            match input.parser.advance(&bytes[at..], &limits) {
                Ok(Status::Ready(len)) => {
                    let raw = &bytes[at..at + len];
                    if self.parsed(conn, &mut batch, input, raw) == Taken::NotYet {
                        conn.held = true;
                        break;
                    }
                    at += len;
                    input.parser.reset();
                    input.big_done = None;
                }
                Ok(Status::Nothing(len)) => {
                    at += len;
                    input.parser.reset();
                }
                Ok(Status::More) => break,
                Ok(Status::Big(len)) => {
                    let prefix = input.parser.scanned();
                    input.begin_big(len, &bytes[at + prefix..]);
                    keep = Some(prefix);
                    break;
                }
                Err(error) => {
                    self.breach(conn, &mut batch, &error);
                    at = bytes.len();
                    break;
                }
            }
        }
        self.settle_meter(&conn.session);
        if let Some(batch) = batch {
            let alone = nothing_due && !conn.output.ready.is_empty();
            self.dispatch(conn, batch, alone);
        }
        self.mark_dirty(conn);
        Rest { from: at, keep: keep.unwrap_or(bytes.len() - at) }
    }

    /// Fetches what the next requests in `bytes` will look up; gives how far it looked.
    fn prefetch(&self, db: usize, bytes: &[u8]) -> usize {
        let mut keys = peek::Keys::new();
        peek::keys(bytes, &mut keys, 1);
        let (Some(space), Some(first)) = (&self.space, keys.pop()) else { return bytes.len() };
        let large = space.large_dict(db, first.key);
        if large.is_none() && !space.is_worth_prefetch(db) {
            return bytes.len();
        }
        if large.is_some() {
            peek::keys(bytes, &mut keys, 2);
            if keys.len() == 2 && keys[0] == keys[1] {
                // The same again, or no element at all (ZRANGE): the first fetches it for all.
                return bytes.len();
            }
            keys.clear();
        }
        let looked = peek::keys(bytes, &mut keys, peek::KEYS_MAX);
        match large {
            _ if keys.len() <= 1 => {}
            Some(large) => large.prefetch(
                keys.iter().filter(|sought| sought.key == first.key).filter_map(|s| s.element),
            ),
            None => space.prefetch(db, keys.iter().map(|sought| sought.key)),
        }
        looked
    }

    /// Fetches what the first request of each connection will look up, ahead of all of them.
    pub fn prefetch_first<'a>(&self, received: impl Iterator<Item = &'a [u8]>) {
        let Some(space) = self.space.as_ref().filter(|space| space.is_worth_prefetch(0)) else {
            return;
        };
        let mut keys = peek::Keys::new();
        for bytes in received.filter(|bytes| bytes.len() <= PEEK_MIN) {
            peek::keys(bytes, &mut keys, peek::KEYS_MAX);
        }
        if keys.len() > 1 {
            space.prefetch(0, keys.iter().map(|sought| sought.key));
        }
    }

    fn breach(&mut self, conn: &mut Conn, batch: &mut Option<Batch>, error: &ProtocolError) {
        self.tell(conn, batch, |out| out.error(error.0.as_bytes()));
        conn.session.closing = true;
    }

    /// Builds the arguments of a parsed request and hands it on.
    fn parsed(
        &mut self,
        conn: &mut Conn,
        batch: &mut Option<Batch>,
        input: &Input,
        raw: &[u8],
    ) -> Taken {
        let parser = &input.parser;
        let from = parser.words().unwrap_or(raw);
        let mut items = SmallVec::<[&[u8]; 8]>::new();
        items.extend(parser.ranges().iter().map(|&(start, end)| &from[start..end]));
        let big: Option<(usize, &Bytes)> = parser.big().zip(input.big_done.as_ref());
        if let Some((at, bytes)) = big {
            items[at] = bytes;
        }
        let mut args = match (parser.words(), big) {
            (None, None) if parser.is_regular() => Args::with_raw(&items, raw),
            _ => Args::new(&items),
        };
        if let Some((at, bytes)) = big {
            args = args.sharing(at, bytes);
        }
        let muted = conn.session.is_muted();
        let before = batch.as_ref().map_or(0, Batch::len);
        let taken = match self.config.renames.is_empty() {
            true => self.request(conn, batch, &args),
            false => self.renamed(conn, batch, &args),
        };
        if taken == Taken::Yes && (muted || conn.session.is_muted()) {
            if let Some(batch) = batch
                && batch.len() > before
            {
                batch.mute_last();
            }
            conn.session.replies = match conn.session.replies {
                Replies::SkipNext => Replies::Skip,
                Replies::Skip => Replies::On,
                other => other,
            };
        }
        taken
    }

    /// A request where `rename-command` has changed names: it goes on under the command's own.
    fn renamed(&mut self, conn: &mut Conn, batch: &mut Option<Batch>, args: &Args<'_>) -> Taken {
        let config = Arc::clone(&self.config);
        match config.renames.resolve(args.get(0).unwrap_or_default()) {
            Named::Itself => self.request(conn, batch, args),
            // Not by way of `refuse`: what calls itself EXEC is none then.
            Named::Nothing => self.fail(conn, batch, &table::unknown_command(args).0),
            Named::Command(own) => {
                let mut items: SmallVec<[&[u8]; 8]> = args.items().into();
                items[0] = own.as_bytes();
                self.request(conn, batch, &args.renamed(&items))
            }
        }
    }

    /// Checks a request in the order in which Redis does, then queues or runs it.
    fn request(&mut self, conn: &mut Conn, batch: &mut Option<Batch>, args: &Args<'_>) -> Taken {
        let command = match conn.session.last.meant(args) {
            Ok(command) => command,
            Err(_) if is_http(args) => {
                self.forged(conn);
                return Taken::Yes;
            }
            Err(fault) => return self.refuse(conn, batch, args, &fault.0),
        };
        if !command.arity_ok(args.len()) {
            return self.reject(conn, batch, command, args, &table::wrong_arity(command.name).0);
        }
        let flags = command.flags;
        conn.session.last.asked(command, args);
        if flags.has(Flags::PROTECTED)
            && let Some(text) = guarded(&self.config, command, conn.session.local)
        {
            return self.reject(conn, batch, command, args, text.as_bytes());
        }
        if !conn.session.authenticated && !flags.has(Flags::NO_AUTH) {
            return self.reject(conn, batch, command, args, NO_AUTH);
        }
        let queueing = conn.session.multi.is_some() && !flags.has(Flags::NO_QUEUE);
        if self.global.memory_bounded()
            && (flags.has(Flags::DENYOOM) || queueing)
            && self.is_over_memory()
        {
            return self.reject(conn, batch, command, args, OUT_OF_MEMORY);
        }
        if self.global.is_troubled()
            && (flags.has(Flags::WRITE) || command.name == "ping")
            && let Some(text) = self.global.misconf()
        {
            return self.reject(conn, batch, command, args, text.as_bytes());
        }
        if self.clients.pause.is_some() && self.is_postponed(conn, batch, command) {
            return Taken::NotYet;
        }
        if !self.migrations.holds.is_empty()
            && !queueing
            && self.is_held(conn, batch, command, args)
        {
            return Taken::NotYet;
        }
        if flags.has(Flags::WRITE) && !queueing && self.waits_for_log(conn, batch) {
            return Taken::NotYet;
        }
        if queueing {
            if flags.has(Flags::NO_MULTI) {
                return self.reject(conn, batch, command, args, NOT_IN_MULTI);
            }
            self.queue(conn, command, args);
            self.tell(conn, batch, |out| out.simple("QUEUED"));
            return Taken::Yes;
        }
        let taken = self.run(conn, batch, command, args);
        // A transaction on lease is shown when it runs.
        let later = conn.blocked && matches!(command.run, Run::Control(Control::Exec));
        if taken == Taken::Yes && !self.clients.listening.is_empty() && !later {
            self.show(&conn.session, conn.session.db, command, args);
        }
        taken
    }

    /// Routes or runs a request that nothing forbids.
    fn run(
        &mut self,
        conn: &mut Conn,
        batch: &mut Option<Batch>,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        match command.run_of(args) {
            Run::Data(code) => self.data(conn, batch, command, code, args),
            Run::Session(code) => {
                // What is a form of a data command stands behind those before it.
                let settles =
                    command.flags.has(Flags::SETTLE) || matches!(command.run, Run::Data(_));
                if settles && self.is_out(conn, batch) {
                    return Taken::NotYet;
                }
                let mut out = Reply::new(conn.session.resp3);
                self.run_session(&mut conn.session, command, code, args, &mut out);
                if self.turns.wished {
                    // Without a log no policy is followed.
                    self.tightened = false;
                    self.tell_when_ended(conn);
                } else if self.tightened {
                    self.tell_when_followed(conn, out);
                } else if let Some(work) = self.aside.take() {
                    self.tell_when_done(conn, work);
                } else if let Some((failure, force)) = self.snapshot.ends.take() {
                    self.tell_if_it_goes_on(conn, failure, force);
                } else if self.rewriting.sealing.wished {
                    self.tell_when_sealed(conn);
                } else if self.snapshot.wished {
                    self.tell_when_saved(conn);
                } else if let Some(source) = self.reload.wished.take() {
                    self.tell_when_reloaded(conn, source);
                } else if let Some(migration) = self.migrations.wished.take() {
                    self.tell_when_migrated(conn, migration);
                } else if let Some(wait) = self.wish.take() {
                    self.block(conn, wait);
                } else if !self.clients.asked.is_empty() {
                    self.tell_when_answered(conn, out);
                } else {
                    self.tell(conn, batch, |to| to.append(out));
                }
                Taken::Yes
            }
            Run::Control(control) => self.steer(conn, batch, command, control, args),
        }
    }

    /// Refuses a command that exists, and counts that.
    fn reject(
        &mut self,
        conn: &mut Conn,
        batch: &mut Option<Batch>,
        command: &'static Command,
        args: &Args<'_>,
        text: &[u8],
    ) -> Taken {
        if let Some(stats) = self.stats().commands.get(introspect::number(command)) {
            stats.rejected.add(1);
        }
        self.refuse(conn, batch, args, text)
    }

    /// Answers with an error; inside MULTI the transaction fails with it, and a refused EXEC ends
    /// it.
    fn refuse(
        &mut self,
        conn: &mut Conn,
        batch: &mut Option<Batch>,
        args: &Args<'_>,
        text: &[u8],
    ) -> Taken {
        let exec = args.get(0).is_some_and(|name| name.eq_ignore_ascii_case(b"exec"));
        let aborted: Vec<u8>;
        let text = match exec {
            true => {
                conn.session.watch = None;
                conn.session.multi = None;
                let why = text.strip_prefix(b"ERR ").unwrap_or(text);
                aborted = [b"EXECABORT Transaction discarded because of: ", why].concat();
                &aborted
            }
            false => text,
        };
        self.fail(conn, batch, text)
    }

    /// Answers with an error that makes an open transaction fail.
    fn fail(&mut self, conn: &mut Conn, batch: &mut Option<Batch>, text: &[u8]) -> Taken {
        if let Some(multi) = &mut conn.session.multi {
            multi.failed = true;
        }
        self.stats().error(text);
        self.tell(conn, batch, |out| out.error(text));
        Taken::Yes
    }

    /// Whether something of this connection is with other shards or about to be.
    pub(super) fn is_out(&self, conn: &Conn, batch: &Option<Batch>) -> bool {
        batch.is_some() || conn.output.has_remote()
    }

    /// Appends a reply that tells of no data, in its place.
    pub(super) fn tell(
        &mut self,
        conn: &mut Conn,
        batch: &mut Option<Batch>,
        write: impl FnOnce(&mut Reply),
    ) {
        if conn.session.is_muted() {
            return;
        }
        if self.is_out(conn, batch) {
            let mut reply = Reply::new(conn.session.resp3);
            write(&mut reply);
            return batch.get_or_insert_default().ready(reply);
        }
        match conn.output.slots.back_mut() {
            None => {
                conn.output.ready.resp3 = conn.session.resp3;
                write(&mut conn.output.ready);
            }
            Some(_) => {
                let mut reply = Reply::new(conn.session.resp3);
                write(&mut reply);
                conn.output.hold(0, Looked::default(), reply);
            }
        }
    }

    /// Routes a data command.
    fn data(
        &mut self,
        conn: &mut Conn,
        batch: &mut Option<Batch>,
        command: &'static Command,
        code: DataRun,
        args: &Args<'_>,
    ) -> Taken {
        if command.flags.has(Flags::BLOCKING) && may_wait(command, args) {
            return self.blocking(conn, batch, command, code, args);
        }
        let shards = self.shards();
        let route = command.route_of(args.len());
        if route == Route::Cut {
            let alone = self.log.is_none() && shards == 1;
            if !alone || self.is_saved_behind(command) {
                return self.cut_command(conn, batch, command, args);
            }
        }
        let targets = self.targets(command, route, args);
        let direct = targets == 1 << self.id && !self.is_out(conn, batch);
        let quiet = conn.session.is_quiet(command);
        if !direct && self.is_crowded(conn, batch) {
            return Taken::NotYet;
        }
        if targets.count_ones() == 1 {
            let shard = targets.trailing_zeros() as usize;
            if direct {
                self.run_here(conn, |around, space, db, out| {
                    around.quiet = quiet;
                    around.run_one(space, db, command, code, args, out)
                });
            } else {
                let db = conn.session.db;
                batch.get_or_insert_default().one(shard, command, (db, quiet), args);
            }
            return Taken::Yes;
        }
        let db = conn.session.db;
        match route {
            Route::Split(merge) => {
                batch.get_or_insert_default().split(command, merge, (db, quiet), args, shards);
            }
            Route::Every(merge) => {
                let how = (db, quiet);
                let draw = self.random.next_u64();
                batch.get_or_insert_default().every(command, merge, how, args, shards, draw);
            }
            Route::Cursor => {
                let count = scan::begins(args).unwrap_or(0);
                let (how, merge) = ((db, quiet), Merge::Scan);
                batch.get_or_insert_default().every(command, merge, how, args, shards, count);
            }
            _ => {
                if self.is_out(conn, batch) {
                    return Taken::NotYet;
                }
                let request = OwnedRequest::from_args(args);
                self.lease_call(conn, targets, Call { command, db, quiet, request });
            }
        }
        Taken::Yes
    }

    /// The shards a command concerns, as a set; never empty.
    pub(super) fn targets(&self, command: &Command, route: Route, args: &Args<'_>) -> u64 {
        let shards = self.shards();
        let here = 1 << self.id;
        if shards == 1 {
            return here;
        }
        let of_keys = |take: usize| {
            let positions = command.key_positions(args.items()).take(take);
            let set = positions.fold(0u64, |set, at| set | 1 << shard_of(&args[at], shards));
            if set == 0 { here } else { set }
        };
        match route {
            Route::Here => here,
            Route::Key => of_keys(1),
            Route::Split(_) | Route::Lease => of_keys(usize::MAX),
            Route::Patterns if sort::looks_anywhere(args) => all_shards(shards),
            Route::Patterns => of_keys(usize::MAX),
            Route::Every(_) | Route::Whole | Route::Cut => all_shards(shards),
            Route::Cursor if scan::begins(args).is_some() => all_shards(shards),
            Route::Cursor => 1 << scan::cursor_shard(args, shards),
        }
    }

    /// Executes at once on this shard's data and puts the reply where the log allows it.
    pub(super) fn run_here(
        &mut self,
        conn: &mut Conn,
        run: impl FnOnce(
            &mut Surroundings<'_>,
            &mut crate::keyspace::Keyspace,
            usize,
            &mut Reply,
        ) -> u64,
    ) {
        let framed = self.framed();
        let release = self.release();
        let resp3 = conn.session.resp3;
        let shards = self.order.shards();
        let space = self.space.as_deref_mut().expect("requests run only while the data is home");
        let mut around = Surroundings {
            quiet: false,
            stats: &self.global.registry.shards[self.id],
            meter: &mut self.meter,
            track: self.config.latency_tracking,
            now: self.now,
            random: &mut self.random,
            shards,
            string_max: self.config.proto_max_bulk_len,
            shapes: &self.config.shapes,
            codec: codec(self.config.rdb.version, self.config.rdb.compress),
            claim: None,
            fate: Fate::Answered,
        };
        let db = conn.session.db;
        space.looked.begin(release);
        if conn.session.is_muted() {
            run(&mut around, space, db, &mut Reply::new(resp3));
            return self.serve_here();
        }
        if conn.output.slots.is_empty() {
            let out = &mut conn.output.ready;
            out.resp3 = resp3;
            out.expect(self.intake.reply_room);
            let at = out.checkpoint();
            let tag = run(&mut around, space, db, out);
            #[cfg(test)]
            crate::shard::sim::probe::ran_here(conn.key, space);
            if tag > release {
                let reply = out.split_off(at);
                let looked = space.looked.take(tag);
                conn.output.hold(tag, looked, reply);
            }
            return self.serve_here();
        }
        let (position, looked, reply) = conn.output.waiting(framed, self.intake.reply_room);
        reply.resp3 = resp3;
        let before = reply.len();
        let tag = run(&mut around, space, db, reply);
        #[cfg(test)]
        crate::shard::sim::probe::ran_here(conn.key, space);
        *position = (*position).max(tag);
        if tag > release {
            looked.join(&space.looked, tag);
        }
        let grown = reply.len() - before;
        conn.output.grew(grown);
        self.serve_here();
    }

    /// Whether writes that need memory are to be refused.
    pub(super) fn is_over_memory(&self) -> bool {
        let here = self.space.as_ref().map_or(0, |s| s.memory());
        self.global.is_over_memory(self.id, here)
    }
}

/// What a browser that was talked into connecting here sends among its first lines.
fn is_http(args: &Args<'_>) -> bool {
    let name = args.get(0).unwrap_or_default();
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// The set of all shards.
pub fn all_shards(shards: usize) -> u64 {
    if shards == 64 { u64::MAX } else { (1 << shards) - 1 }
}
