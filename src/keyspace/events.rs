//! Keyspace events: what happened to which key, as `notify-keyspace-events` asks for it. Recorded
//! where it happens, handed on and forgotten at the end of each execution (`shard/notify.rs`).
//!
//! A class that nobody wants costs one test of a mask. The keyspaces that a log or an RDB file is
//! replayed into want none, so replay records nothing.
//!
//! Letters of the directive, as Redis 7.2 has them: `K` and `E` choose the channels (by key, by
//! event), the others the classes of [`Class`]; `A` stands for all of these but `n` and `m`. With
//! no channel there is nobody to be told, so nothing is wanted.

use std::cell::Cell;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `g`: commands that act on keys of any type.
    Generic,
    /// `$`
    String,
    /// `l`
    List,
    /// `s`
    Set,
    /// `h`
    Hash,
    /// `z`
    Zset,
    /// `x`: a key's time has come.
    Expired,
    /// `e`: a key had to make room.
    Evicted,
    /// `t`
    Stream,
    /// `d`: of modules, which there are none of.
    Module,
    /// `n`: a key came to be.
    New,
    /// `m`: a key was looked for that is not there.
    Missed,
}

/// Classes with their letters, in the order in which Redis prints them.
const LETTERS: &[(u8, Class)] = &[
    (b'g', Class::Generic),
    (b'$', Class::String),
    (b'l', Class::List),
    (b's', Class::Set),
    (b'h', Class::Hash),
    (b'z', Class::Zset),
    (b'x', Class::Expired),
    (b'e', Class::Evicted),
    (b't', Class::Stream),
    (b'd', Class::Module),
    (b'n', Class::New),
    (b'm', Class::Missed),
];
/// How many of [`LETTERS`] `A` stands for: the first ones.
const ALL: usize = 10;

/// Which channels, then which classes: bits in the order of [`Class`].
const BY_KEY: u16 = 1 << 14;
const BY_EVENT: u16 = 1 << 15;

/// A value of `notify-keyspace-events`: classes and channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted(u16);

impl Wanted {
    /// Reads letters in any order; `None` when one is unknown.
    pub fn parse(letters: &[u8]) -> Option<Self> {
        let mut bits = 0;
        for letter in letters {
            bits |= match letter {
                b'A' => (1 << ALL) - 1,
                b'K' => BY_KEY,
                b'E' => BY_EVENT,
                other => 1 << LETTERS.iter().find(|(known, _)| known == other)?.1 as u16,
            };
        }
        Some(Wanted(bits))
    }

    fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }

    /// The letters in Redis' order. Redis itself leaves `n` out behind `A`; only with `told_all`
    /// is it there, so that what is written into a file can be read again.
    pub fn letters(self, told_all: bool) -> String {
        let mut out = String::new();
        let all = self.has((1 << ALL) - 1);
        if all {
            out.push('A');
        }
        for (letter, class) in LETTERS {
            let hidden = match class {
                Class::New => all && !told_all,
                Class::Missed => true,
                _ => all,
            };
            if !hidden && self.has(1 << *class as u16) {
                out.push(char::from(*letter));
            }
        }
        for (bit, letter) in [(BY_KEY, 'K'), (BY_EVENT, 'E'), (1 << Class::Missed as u16, 'm')] {
            if self.has(bit) {
                out.push(letter);
            }
        }
        out
    }
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place among all events of this thread: what several keyspaces recorded for one command
    /// is put in order by it.
    order: u64,
    /// The database.
    pub db: usize,
    /// What it is about.
    pub class: Class,
    /// Redis' name for it.
    pub name: &'static str,
    /// The key.
    pub key: Box<[u8]>,
}

/// Most events that one execution may leave: more than any request has arguments. What a command
/// leaves beyond that (SORT that looks for millions of keys in vain) is told to nobody.
const MOST: usize = 4 << 20;
/// Events for which room is kept between executions.
const KEPT: usize = 256;

thread_local! {
    /// A number that no event of this thread has had. Keyspaces are at hand of one thread at a
    /// time, and leave nothing recorded when they go.
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// The events of one keyspace that have not been handed on yet.
#[derive(Debug, Default)]
pub struct Events {
    /// Bits of the classes that somebody wants.
    mask: u16,
    list: Vec<Event>,
}

impl Events {
    /// From now on these are recorded.
    pub fn set_wanted(&mut self, wanted: Wanted) {
        let told = wanted.0 & (BY_KEY | BY_EVENT) != 0;
        self.mask = if told { wanted.0 & !(BY_KEY | BY_EVENT) } else { 0 };
    }

    /// Whether any class is wanted.
    #[inline]
    pub fn any_wanted(&self) -> bool {
        self.mask != 0
    }

    /// Records an event if its class is wanted.
    #[inline]
    pub fn add(&mut self, db: usize, class: Class, name: &'static str, key: &[u8]) {
        if self.mask >> class as u16 & 1 == 1 {
            self.push(db, class, name, key);
        }
    }

    #[cold]
    fn push(&mut self, db: usize, class: Class, name: &'static str, key: &[u8]) {
        if self.list.len() < MOST {
            let order = NEXT.get();
            NEXT.set(order + 1);
            self.list.push(Event { order, db, class, name, key: key.into() });
        }
    }

    /// Forgets that `key` is new, as far as that was recorded: it has taken another one's place.
    pub fn take_back_new(&mut self, db: usize, key: &[u8]) {
        let is_it =
            |event: &Event| event.class == Class::New && event.db == db && *event.key == *key;
        if let Some(at) = self.list.iter().rposition(is_it) {
            self.list.remove(at);
        }
    }

    /// True when everything has been handed on.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Moves the events to the end of `to`.
    pub fn move_to(&mut self, to: &mut Vec<Event>) {
        to.append(&mut self.list);
        self.list.shrink_to(KEPT);
    }

    /// Bytes of heap memory held between executions.
    pub fn memory(&self) -> usize {
        self.list.capacity() * size_of::<Event>()
    }
}

/// Puts what several keyspaces recorded in the order in which it happened.
pub fn put_in_order(events: &mut [Event]) {
    events.sort_unstable_by_key(|event| event.order);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_printed_as_redis_prints_them() {
        // What redis-server 7.0.15 answers to CONFIG GET after CONFIG SET.
        for (set, get) in [
            ("KEA", "AKE"),
            ("KEAn", "AKE"),
            ("AKEmn", "AKEm"),
            ("g$lshzxetdn", "A"),
            ("KExg$", "g$xKE"),
            ("nK", "nK"),
            ("mEtn", "tnEm"),
            ("A", "A"),
            ("", ""),
        ] {
            let wanted = Wanted::parse(set.as_bytes()).unwrap();
            assert_eq!(wanted.letters(false), get, "{set}");
            assert_eq!(Wanted::parse(wanted.letters(true).as_bytes()), Some(wanted), "{set}");
        }
        for bad in ["xyz", "KEAo", "c", "a", " ", "K E", "\u{e9}"] {
            assert_eq!(Wanted::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_recorded_and_without_a_channel_nothing() {
        for (letters, names) in [
            ("Kg", &["del"][..]),
            ("E$", &["set"]),
            ("KA", &["del", "set"]),
            ("En", &["new"]),
            ("A", &[]),
            ("", &[]),
            ("KE", &[]),
        ] {
            let mut events = Events::default();
            events.set_wanted(Wanted::parse(letters.as_bytes()).unwrap());
            events.add(0, Class::Generic, "del", b"a");
            events.add(0, Class::New, "new", b"a");
            events.add(3, Class::String, "set", b"a");
            assert_eq!(events.is_empty(), names.is_empty(), "{letters}");
            let mut taken = Vec::new();
            events.move_to(&mut taken);
            assert_eq!(taken.iter().map(|e| e.name).collect::<Vec<_>>(), names, "{letters}");
            assert!(events.is_empty());
        }
    }

    #[test]
    fn what_is_recorded_is_bounded_and_room_for_much_is_given_back() {
        let mut events = Events::default();
        events.set_wanted(Wanted::parse(b"Km").unwrap());
        for _ in 0..MOST + 10 {
            events.add(0, Class::Missed, "keymiss", b"");
        }
        let mut taken = Vec::new();
        events.move_to(&mut taken);
        assert_eq!(taken.len(), MOST);
        assert!(events.memory() <= KEPT * size_of::<Event>());
    }
}
