//! What check-rdb says: tables, or one JSON object.

use std::io::{self, Write};
use std::path::Path;

use crate::persist::rdb::{Loaded, RdbError, format};
use crate::tools::check_rdb::stats::{SIZES, SPANS, Stats, Sum};
use crate::tools::json;

/// Longest part of a key that a table shows, in bytes.
const KEY_SHOWN_MAX: usize = 60;

/// What there is to say.
pub struct Found<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its length in bytes.
    pub len: u64,
    /// What came of reading it.
    pub result: &'a Result<Loaded, RdbError>,
    /// What was counted.
    pub stats: &'a Stats,
}

/// A number of bytes for people.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (n.max(1).ilog2() / 10).min(4);
    match unit {
        0 => format!("{n} B"),
        _ => format!("{:.1} {}", n as f64 / (1_u64 << (10 * unit)) as f64, UNITS[unit as usize]),
    }
}

/// A table: its heads, then rows; the first columns are texts, others numbers.
struct Table {
    rows: Vec<Vec<String>>,
    texts: usize,
}

impl Table {
    fn new(texts: usize, heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()], texts }
    }

    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.len() < 2 {
            return Ok(());
        }
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        writeln!(out)?;
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                line.push_str(&match column < self.texts {
                    true => format!("{cell:<width$}  "),
                    false => format!("{cell:>width$}  "),
                });
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl Sum {
    fn cells(&self) -> Vec<String> {
        let Sum { keys, expires, elements, bytes: in_file, memory } = *self;
        let counts = [keys, expires, elements].map(|n| n.to_string());
        counts.into_iter().chain([bytes(in_file), bytes(memory)]).collect()
    }

    fn json(&self) -> String {
        let Sum { keys, expires, elements, bytes, memory } = *self;
        format!(
            "\"keys\":{keys},\"expires\":{expires},\"elements\":{elements},\"file_bytes\":{bytes},\
             \"memory_bytes\":{memory}"
        )
    }
}

const SUMS: [&str; 5] = ["keys", "expiring", "elements", "in the file", "in memory"];

fn sums(first: &[&str], rows: impl Iterator<Item = (Vec<String>, Sum)>) -> Table {
    let mut table = Table::new(first.len(), &[first, &SUMS[..]].concat());
    rows.for_each(|(first, sum)| table.row([first, sum.cells()].concat()));
    table
}

impl Found<'_> {
    /// Says it in lines, as redis-check-rdb does, and tables.
    pub fn tables(&self, out: &mut dyn Write) -> io::Result<()> {
        let stats = self.stats;
        match self.result {
            Ok(loaded) => {
                let end = loaded.end;
                if loaded.version >= format::VERSION_CHECKSUM {
                    writeln!(out, "[offset {end}] {}", checksum(loaded))?;
                }
                writeln!(out, "[offset {end}] \\o/ RDB looks OK! \\o/")?;
                if end < self.len {
                    let behind = self.len - end;
                    writeln!(out, "[offset {end}] {behind} bytes of something else follow")?;
                }
            }
            Err(error) => {
                writeln!(out, "--- RDB ERROR DETECTED ---")?;
                writeln!(out, "[offset {}] {}", error.offset, error.problem)?;
                writeln!(out, "[info] what was read up to there:")?;
            }
        }
        writeln!(out, "[info] {} keys read", stats.total.keys)?;
        writeln!(out, "[info] {} expires", stats.total.expires)?;
        writeln!(out, "[info] {} already expired", stats.spans[0])?;
        if let Ok(loaded) = self.result {
            let kind = if loaded.valkey { "Valkey's RDB" } else { "RDB" };
            writeln!(out, "[info] {kind} version {}", loaded.version)?;
            for (count, what) in [
                (loaded.functions, "libraries of functions"),
                (loaded.module_values, "values of modules passed over"),
                (loaded.module_aux, "other data of modules passed over"),
                (stats.timed_fields, "fields of hashes with an expiry"),
            ] {
                if count > 0 {
                    writeln!(out, "[info] {count} {what}")?;
                }
            }
        }
        for (key, value) in &stats.aux {
            writeln!(out, "[info] {} = '{}'", key.escape_ascii(), value.escape_ascii())?;
        }
        let all = [(vec!["all".to_owned()], stats.total)].into_iter();
        let types = stats.types.iter().map(|(kind, sum)| (vec![kind.to_string()], *sum));
        sums(&["type"], types.chain(all)).write(out)?;
        let layouts = stats.layouts.iter();
        let layouts =
            layouts.map(|(&(kind, layout), sum)| (vec![kind.to_owned(), layout.to_owned()], *sum));
        sums(&["type", "layout in the file"], layouts).write(out)?;
        let dbs = stats.dbs.iter().map(|(db, sum)| (vec![db.to_string()], *sum));
        sums(&["database"], dbs).write(out)?;
        let mut spans = Table::new(1, &["expiry", "keys"]);
        spans.row(vec!["none".to_owned(), (stats.total.keys - stats.total.expires).to_string()]);
        let some = SPANS.iter().zip(stats.spans).filter(|(_, keys)| *keys > 0);
        some.for_each(|((_, name), keys)| spans.row(vec![name.to_string(), keys.to_string()]));
        spans.write(out)?;
        let sizes = stats.sizes.iter().enumerate().filter(|(_, sum)| sum.keys > 0);
        sums(&["size in the file"], sizes.map(|(at, sum)| (vec![size(at)], *sum))).write(out)?;
        self.biggest().write(out)
    }

    fn biggest(&self) -> Table {
        let heads = ["biggest keys", "type", "database", "elements", "longest", "in the file"];
        let mut table = Table::new(2, &[&heads[..], &["in memory"]].concat());
        for big in self.stats.biggest() {
            let shown = &big.key[..big.key.len().min(KEY_SHOWN_MAX)];
            let more = if shown.len() < big.key.len() { "…" } else { "" };
            table.row(vec![
                format!("{}{more}", shown.escape_ascii()),
                format::plain_type_name(big.kind).to_owned(),
                big.db.to_string(),
                big.elements.to_string(),
                bytes(big.longest),
                bytes(big.bytes),
                bytes(big.memory),
            ]);
        }
        table
    }

    /// Says it as one JSON object, on one line.
    pub fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let stats = self.stats;
        out.write_all(b"{\"file\":")?;
        json::bytes(out, self.path.as_os_str().as_encoded_bytes())?;
        write!(out, ",\"bytes\":{},\"ok\":{}", self.len, self.result.is_ok())?;
        match self.result {
            Ok(loaded) => {
                let Loaded { version, valkey, functions, module_values, module_aux, end, .. } =
                    loaded;
                let sum = match loaded.checksum {
                    Some(0) => "\"none\"",
                    Some(_) => "\"ok\"",
                    None => "null",
                };
                write!(out, ",\"error\":null,\"version\":{version},\"valkey\":{valkey}")?;
                write!(out, ",\"checksum\":{sum},\"end\":{end},\"functions\":{functions}")?;
                write!(out, ",\"module_values\":{module_values},\"module_aux\":{module_aux}")?;
            }
            Err(error) => {
                write!(out, ",\"error\":{{\"offset\":{},\"reason\":", error.offset)?;
                json::string(out, &error.problem.to_string())?;
                out.write_all(b"}")?;
            }
        }
        write!(out, ",\"already_expired\":{}", stats.spans[0])?;
        write!(out, ",\"key_bytes\":{},\"timed_fields\":{}", stats.key_bytes, stats.timed_fields)?;
        write!(out, ",{}", stats.total.json())?;
        self.json_sums(out)?;
        out.write_all(b",\"aux\":[")?;
        for (at, (key, value)) in stats.aux.iter().enumerate() {
            out.write_all(if at == 0 { b"[" } else { b",[" })?;
            json::bytes(out, key)?;
            out.write_all(b",")?;
            json::bytes(out, value)?;
            out.write_all(b"]")?;
        }
        out.write_all(b"],\"biggest\":[")?;
        for (at, big) in stats.biggest().into_iter().enumerate() {
            let kind = format::plain_type_name(big.kind);
            let comma = if at == 0 { "" } else { "," };
            write!(out, "{comma}{{\"db\":{},\"type\":\"{kind}\",\"key\":", big.db)?;
            json::bytes(out, &big.key)?;
            write!(out, ",\"elements\":{},\"longest\":{}", big.elements, big.longest)?;
            write!(out, ",\"file_bytes\":{},\"memory_bytes\":{}}}", big.bytes, big.memory)?;
        }
        out.write_all(b"]}\n")
    }

    fn json_sums(&self, out: &mut dyn Write) -> io::Result<()> {
        let stats = self.stats;
        let list = |rows: Vec<String>| format!("[{}]", rows.join(","));
        let types = stats.types.iter();
        let types = types.map(|(kind, sum)| format!("{{\"type\":\"{kind}\",{}}}", sum.json()));
        write!(out, ",\"types\":{}", list(types.collect()))?;
        let layouts = stats.layouts.iter().map(|((kind, layout), sum)| {
            format!("{{\"type\":\"{kind}\",\"layout\":\"{layout}\",{}}}", sum.json())
        });
        write!(out, ",\"layouts\":{}", list(layouts.collect()))?;
        let dbs = stats.dbs.iter().map(|(db, sum)| format!("{{\"db\":{db},{}}}", sum.json()));
        write!(out, ",\"databases\":{}", list(dbs.collect()))?;
        let spans = SPANS.iter().zip(stats.spans);
        let spans = spans.map(|((_, name), keys)| format!("[\"{name}\",{keys}]"));
        write!(out, ",\"expiry\":{}", list(spans.collect()))?;
        let sizes = stats.sizes.iter().enumerate();
        let sizes = sizes.map(|(at, sum)| {
            let below = SIZES.get(at).map_or("null".to_owned(), u64::to_string);
            format!("{{\"below\":{below},{}}}", sum.json())
        });
        write!(out, ",\"sizes\":{}", list(sizes.collect()))?;
        let modules = stats.modules.iter();
        let modules = modules.map(|(name, values)| format!("[\"{name}\",{values}]"));
        write!(out, ",\"modules\":{}", list(modules.collect()))
    }
}

fn checksum(loaded: &Loaded) -> &'static str {
    match loaded.checksum {
        Some(0) => "RDB file was saved with checksum disabled: no check performed",
        _ => "Checksum OK",
    }
}

fn size(at: usize) -> String {
    match SIZES.get(at) {
        Some(&end) => format!("below {}", bytes(end)),
        None => format!("{} and more", bytes(SIZES[SIZES.len() - 1])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (5 << 30, "5.0 GiB"),
            (3 << 40, "3.0 TiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(size(0), "below 64 B");
        assert_eq!(size(SIZES.len()), "16.0 MiB and more");
    }
}
