//! An RDB file as the commands that make the same data: what `ringstone convert` and the base of a
//! log without `aof-use-rdb-preamble` consist of. Elements go 64 to a command, fewer if they are
//! long. As in Redis some things cannot be said: how lately a key or a stream's consumer was used,
//! and what is pending in a group though its entry has been removed.

use std::io::{self, Write};

use crate::base::double;
use crate::persist::rdb::{Head, Piece, Problem, Visitor};
use crate::value::stream::Id;

/// Elements of one command.
const ITEMS: u64 = 64;
/// Bytes of elements that are gathered for one command, about.
const GATHERED: usize = 1 << 16;

/// See the file's opening.
pub struct Commands<W: Write> {
    out: W,
    db: Option<usize>,
    /// The command that is being gathered.
    verb: &'static str,
    /// Its elements, each as a bulk.
    gathered: Vec<u8>,
    items: u64,
    /// How many bulks they are.
    bulks: u64,
    group: Vec<u8>,
    consumer: Vec<u8>,
}

/// Appends a bulk.
fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'$');
    out.extend_from_slice(itoa::Buffer::new().format(text.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

impl<W: Write> Commands<W> {
    /// Commands go to `out`.
    pub fn new(out: W) -> Commands<W> {
        Commands {
            out,
            db: None,
            verb: "",
            gathered: Vec::new(),
            items: 0,
            bulks: 0,
            group: Vec::new(),
            consumer: Vec::new(),
        }
    }

    /// Everything was read: gives back where the commands went.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// Hands on what is held back.
    pub fn flush_out(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn command(&mut self, args: &[&[u8]]) -> io::Result<()> {
        let mut text = format!("*{}\r\n", args.len()).into_bytes();
        args.iter().for_each(|arg| bulk(&mut text, arg));
        self.out.write_all(&text)
    }

    /// Says which database the key is in.
    fn select(&mut self, head: &Head) -> io::Result<()> {
        if self.db == Some(head.db) {
            return Ok(());
        }
        self.db = Some(head.db);
        self.command(&[b"SELECT", head.db.to_string().as_bytes()])
    }

    /// Adds an element to the command that is being gathered.
    fn gather(&mut self, head: &Head, verb: &'static str, parts: &[&[u8]]) -> io::Result<()> {
        self.verb = verb;
        parts.iter().for_each(|part| bulk(&mut self.gathered, part));
        self.items += 1;
        self.bulks += parts.len() as u64;
        if self.items == ITEMS || self.gathered.len() >= GATHERED {
            self.flush(head)?;
        }
        Ok(())
    }

    fn flush(&mut self, head: &Head) -> io::Result<()> {
        if self.items == 0 {
            return Ok(());
        }
        let mut text = format!("*{}\r\n", self.bulks + 2).into_bytes();
        bulk(&mut text, self.verb.as_bytes());
        bulk(&mut text, &head.key);
        self.out.write_all(&text)?;
        self.out.write_all(&self.gathered)?;
        self.gathered.clear();
        (self.items, self.bulks) = (0, 0);
        Ok(())
    }

    fn one(&mut self, head: &Head, piece: Piece<'_>) -> io::Result<()> {
        match piece {
            Piece::Text { len } => {
                self.select(head)?;
                let mut text = b"*3\r\n$3\r\nSET\r\n".to_vec();
                bulk(&mut text, &head.key);
                text.extend_from_slice(format!("${len}\r\n").as_bytes());
                self.verb = "SET";
                self.out.write_all(&text)
            }
            Piece::Part(part) => self.out.write_all(part),
            Piece::Element(text) => {
                self.select(head)?;
                self.gather(head, "RPUSH", &[text])
            }
            Piece::Member(member) => {
                self.select(head)?;
                self.gather(head, "SADD", &[member])
            }
            Piece::Scored(member, score) => {
                self.select(head)?;
                self.gather(head, "ZADD", &[double::text(score).as_bytes(), member])
            }
            Piece::Field { field, value, at } => {
                self.select(head)?;
                self.gather(head, "HSET", &[field, value])?;
                let Some(at) = at else { return Ok(()) };
                self.flush(head)?;
                let at = at.to_string();
                let fields: [&[u8]; 3] = [b"FIELDS", b"1", field];
                self.command(
                    &[&[b"HPEXPIREAT", &head.key[..], at.as_bytes()], &fields[..]].concat(),
                )
            }
            piece => self.of_stream(head, piece),
        }
    }

    fn of_stream(&mut self, head: &Head, piece: Piece<'_>) -> io::Result<()> {
        let key = &head.key[..];
        match piece {
            Piece::Entry(entry) => {
                let mut text = format!("*{}\r\n", 3 + 2 * entry.len()).into_bytes();
                [b"XADD", key, &entry.id.text()].into_iter().for_each(|arg| bulk(&mut text, arg));
                let mut digits = itoa::Buffer::new();
                for (field, value) in entry.pairs() {
                    bulk(&mut text, field.text(&mut digits));
                    bulk(&mut text, value.text(&mut digits));
                }
                self.out.write_all(&text)
            }
            Piece::StreamIds { len, last, max_deleted, added } => {
                if len == 0 {
                    // An entry that goes at once: the only way to a stream that holds nothing.
                    let id = if last.is_zero() { Id::new(0, 1) } else { last };
                    self.command(&[b"XADD", key, b"MAXLEN", b"0", &id.text(), b"x", b"y"])?;
                }
                let added = added.to_string();
                let (last, deleted) = (last.text(), max_deleted.text());
                let added: [&[u8]; 2] = [b"ENTRIESADDED", added.as_bytes()];
                let deleted: [&[u8]; 2] = [b"MAXDELETEDID", &deleted];
                self.command(&[&[b"XSETID", key, &last], &added[..], &deleted[..]].concat())
            }
            Piece::Group { name, last, read } => {
                self.group = name.to_vec();
                let read = read.to_string();
                let read: [&[u8]; 2] = [b"ENTRIESREAD", read.as_bytes()];
                let create: [&[u8]; 5] = [b"XGROUP", b"CREATE", key, name, &last.text()];
                self.command(&[&create[..], &read[..]].concat())
            }
            Piece::Consumer { name, .. } => {
                self.consumer = name.to_vec();
                let group = std::mem::take(&mut self.group);
                let done = self.command(&[b"XGROUP", b"CREATECONSUMER", key, &group, name]);
                self.group = group;
                done
            }
            Piece::Pending { id, time, count } => {
                let (time, count) = (time.to_string(), count.to_string());
                let (group, consumer) = (self.group.clone(), self.consumer.clone());
                let claim: [&[u8]; 6] = [b"XCLAIM", key, &group, &consumer, b"0", &id.text()];
                let how: [&[u8]; 4] = [b"TIME", time.as_bytes(), b"RETRYCOUNT", count.as_bytes()];
                self.command(&[&claim[..], &how[..], &[b"JUSTID", b"FORCE"]].concat())
            }
            Piece::Stream => self.select(head),
            _ => Ok(()),
        }
    }
}

impl<W: Write> Visitor for Commands<W> {
    fn wants(&mut self, _: &Head) -> bool {
        true
    }

    fn piece(&mut self, head: &Head, piece: Piece<'_>) -> Result<(), Problem> {
        self.one(head, piece).map_err(Problem::Output)
    }

    fn end(&mut self, head: &Head, _: u64, _: u64) -> Result<(), Problem> {
        let mut end = || {
            self.flush(head)?;
            if self.verb == "SET" {
                self.out.write_all(b"\r\n")?;
            }
            self.verb = "";
            let Some(at) = head.expire_ms else { return Ok(()) };
            self.command(&[b"PEXPIREAT", &head.key, at.to_string().as_bytes()])
        };
        end().map_err(Problem::Output)
    }

    fn function(&mut self, source: &[u8]) -> Result<(), Problem> {
        self.command(&[b"FUNCTION", b"LOAD", source]).map_err(Problem::Output)
    }
}
