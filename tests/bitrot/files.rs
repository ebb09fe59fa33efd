//! A directory held in memory, of which damaged copies cost little, and what the library makes of
//! one: refused, or loaded as a start loads it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ringstone::base::clock::Now;
use ringstone::keyspace::{Effects, Keyspace};
use ringstone::persist::disk::Volume;
use ringstone::persist::load::{Loading, load_shard, load_together, together_until};
use ringstone::persist::payload::dump;
use ringstone::persist::rdb::encode::VERSION_DEFAULT;
use ringstone::persist::recovery::{Options, inspect};
use ringstone::value::shapes::Shapes;

/// `appendfilename` of all servers here.
pub const NAME: &str = "appendonly.aof";
const DATABASES: usize = 16;

/// Names and contents.
#[derive(Clone, Debug, Default)]
pub struct Files(pub BTreeMap<String, Arc<Vec<u8>>>);

impl Files {
    /// What lies in a directory.
    pub fn read(dir: &Path) -> Files {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            if name.ends_with(".reserve") {
                // Nothing but room: no start reads it.
                continue;
            }
            files.insert(name, Arc::new(std::fs::read(entry.path()).expect("a file")));
        }
        Files(files)
    }

    /// Writes them into an existing directory, in the place of what was there.
    pub fn write(&self, dir: &Path) {
        for name in Files::read(dir).0.keys() {
            std::fs::remove_file(dir.join(name)).expect("removed");
        }
        for (name, bytes) in &self.0 {
            std::fs::write(dir.join(name), bytes.as_slice()).expect("written");
        }
    }

    /// The same with one file changed.
    pub fn with(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Files {
        let mut files = self.clone();
        let mut bytes = self.0[name].as_ref().clone();
        change(&mut bytes);
        files.0.insert(name.to_owned(), Arc::new(bytes));
        files
    }

    /// Bytes of all files.
    pub fn size(&self) -> usize {
        self.0.values().map(|bytes| bytes.len()).sum()
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "only looked at"))
}

impl Volume for Files {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.keys().cloned().collect())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.0.get(path).map(|bytes| bytes.len() as u64).ok_or(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_synced(&self, _: &str, _: &[u8]) -> io::Result<()> {
        read_only()
    }

    fn truncate(&self, _: &str, _: u64) -> io::Result<()> {
        read_only()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self) -> io::Result<()> {
        read_only()
    }
}

/// Every key of every database: its value as DUMP has it, and its expiry.
pub type Contents = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

/// What a directory was found to hold.
pub struct Held {
    /// The data.
    pub contents: Contents,
    /// What recovery says it cuts.
    pub report: Vec<String>,
    /// Of each file the bytes that count.
    pub counted: BTreeMap<String, u64>,
}

/// Looks at a directory and loads it, as a start of a server with `shards` shards does.
pub fn load(files: &Files, shards: usize, boot: &str) -> Result<Held, String> {
    let data = Files::default();
    let options = Options::plain(NAME, "dump.rdb", shards, boot, &data);
    let plan = inspect(files, &options).map_err(|error| error.to_string())?;
    let progress = AtomicU64::new(0);
    let loading = Loading {
        log: files,
        data: &data,
        shards,
        now: Now { unix_us: 1_700_000_000_000_000, mono_us: 0 },
        string_max: 512 << 20,
        shapes: Shapes::default(),
        modules: Default::default(),
        progress: &progress,
        key_delay: 0,
    };
    let text = |error: ringstone::persist::load::LoadError| error.to_string();
    let space =
        |shard| Some(Box::new(Keyspace::new(shard, DATABASES, [1, 2], Effects::new(0, false))));
    let mut spaces: Vec<Option<Box<Keyspace>>> = (0..shards).map(space).collect();
    let first = together_until(&loading, &plan.steps).map_err(text)?;
    let (together, alone) = plan.steps.split_at(first);
    if first > 0 {
        load_together(&loading, together, &mut spaces).map_err(text)?;
    }
    for space in spaces.iter_mut().flatten() {
        load_shard(&loading, alone, space).map_err(text)?;
    }
    let counted = plan.checked.iter().map(|c| (c.file.clone(), c.ok_up_to)).collect();
    Ok(Held { contents: contents(&spaces), report: plan.report.clone(), counted })
}

fn contents(spaces: &[Option<Box<Keyspace>>]) -> Contents {
    let mut all = Contents::new();
    for space in spaces.iter().flatten() {
        for (db, data) in space.dbs.iter().enumerate() {
            for entry in data.iter() {
                let mut value = Vec::new();
                dump(entry, VERSION_DEFAULT, false, &mut value);
                all.insert((db, entry.key().to_vec()), (value, entry.expire_ms()));
            }
        }
    }
    all
}
