//! An RDB file as lines of JSON, one for each key.
//!
//! ```text
//! {"db":0,"type":"string","key":"k","expire_ms":null,"value":"text"}
//! ```
//!
//! `expire_ms` is the expiry in Unix milliseconds, or null; `idle_s` and `freq` follow it where the
//! file has them. A value is, by type:
//!
//! | type | value |
//! |---|---|
//! | string | text |
//! | list, set | `[text, …]` |
//! | hash | `[[field, value], …]`; with an expiry of its own `[field, value, expire_ms]` |
//! | zset | `[[member, score], …]`; a score is a number, or `"inf"` or `"-inf"` |
//! | stream | an object, see below |
//!
//! ```text
//! {"entries": [[id, [field, value, …]], …],
//!  "length", "last_id", "max_deleted_id", "entries_added",
//!  "groups": [{"name", "last_id", "entries_read",
//!              "consumers": [{"name", "seen_ms", "active_ms",
//!                             "pending": [[id, time_ms, count], …]}, …]}, …]}
//! ```
//!
//! Texts are written as in [`crate::tools::json`]. A library of functions is a line
//! `{"function": text}`.

use std::io::{self, Write};

use crate::base::double;
use crate::persist::rdb::{Head, Piece, Problem, Visitor, format};
use crate::tools::convert::Converter;
use crate::tools::json::{self, Base64, TEXT_MAX};

/// See the file's opening.
pub struct Lines<W: Write> {
    out: W,
    /// Whether the line of the key has begun.
    begun: bool,
    /// Whether something stands in the array that is open.
    some: bool,
    /// A string that is short enough to become text.
    text: Option<Vec<u8>>,
    /// One that is not.
    coder: Option<Base64>,
    place: Place,
}

/// Where in a stream's value the line is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Entries,
    Groups,
    Consumers,
    Pending,
}

impl<W: Write> Lines<W> {
    /// Lines go to `out`.
    pub fn new(out: W) -> Lines<W> {
        let place = Place::Entries;
        Lines { out, begun: false, some: false, text: None, coder: None, place }
    }

    fn begin(&mut self, head: &Head) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        self.some = false;
        let kind = format::plain_type_name(head.kind);
        write!(self.out, "{{\"db\":{},\"type\":\"{kind}\",\"key\":", head.db)?;
        json::bytes(&mut self.out, &head.key)?;
        match head.expire_ms {
            Some(at) => write!(self.out, ",\"expire_ms\":{at}")?,
            None => self.out.write_all(b",\"expire_ms\":null")?,
        }
        if let Some(idle) = head.usage.idle_s {
            write!(self.out, ",\"idle_s\":{idle}")?;
        }
        if let Some(freq) = head.usage.freq {
            write!(self.out, ",\"freq\":{freq}")?;
        }
        self.out.write_all(b",\"value\":")
    }

    /// Begins an element of an array, or the array with its first.
    fn element(&mut self, head: &Head) -> io::Result<()> {
        let first = !self.begun;
        self.begin(head)?;
        self.out.write_all(if first { b"[" } else { b"," })
    }

    fn comma(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.some, true) { self.out.write_all(b",") } else { Ok(()) }
    }

    fn one(&mut self, head: &Head, piece: Piece<'_>) -> io::Result<()> {
        match piece {
            Piece::Text { len } => {
                self.begin(head)?;
                if len <= TEXT_MAX {
                    self.text = Some(Vec::new());
                } else {
                    self.coder = Some(Base64::begin(&mut self.out)?);
                }
                Ok(())
            }
            Piece::Part(part) => {
                if let Some(text) = &mut self.text {
                    text.extend_from_slice(part);
                } else if let Some(coder) = &mut self.coder {
                    coder.feed(&mut self.out, part)?;
                }
                Ok(())
            }
            Piece::Element(text) | Piece::Member(text) => {
                self.element(head)?;
                json::bytes(&mut self.out, text)
            }
            Piece::Scored(member, score) => {
                self.element(head)?;
                self.out.write_all(b"[")?;
                json::bytes(&mut self.out, member)?;
                let text = double::text(score);
                let quote = if score.is_finite() { "" } else { "\"" };
                write!(self.out, ",{quote}{}{quote}]", text.as_str())
            }
            Piece::Field { field, value, at } => {
                self.element(head)?;
                self.out.write_all(b"[")?;
                json::bytes(&mut self.out, field)?;
                self.out.write_all(b",")?;
                json::bytes(&mut self.out, value)?;
                match at {
                    Some(at) => write!(self.out, ",{at}]"),
                    None => self.out.write_all(b"]"),
                }
            }
            piece => self.of_stream(head, piece),
        }
    }

    /// The pieces of a stream; whole nodes are not looked at.
    fn of_stream(&mut self, head: &Head, piece: Piece<'_>) -> io::Result<()> {
        match piece {
            Piece::Stream => {
                self.begin(head)?;
                self.place = Place::Entries;
                self.out.write_all(b"{\"entries\":[")
            }
            Piece::Entry(entry) => {
                self.comma()?;
                write!(self.out, "[\"{}\",[", entry.id)?;
                let mut digits = itoa::Buffer::new();
                for (at, (field, value)) in entry.pairs().enumerate() {
                    self.out.write_all(if at == 0 { b"" } else { b"," })?;
                    json::bytes(&mut self.out, field.text(&mut digits))?;
                    self.out.write_all(b",")?;
                    json::bytes(&mut self.out, value.text(&mut digits))?;
                }
                self.out.write_all(b"]]")
            }
            Piece::StreamIds { len, last, max_deleted, added } => {
                (self.place, self.some) = (Place::Groups, false);
                write!(self.out, "],\"length\":{len},\"last_id\":\"{last}\",")?;
                write!(
                    self.out,
                    "\"max_deleted_id\":\"{max_deleted}\",\"entries_added\":{added},"
                )?;
                self.out.write_all(b"\"groups\":[")
            }
            Piece::Group { name, last, read } => {
                self.close_to(Place::Groups)?;
                self.comma()?;
                self.out.write_all(b"{\"name\":")?;
                json::bytes(&mut self.out, name)?;
                (self.place, self.some) = (Place::Consumers, false);
                write!(self.out, ",\"last_id\":\"{last}\",\"entries_read\":{read},\"consumers\":[")
            }
            Piece::Consumer { name, seen, active } => {
                self.close_to(Place::Consumers)?;
                self.comma()?;
                self.out.write_all(b"{\"name\":")?;
                json::bytes(&mut self.out, name)?;
                (self.place, self.some) = (Place::Pending, false);
                write!(self.out, ",\"seen_ms\":{seen},\"active_ms\":{active},\"pending\":[")
            }
            Piece::Pending { id, time, count } => {
                self.comma()?;
                write!(self.out, "[\"{id}\",{time},{count}]")
            }
            _ => Ok(()),
        }
    }

    /// Closes what is open inside of `place`.
    fn close_to(&mut self, place: Place) -> io::Result<()> {
        if self.place == Place::Pending && place != Place::Pending {
            self.out.write_all(b"]}")?;
            (self.place, self.some) = (Place::Consumers, true);
        }
        if self.place == Place::Consumers && place == Place::Groups {
            self.out.write_all(b"]}")?;
            (self.place, self.some) = (Place::Groups, true);
        }
        Ok(())
    }

    fn line_ends(&mut self, head: &Head) -> io::Result<()> {
        match format::plain_type_name(head.kind) {
            "string" => {
                if let Some(text) = self.text.take() {
                    json::bytes(&mut self.out, &text)?;
                } else if let Some(coder) = self.coder.take() {
                    coder.end(&mut self.out)?;
                }
            }
            "stream" => {
                self.close_to(Place::Groups)?;
                self.out.write_all(b"]}")?;
            }
            _ => self.out.write_all(b"]")?,
        }
        self.begun = false;
        self.out.write_all(b"}\n")
    }
}

impl<W: Write> Visitor for Lines<W> {
    fn wants(&mut self, _: &Head) -> bool {
        true
    }

    fn piece(&mut self, head: &Head, piece: Piece<'_>) -> Result<(), Problem> {
        self.one(head, piece).map_err(Problem::Output)
    }

    fn end(&mut self, head: &Head, _: u64, _: u64) -> Result<(), Problem> {
        self.line_ends(head).map_err(Problem::Output)
    }

    fn function(&mut self, source: &[u8]) -> Result<(), Problem> {
        let mut line = || {
            self.out.write_all(b"{\"function\":")?;
            json::bytes(&mut self.out, source)?;
            self.out.write_all(b"}\n")
        };
        line().map_err(Problem::Output)
    }
}

impl<W: Write> Converter for Lines<W> {
    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
