//! Executing what a log holds: replies are thrown away, nothing is logged and nothing expires.

use crate::base::crc::{shard_of, shard_of_slot, slot};
use crate::base::number::parse_i64;
use crate::command::table::{self, Control, DataRun};
use crate::command::{Args, Command, Ctx, Route, Run as Code, Spaces};
use crate::persist::aof::run::Run;
use crate::persist::load::{GARBAGE_STEP, LoadError, Origin, Replay, Why};
use crate::persist::payload::default_codec;
use crate::persist::rdb::decode::shown;

/// A command, its code, and the place of its first key.
type Found = (&'static Command, DataRun, Option<usize>);

/// A command that is to be executed here.
struct Ready<'a> {
    /// Where it stands in the file.
    offset: u64,
    items: &'a [&'a [u8]],
    command: &'static Command,
    run: DataRun,
    /// The place of its first key.
    key: Option<usize>,
}

impl Replay<'_, '_> {
    /// Executes commands that follow one another. Nearly all the time of one goes into waiting for
    /// memory that no cache holds, so the processor is asked for the places of all their keys
    /// before the first is executed.
    pub(super) fn run(
        &mut self,
        file: &str,
        run: &Run<'_>,
        origin: Origin,
    ) -> Result<(), LoadError> {
        let words = run.words();
        let refused = |items: &[&[u8]], offset, why| {
            let name = shown(items.first().copied().unwrap_or_default());
            LoadError::Command { file: file.to_owned(), offset, name, why }
        };
        let mut ready = Vec::with_capacity(run.commands().len());
        for (offset, of_it) in run.commands() {
            let items = &words[of_it];
            let found = self.prepare(items, origin).map_err(|why| refused(items, offset, why))?;
            if let Some((command, run, key)) = found {
                ready.push(Ready { offset, items, command, run, key });
            }
        }
        if ready.len() > 1 {
            self.reach(&ready);
        }
        for one in ready {
            self.execute(&one).map_err(|why| refused(one.items, one.offset, why))?;
        }
        Ok(())
    }

    /// Asks the processor for what look-ups of the commands' first keys will read.
    fn reach(&mut self, ready: &[Ready<'_>]) {
        let keys = ready.iter().filter_map(|one| one.items.get(one.key?).copied());
        match &mut self.spaces {
            Spaces::One(space) => space.dbs[self.db].prefetch(keys),
            Spaces::Many(spaces) => {
                let shards = spaces.len();
                for (shard, space) in spaces.iter().enumerate() {
                    let own = |key: &&[u8]| shards == 1 || shard_of(key, shards) == shard;
                    if let Some(space) = space {
                        space.dbs[self.db].prefetch(keys.clone().filter(own));
                    }
                }
            }
        }
    }

    /// Finds out what a command is and where its first key stands; `None` when nothing is to be
    /// executed for it.
    fn prepare(&mut self, items: &[&[u8]], origin: Origin) -> Result<Option<Found>, Why> {
        let name = items.first().copied().unwrap_or_default();
        if name.eq_ignore_ascii_case(b"SELECT") {
            return self.select(items).map(|()| None);
        }
        let command = match self.last {
            Some(last) if is_again(last, items) => last,
            _ => find(items)?,
        };
        self.last = Some(command);
        match command.run {
            // A transaction in a kept log is whole: its commands are executed as they come.
            Code::Control(Control::Multi | Control::Exec) => Ok(None),
            Code::Control(_) | Code::Session(_) => Err(Why::NotData),
            Code::Data(run) => {
                if !self.is_ours(command, items, origin)? {
                    return Ok(None);
                }
                Ok(Some((command, run, command.key_positions(items).next())))
            }
        }
    }

    fn execute(&mut self, one: &Ready<'_>) -> Result<(), Why> {
        let start = self.reply.checkpoint();
        let mut ctx = Ctx {
            spaces: self.spaces.lent(),
            db: self.db,
            now: self.loading.now,
            out: &mut self.reply,
            random: &mut self.random,
            shards: self.loading.shards,
            string_max: self.loading.string_max,
            shapes: &self.loading.shapes,
            codec: default_codec(),
            replay: true,
            claim: None,
            claimed: false,
            patience: None,
        };
        let result = (one.run)(&mut ctx, &Args::new(one.items));
        self.reply.cut_back(start);
        self.report.commands += 1;
        self.delay.key();
        let cut = one.command.route == Route::Cut;
        if cut || self.report.commands.is_multiple_of(GARBAGE_STEP) {
            self.spaces.each(|space| space.garbage.clear());
        }
        result.map_err(|fault| Why::Failed(first_word(&fault.0)))
    }

    fn select(&mut self, items: &[&[u8]]) -> Result<(), Why> {
        let [_, index] = items else { return Err(Why::Arguments) };
        let index = parse_i64(index).and_then(|n| usize::try_from(n).ok());
        self.db = index.filter(|&db| db < self.databases).ok_or(Why::Database)?;
        Ok(())
    }

    /// Whether a command is to be executed here. In a shard's log its keys must be that shard's;
    /// to a shard that loads alone they must be all its own, or all not.
    fn is_ours(&self, command: &Command, items: &[&[u8]], origin: Origin) -> Result<bool, Why> {
        if self.alone.is_none() && origin == Origin::Plain {
            return Ok(true);
        }
        if command.route == Route::Cut && origin == Origin::Plain {
            return Ok(true);
        }
        let written_by = match origin {
            Origin::Frames(_, shards) => shards,
            Origin::Plain => 1,
        };
        if written_by == 1 && self.loading.shards == 1 {
            let named = command.key_positions(items).next().is_some();
            return if named { Ok(true) } else { Err(Why::NoKey) };
        }
        let mut ours = None;
        for at in command.key_positions(items) {
            let slot = slot(items.get(at).copied().unwrap_or_default());
            if let Origin::Frames(shard, shards) = origin
                && shard_of_slot(slot, shards) != shard
            {
                return Err(Why::Misplaced);
            }
            let here = self.alone.is_none_or(|me| shard_of_slot(slot, self.loading.shards) == me);
            if ours.is_some_and(|ours| ours != here) {
                return Err(Why::ManyShards);
            }
            ours = Some(here);
        }
        ours.ok_or(Why::NoKey)
    }
}

/// Whether what has been found is what is found here.
fn is_again(last: &Command, items: &[&[u8]]) -> bool {
    last.subcommands.is_empty()
        && items.first().is_some_and(|name| name.eq_ignore_ascii_case(last.name.as_bytes()))
        && last.arity_ok(items.len())
}

/// The row of a command, its arguments counted.
fn find(items: &[&[u8]]) -> Result<&'static Command, Why> {
    let name = items.first().copied().unwrap_or_default();
    let command = table::find(name).ok_or(Why::Unknown)?;
    if command.subcommands.is_empty() {
        return if command.arity_ok(items.len()) { Ok(command) } else { Err(Why::Arguments) };
    }
    table::resolve(&Args::new(items)).map_err(|_| Why::Arguments)
}

/// The code of an error; what follows it may repeat what the command carried.
fn first_word(text: &[u8]) -> String {
    let word = text.split(|&b| b == b' ').next().unwrap_or_default();
    word.escape_ascii().to_string()
}
