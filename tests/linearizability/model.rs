//! What one atomic operation does to a store of few keys: the sequential meaning that histories
//! are held against. Strings are interned, so that a state is a few small numbers.

use std::collections::HashMap;
use std::rc::Rc;

/// Keys of a history.
pub const KEYS: usize = 5;
/// Clients of a history.
pub const CLIENTS: usize = 8;

/// An interned string; 0 is the absent one.
pub type Text = u32;

/// An operation of one client, atomic as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `GET key`
    Get(usize),
    /// `SET key value`
    Set(usize, Text),
    /// `SET key value GET`
    Swap(usize, Text),
    /// `INCR key`
    Incr(usize),
    /// `APPEND key value`
    Append(usize, Text),
    /// `MSET key value …`
    Mset(Vec<(usize, Text)>),
    /// `MGET key …`
    Mget(Vec<usize>),
    /// `RENAME key key`
    Rename(usize, usize),
    /// `DEL key`
    Del(usize),
    /// `WATCH key …`, as a set of bits.
    Watch(u8),
    /// `MULTI`, these, `EXEC`.
    Transaction(Vec<Op>),
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `+OK`
    Ok,
    /// An integer.
    Int(i64),
    /// A string, or 0 for none.
    Text(Text),
    /// Several strings.
    Texts(Vec<Text>),
    /// An error, whatever it says.
    Error,
    /// EXEC was refused.
    Refused,
    /// EXEC's answers.
    All(Vec<Answer>),
}

/// The store between two operations, and what each client's WATCH has seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct State {
    /// The keys' strings.
    pub keys: [Text; KEYS],
    /// Keys each client watches, as bits.
    watched: [u8; CLIENTS],
    /// Clients (bits) one of whose watched keys has been written since.
    touched: u8,
}

/// Strings by number.
#[derive(Debug)]
pub struct Texts {
    by_text: HashMap<Rc<[u8]>, Text>,
    all: Vec<Rc<[u8]>>,
    joined: HashMap<(Text, Text), Text>,
}

impl Default for Texts {
    fn default() -> Self {
        // Number 0 is no string: it stands for an absent key.
        Texts { by_text: HashMap::new(), all: vec![Rc::from(*b"")], joined: HashMap::new() }
    }
}

impl Texts {
    /// The number of a string.
    pub fn intern(&mut self, text: &[u8]) -> Text {
        if let Some(&known) = self.by_text.get(text) {
            return known;
        }
        let (text, number) = (Rc::<[u8]>::from(text), self.all.len() as Text);
        self.all.push(Rc::clone(&text));
        self.by_text.insert(text, number);
        number
    }

    /// The string of a number.
    pub fn get(&self, text: Text) -> &[u8] {
        &self.all[text as usize]
    }

    fn join(&mut self, left: Text, right: Text) -> Text {
        if let Some(&known) = self.joined.get(&(left, right)) {
            return known;
        }
        let both = [self.get(left), self.get(right)].concat();
        let number = self.intern(&both);
        self.joined.insert((left, right), number);
        number
    }
}

impl State {
    /// Whether a key that this client watches has been written since.
    pub fn is_touched(&self, client: usize) -> bool {
        self.touched & (1 << client) != 0
    }

    fn write(&mut self, key: usize, text: Text) {
        self.keys[key] = text;
        for (client, watched) in self.watched.iter().enumerate() {
            if watched & (1 << key) != 0 {
                self.touched |= 1 << client;
            }
        }
    }

    /// Carries `op` out for `client` and says what it answers.
    pub fn apply(&mut self, client: usize, op: &Op, texts: &mut Texts) -> Answer {
        match op {
            Op::Get(key) => Answer::Text(self.keys[*key]),
            Op::Set(key, text) => {
                self.write(*key, *text);
                Answer::Ok
            }
            Op::Swap(key, text) => {
                let old = self.keys[*key];
                self.write(*key, *text);
                Answer::Text(old)
            }
            Op::Incr(key) => self.incr(*key, texts),
            Op::Append(key, text) => {
                let joined = match self.keys[*key] {
                    0 => *text,
                    old => texts.join(old, *text),
                };
                self.write(*key, joined);
                Answer::Int(texts.get(joined).len() as i64)
            }
            Op::Mset(pairs) => {
                pairs.iter().for_each(|&(key, text)| self.write(key, text));
                Answer::Ok
            }
            Op::Mget(keys) => Answer::Texts(keys.iter().map(|&k| self.keys[k]).collect()),
            Op::Rename(from, to) => self.rename(*from, *to),
            Op::Del(key) => {
                let there = self.keys[*key] != 0;
                if there {
                    self.write(*key, 0);
                }
                Answer::Int(i64::from(there))
            }
            Op::Watch(keys) => {
                self.watched[client] |= keys;
                Answer::Ok
            }
            Op::Transaction(ops) => self.transaction(client, ops, texts),
        }
    }

    fn incr(&mut self, key: usize, texts: &mut Texts) -> Answer {
        let old = match self.keys[key] {
            0 => 0,
            text => match std::str::from_utf8(texts.get(text)).ok().and_then(|t| t.parse().ok()) {
                Some(number) => number,
                None => return Answer::Error,
            },
        };
        let new: i64 = old + 1;
        let text = texts.intern(new.to_string().as_bytes());
        self.write(key, text);
        Answer::Int(new)
    }

    fn rename(&mut self, from: usize, to: usize) -> Answer {
        let text = self.keys[from];
        if text == 0 {
            return Answer::Error;
        }
        if from != to {
            self.write(from, 0);
            self.write(to, text);
        }
        Answer::Ok
    }

    fn transaction(&mut self, client: usize, ops: &[Op], texts: &mut Texts) -> Answer {
        let refused = self.touched & (1 << client) != 0;
        self.watched[client] = 0;
        self.touched &= !(1 << client);
        if refused {
            return Answer::Refused;
        }
        Answer::All(ops.iter().map(|op| self.apply(client, op, texts)).collect())
    }
}
