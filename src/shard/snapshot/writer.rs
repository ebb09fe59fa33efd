//! The thread that writes a snapshot's file, and what it says when it is done; a simulation takes
//! its steps one by one instead.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError, atomic::Ordering};

use crate::base::clock::Watch;
use crate::observe::saves::End;
use crate::persist::aof::manifest::FileType;
#[cfg(test)]
use crate::persist::disk::Sheets;
#[cfg(test)]
use crate::persist::rewrite::history;
use crate::persist::snapshot::{Chunk, adopt, write};
#[cfg(test)]
use crate::persist::snapshot::{Making, Means, Target};
use crate::shard::backup::pin_base;
use crate::shard::core::Shard;
use crate::shard::cores;
use crate::shard::global::Global;
use crate::shard::message::Message;
use crate::shard::order::Order;
use crate::shard::rewrite::{self, Aim, Rewritten};
use crate::shard::snapshot::{Job, Plan, conclude, contents};
use crate::shard::turning;

/// All that it takes to write the file of a snapshot.
pub struct Writer {
    plan: Plan,
    /// It becomes the base of the log.
    aim: Option<Aim>,
    header: Vec<u8>,
    chunks: Receiver<Chunk>,
    job: Arc<Job>,
    /// Changes that the file will hold.
    dirty: u64,
    global: Arc<Global>,
    order: Arc<Order<Message>>,
    /// When it began, in Unix seconds, and how long that is ago.
    seconds: i64,
    watch: Watch,
    /// The directive that names cores, and what it says.
    cores: (&'static str, String),
    #[cfg(test)]
    making: Making,
    #[cfg(test)]
    rewriting: Rewriting,
}

/// What the writer of a rewrite does next.
#[cfg(test)]
#[derive(Default)]
enum Rewriting {
    /// It writes what is walked.
    #[default]
    Walk,
    /// It makes the base of a file so long.
    Base(u64),
    /// It waits for the right to cut, with a base so long.
    Install(u64),
    /// It removes these.
    Remove(Vec<String>),
    /// It waits for the right to cut, to take these out of the manifest.
    Forget(Vec<String>),
    /// Nothing.
    Over,
}

impl Writer {
    /// The writer of a snapshot that `shard` begins.
    pub(super) fn new(
        plan: Plan,
        aim: Option<Aim>,
        (header, chunks): (Vec<u8>, Receiver<Chunk>),
        job: Arc<Job>,
        dirty: u64,
        shard: &Shard,
    ) -> Writer {
        let directive = if aim.is_some() { "aof-rewrite-cpulist" } else { "bgsave-cpulist" };
        let cores = shard.config.text(directive).unwrap_or_default();
        Writer {
            plan,
            aim,
            header,
            chunks,
            job,
            dirty,
            global: Arc::clone(&shard.global),
            order: Arc::clone(&shard.order),
            seconds: shard.now.unix_ms().div_euclid(1000),
            watch: shard.global.time().watch(),
            cores: (directive, String::from_utf8_lossy(cores).into_owned()),
            #[cfg(test)]
            making: Making::default(),
            #[cfg(test)]
            rewriting: Rewriting::default(),
        }
    }

    /// Writes all of it; waits for the shards and for the disk.
    pub fn run(self) {
        let (directive, cores) = &self.cores;
        if let Err(error) = cores::bind(cores) {
            self.global.warn(&format!("{directive} {cores}: {error}"));
        }
        if let Some(aim) = &self.aim {
            return self.rewrite(aim);
        }
        let progress = &self.global.registry.saves.progress;
        let (header, flow) = (&self.header, &self.job.flow);
        let may_end = || progress.commit();
        let written = write(&self.plan.target, header, &self.chunks, flow, &may_end);
        self.over(written);
    }

    fn rewrite(&self, aim: &Aim) {
        let (global, target) = (&self.global, &self.plan.target);
        let flow = &self.job.flow;
        let rewritten = rewrite::rewrite(global, aim, target, &self.header, &self.chunks, flow);
        if matches!(rewritten, Ok(Rewritten::Done { .. })) {
            self.serve_save_points(aim);
        }
        if self.rewritten(rewritten) {
            rewrite::collect(global, target);
        }
    }

    /// The base holds the data of one moment, as a snapshot does. Where save points ask for those
    /// it becomes one by a second name, and nothing is walked and written twice. Nobody changes a
    /// base, so neither name can take from the other; before the rewrite is over no save begins
    /// that could be newer.
    fn serve_save_points(&self, aim: &Aim) {
        let (global, config) = (&self.global, self.global.config());
        if aim.plain || aim.first.is_none() || config.save_points.is_empty() {
            return;
        }
        let manifest = global.manifest().clone();
        let Some(base) = manifest.lines.iter().find(|line| line.kind == FileType::Base) else {
            return;
        };
        let (from, target) =
            (turning::log_dir(&config).join(&base.file), contents::target(&config));
        match adopt(&from, &target) {
            Ok(()) => {
                let at = self.seconds + self.watch.elapsed().as_secs() as i64;
                global.registry.saves.served(at, self.dirty);
                global.notice(&format!("DB saved on disk: {} is also {}", base.file, target.name));
            }
            // The next save point makes a file of its own.
            Err(error) => global.notice(&format!(
                "The base of the log does not become {} as well: {error}",
                target.name
            )),
        }
    }

    /// Says how a rewrite went; true when there is something to be removed.
    fn rewritten(&self, rewritten: io::Result<Rewritten>) -> bool {
        let took = self.watch.elapsed();
        let end = rewrite::conclude(&self.global, &self.job, rewritten, took);
        let done = matches!(end, End::Saved { .. });
        if done {
            pin_base(&self.global);
        }
        self.job.ended(end, took);
        self.job.over.store(true, Ordering::Release);
        self.order.wake_all();
        done
    }

    /// Whether the log is rewritten.
    #[cfg(test)]
    pub fn rewrites(&self) -> bool {
        self.aim.is_some()
    }

    /// Whether that makes a base without a log.
    #[cfg(test)]
    pub fn is_alone(&self) -> bool {
        self.aim.as_ref().is_some_and(|aim| aim.first.is_none())
    }

    /// What the writer of a base does next, for humans.
    #[cfg(test)]
    pub fn stage(&self) -> &'static str {
        match self.rewriting {
            Rewriting::Walk => "writes what is walked",
            Rewriting::Base(_) => "makes the base",
            Rewriting::Install(_) => "waits for the right to cut",
            Rewriting::Remove(_) => "removes history",
            Rewriting::Forget(_) => "takes history out of the manifest",
            Rewriting::Over => "is over",
        }
    }

    /// One step of it, on a disk that is no real one; true when it is over.
    #[cfg(test)]
    pub fn step(&mut self, disk: &dyn Sheets) -> bool {
        if let Some(aim) = self.aim.clone() {
            let next = std::mem::replace(&mut self.rewriting, Rewriting::Over);
            self.rewriting = self.step_rewrite(&aim, next, disk);
            return matches!(self.rewriting, Rewriting::Over);
        }
        let written = self.walk(disk, &self.plan.target.clone());
        written.map(|written| self.over(written)).is_some()
    }

    /// The next thing of [`Writer::rewrite`], [`rewrite::rewrite`] and [`rewrite::collect`].
    #[cfg(test)]
    fn step_rewrite(&mut self, aim: &Aim, next: Rewriting, disk: &dyn Sheets) -> Rewriting {
        let flow = &self.job.flow;
        match next {
            Rewriting::Walk => match self.walk(disk, &rewrite::walked(aim, &self.plan.target)) {
                None => Rewriting::Walk,
                Some(Ok(bytes)) => Rewriting::Base(bytes),
                Some(Err(error)) => self.collects(Err(error)),
            },
            Rewriting::Base(bytes) => {
                match rewrite::base_of(disk, aim, &self.plan.target, bytes, flow) {
                    Ok(bytes) => Rewriting::Install(bytes),
                    Err(error) => self.collects(Err(error)),
                }
            }
            Rewriting::Install(bytes) if self.global.claim_cut() => {
                let target = &self.plan.target;
                let done = rewrite::take_its_place(&self.global, aim, disk, target, bytes, flow);
                self.collects(done)
            }
            Rewriting::Remove(files) => match rewrite::remove_served(&self.global, disk, &files) {
                gone if gone.is_empty() => Rewriting::Over,
                gone => Rewriting::Forget(gone),
            },
            Rewriting::Forget(gone) if self.global.claim_cut() => {
                rewrite::forget_served(&self.global, disk, &gone);
                Rewriting::Over
            }
            waits => waits,
        }
    }

    #[cfg(test)]
    fn collects(&self, rewritten: io::Result<Rewritten>) -> Rewriting {
        let keeps = self.global.config().rewrite.keep_history;
        match self.rewritten(rewritten) && !keeps {
            true => Rewriting::Remove(history(&self.global.manifest())),
            false => Rewriting::Over,
        }
    }

    #[cfg(test)]
    fn walk(&mut self, disk: &dyn Sheets, target: &Target) -> Option<io::Result<u64>> {
        let progress = &self.global.registry.saves.progress;
        let commits = self.aim.is_none();
        let means = Means {
            disk,
            target,
            header: &self.header,
            chunks: &self.chunks,
            flow: &self.job.flow,
            may_end: &|| !commits || progress.commit(),
            waits: false,
        };
        self.making.step(&means).transpose()
    }

    /// Says how it went, to the shards and to whoever waits.
    fn over(&self, written: io::Result<u64>) {
        let took = self.watch.elapsed();
        let saved = End::Saved { at: self.seconds + took.as_secs() as i64, dirty: self.dirty };
        let outcome = conclude(&self.global, &self.job, written, saved, took);
        let told = self.plan.waits.clone().told(&outcome);
        *self.job.waits.lock().unwrap_or_else(PoisonError::into_inner) = told;
        self.job.over.store(true, Ordering::Release);
        self.order.wake_all();
    }
}

/// Has it run on a thread of its own.
///
/// # Errors
/// There is no thread to be had.
pub fn on_a_thread(writer: Writer) -> io::Result<()> {
    let named = std::thread::Builder::new().name("snapshot".to_owned());
    named.spawn(move || writer.run()).map(drop)
}
