//! The server as commands see it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::migrate::Migration;
use crate::command::session::{BackupStep, Server, SessionCtx, Wait};
use crate::command::{Args, Ask, Command, Fault, Session};
use crate::config::table::{self, Kind};
use crate::config::{Config, Flush, LogLevel, Shutdown};
use crate::observe::info::{self, Snapshot};
use crate::observe::{Registry, crash, process};
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::ending::NO_SHUTDOWN;
use crate::shard::global::NO_RESTART;
use crate::shard::late::Bounds;
use crate::shard::log::FsyncPolicy;
use crate::shard::message::Message;
use crate::shard::refill::How;
use crate::shard::reload::Source;
use crate::shard::turning::{Logging, Wanted, set_on};

/// What BGSAVE says while the log is rewritten.
const REWRITES: &str = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use \
BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.";

/// What BGREWRITEAOF says where it cannot be begun.
const NO_REWRITE: &str = "ERR Can't execute an AOF background rewriting. Please check the server \
logs for more information.";

/// The code of a session command.
pub type SessionFn = fn(&mut SessionCtx<'_>, &Args<'_>) -> Result<(), Fault>;

/// The log writer's word for a configured policy.
pub fn policy(flush: Flush) -> FsyncPolicy {
    match flush {
        Flush::Always => FsyncPolicy::Always,
        Flush::EverySecond => FsyncPolicy::EverySec,
        Flush::No => FsyncPolicy::No,
    }
}

impl Shard {
    /// Runs a command that acts on its client or the server.
    pub(super) fn run_session(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        code: SessionFn,
        args: &Args<'_>,
        out: &mut Reply,
    ) {
        self.settle_meter(session);
        crash::note(command.name);
        let at = out.checkpoint();
        let (now, in_exec) = (self.now, session.in_exec);
        let mut ctx = SessionCtx { session, server: self, out, now };
        let mut result = code(&mut ctx, args);
        if in_exec && let Some(work) = self.aside.take() {
            // The replies of a transaction are one, and no part of it can be waited for.
            result = result.and_then(|()| work().map_err(Fault::text));
        }
        if in_exec && self.turns.wished {
            self.turn_off_aside();
        }
        if in_exec && let Some((_, force)) = self.snapshot.ends.take() {
            self.end_behind_snapshot(force, None);
            // If it goes on after all, the transaction has all its replies.
            out.ok();
        }
        let behind = out.checkpoint();
        if let Some(ask) = self.clients.asks.take() {
            self.clients.asked.push((behind, out.resp3, ask));
        }
        if let Err(fault) = &result {
            self.stats().error(&fault.0);
            out.cut_back(at);
            out.error(&fault.0);
        }
        self.around().count(command, args, result.is_ok(), true);
        out.resp3 = session.resp3;
    }

    /// Takes over a configuration that has changed.
    pub(super) fn refresh_settings(&mut self) {
        let version = self.global.config_version();
        if version != self.config_version {
            self.config_version = version;
            let logged = self.config.appendonly;
            self.config = self.global.config();
            if logged && !self.config.appendonly {
                self.refuse_waits();
            }
            if let Some(log) = &mut self.log {
                log.set_policy(policy(self.config.appendfsync));
                log.set_segment(self.global.writes_ahead(&self.config));
                log.set_reserving(self.global.takes_room());
            }
            self.meter.set_bounds(Bounds::of(&self.config));
            if let Some(space) = &mut self.space {
                space.events.set_wanted(self.config.events);
            }
            self.note_time();
        }
    }
}

impl Server for Shard {
    fn databases(&self) -> usize {
        self.config.databases
    }

    fn password(&self) -> Option<Vec<u8>> {
        self.config.requirepass.clone()
    }

    fn config_get(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        self.global.config().get(patterns)
    }

    fn config_set(&mut self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<(), String> {
        let now = self.global.config();
        // What is wrong with them is told below, in its order.
        if !now.appendonly && now.changed(pairs, local).is_ok_and(|next| next.appendonly) {
            let (global, order, id) = (Arc::clone(&self.global), Arc::clone(&self.order), self.id);
            let pairs = pairs.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            let wanted = Wanted { pairs, local };
            self.aside = Some(Box::new(move || {
                set_on(&global, &wanted)?;
                // In front of the reply.
                order.push(id, Message::BeginLog);
                Ok(())
            }));
            return Ok(());
        }
        let is_dir = |name: &[u8]| matches!(table::find(name), Some((_, d)) if d.kind == Kind::Dir);
        // With a log it is refused without a look at the disk.
        if self.log.is_none() && pairs.iter().any(|(name, _)| is_dir(name)) {
            let global = Arc::clone(&self.global);
            let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            self.aside = Some(Box::new(move || global.change_dir(&pairs, local)));
            return Ok(());
        }
        let before = self.global.config();
        self.global.change_config(pairs, local)?;
        self.refresh_settings();
        let now = self.config.appendfsync;
        self.tightened |= now == Flush::Always && before.appendfsync != now && self.log.is_some();
        // Who says `no` when it has been said waits for the end as well.
        let said = pairs.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"appendonly"));
        let is_off = self.global.turning.state() == Logging::Off && !self.global.cut_busy();
        let ends = before.appendonly || !is_off;
        self.turns.wished |= said && ends && !self.config.appendonly;
        Ok(())
    }

    fn config(&self) -> Arc<Config> {
        self.global.config()
    }

    fn registry(&self) -> &Registry {
        &self.global.registry
    }

    fn config_rewrite(&mut self, all: bool) -> Result<(), String> {
        let global = Arc::clone(&self.global);
        self.aside = Some(Box::new(move || global.rewrite_config(all)));
        Ok(())
    }

    fn load_log(&mut self) -> Result<(), String> {
        match self.no_log_to_load() {
            Some(text) => Err(text),
            None => {
                self.reload.wished = Some(Source::Log);
                Ok(())
            }
        }
    }

    fn load_file(&mut self, save: bool, flush: bool, merge: bool) {
        self.reload.wished = Some(Source::File(How { save, flush, merge }));
    }

    fn migrate(&mut self, migration: Migration) {
        self.migrations.wished = Some(migration);
    }

    fn save(&mut self, waits: bool, may_be_later: bool) -> Result<bool, String> {
        let saves = &self.global.registry.saves;
        let began = saves.begin(self.now.unix_ms().div_euclid(1000));
        match (began, saves.is_rewriting()) {
            (true, _) => saves.count_it(),
            (false, true) if waits => self.snapshot.queues = true,
            (false, true) if may_be_later => {
                saves.schedule();
                return Ok(false);
            }
            (false, true) => return Err(REWRITES.to_owned()),
            (false, false) => return Err("ERR Background save already in progress".to_owned()),
        }
        match waits {
            true => self.snapshot.wished = true,
            false => self.start_snapshot(),
        }
        Ok(true)
    }

    fn rewrite_log(&mut self, now: bool) -> Result<bool, String> {
        if self.global.registry.rewrites.in_progress() {
            let text = "ERR Background append only file rewriting already in progress";
            return Err(text.to_owned());
        }
        if self.global.any_log_failing() {
            self.global.warn("The log cannot be rewritten while it cannot be written");
            return Err(NO_REWRITE.to_owned());
        }
        let began = now && self.begin_rewrite();
        if !began {
            self.global.registry.rewrites.schedule(true);
        }
        Ok(began)
    }

    fn backup(&mut self, step: BackupStep) -> Result<(), String> {
        self.step_backup(step)
    }

    fn say(&self, level: LogLevel, text: &str) {
        self.global.say(level, text);
    }

    fn publish(&self) {
        Shard::publish(self);
    }

    fn give_memory_back(&self) {
        self.global.give_backs.fetch_add(1, Ordering::Relaxed);
    }

    fn is_durable(&self) -> bool {
        self.all_durable()
    }

    fn wait(&mut self, wait: Wait) {
        self.wish = Some(wait);
    }

    fn reset_stats(&mut self) {
        self.global.reset_stats();
        self.refresh_stats();
        self.order.wake_all();
    }

    fn info(&mut self, sections: &[&[u8]]) -> String {
        self.publish();
        let snapshot = Snapshot {
            registry: &self.global.registry,
            config: &self.global.config(),
            now: self.now,
            usage: process::usage(),
        };
        info::render(&snapshot, sections)
    }

    fn ask(&mut self, ask: Ask) {
        self.clients.asks = Some(ask);
    }

    fn monitor(&mut self) {
        self.clients.asks = Some(Ask::Monitor { shard: self.id });
    }

    fn start_again(&mut self, wait_ms: u64, gracefully: bool) -> Result<(), String> {
        self.global.start_again(wait_ms, gracefully)?;
        if gracefully {
            self.end_process(Shutdown::default(), NO_RESTART);
        }
        Ok(())
    }

    fn sleep_before_log(&mut self, micros: u64) {
        self.global.log_sleep_us.store(micros, Ordering::Relaxed);
    }

    fn shutdown(
        &mut self,
        save: Option<bool>,
        _now: bool,
        force: bool,
        abort: bool,
    ) -> Result<(), String> {
        if abort {
            // While a stop saves, no request is looked at.
            return Err("ERR No shutdown in progress.".to_owned());
        }
        if self.global.may_not_end(force) {
            return Err(NO_SHUTDOWN.to_owned());
        }
        self.end_process(Shutdown { save, force }, NO_SHUTDOWN);
        Ok(())
    }
}
