//! The thread that writes a snapshot's file, and what it says when it is done; a simulation takes
//! its steps one by one instead.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError, atomic::Ordering};

use crate::base::clock::Watch;
use crate::observe::saves::End;
#[cfg(test)]
use crate::persist::disk::Sheets;
use crate::persist::snapshot::{Chunk, write};
#[cfg(test)]
use crate::persist::snapshot::{Making, Means};
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::cores;
use crate::shard::global::Global;
use crate::shard::message::Message;
use crate::shard::order::Order;
use crate::shard::rewrite::{self, Aim};
use crate::shard::snapshot::{Job, Plan, conclude};

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
        let took = self.watch.elapsed();
        let end = rewrite::conclude(global, &self.job, rewritten, took);
        self.job.ended(end, took);
        self.job.over.store(true, Ordering::Release);
        self.order.wake_all();
        if matches!(end, End::Saved { .. }) {
            rewrite::collect(global, target);
        }
    }

    /// One step of it, on a disk that is no real one; true when it is over.
    #[cfg(test)]
    pub fn step(&mut self, disk: &dyn Sheets) -> bool {
        let progress = &self.global.registry.saves.progress;
        let means = Means {
            disk,
            target: &self.plan.target,
            header: &self.header,
            chunks: &self.chunks,
            flow: &self.job.flow,
            may_end: &|| progress.commit(),
            waits: false,
        };
        let written = self.making.step(&means).transpose();
        written.map(|written| self.over(written)).is_some()
    }

    /// Says how it went, to the shards and to whoever waits.
    fn over(&self, written: io::Result<u64>) {
        let took = self.watch.elapsed();
        let saved = End::Saved { at: self.seconds + took.as_secs() as i64, dirty: self.dirty };
        let outcome = conclude(&self.global, &self.job, written, saved, took);
        if let Some(to) = self.plan.waits {
            let mut reply = Reply::new(self.plan.resp3);
            match outcome {
                Ok(()) => reply.ok(),
                Err(text) => reply.error(text.as_bytes()),
            }
            *self.job.waits.lock().unwrap_or_else(PoisonError::into_inner) = Some((to, reply));
        }
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
