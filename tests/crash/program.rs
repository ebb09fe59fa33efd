//! What one client does under load, as a function of its seed, and what its keys hold after any
//! number of its operations. No two clients share a key.

use std::collections::BTreeSet;

use ringstone::base::random::Random;

/// Keys of one client.
pub const KEYS: usize = 8;

/// A command's words.
type Args = Vec<Vec<u8>>;

/// One operation: atomic as a whole.
#[derive(Clone, Debug)]
pub enum Op {
    /// `SET key s<number>`
    Set(usize),
    /// `INCR key`; an error on what is no number.
    Incr(usize),
    /// `APPEND key ,s<number>`
    Append(usize),
    /// `DEL key`
    Del(usize),
    /// `MSET` of these keys.
    Mset(Vec<usize>),
    /// `RENAME`; an error without a source.
    Rename(usize, usize),
    /// `MULTI`, these, `EXEC`.
    Transaction(Vec<Op>),
}

/// What a client's keys hold.
pub type Held = [Option<Vec<u8>>; KEYS];

/// A client's program.
#[derive(Clone, Debug)]
pub struct Program {
    names: Vec<String>,
    seed: u64,
}

impl Program {
    /// The program of a client; `prefix` makes its keys its own.
    pub fn new(prefix: &str, seed: u64) -> Program {
        Program { names: (0..KEYS).map(|k| format!("{prefix}:{k}")).collect(), seed }
    }

    /// Names of its keys.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Operation number `number`, from 1 on.
    pub fn op(&self, number: u64) -> Op {
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        draw(&mut random, true)
    }

    /// The commands of an operation.
    pub fn commands(&self, number: u64, op: &Op) -> Vec<Args> {
        let key = |k: &usize| self.names[*k].clone().into_bytes();
        let tag = format!("s{number}").into_bytes();
        let word = |w: &str| w.as_bytes().to_vec();
        match op {
            Op::Set(k) => vec![vec![word("SET"), key(k), tag]],
            Op::Incr(k) => vec![vec![word("INCR"), key(k)]],
            Op::Append(k) => vec![vec![word("APPEND"), key(k), [b",", &tag[..]].concat()]],
            Op::Del(k) => vec![vec![word("DEL"), key(k)]],
            Op::Mset(keys) => {
                let pairs = keys.iter().flat_map(|k| [key(k), tag.clone()]);
                vec![std::iter::once(word("MSET")).chain(pairs).collect()]
            }
            Op::Rename(from, to) => vec![vec![word("RENAME"), key(from), key(to)]],
            Op::Transaction(ops) => {
                let mut all = vec![vec![word("MULTI")]];
                ops.iter().for_each(|op| all.extend(self.commands(number, op)));
                all.push(vec![word("EXEC")]);
                all
            }
        }
    }

    /// Carries an operation out and returns the keys it wrote.
    pub fn apply(&self, held: &mut Held, number: u64, op: &Op) -> BTreeSet<usize> {
        let tag = format!("s{number}").into_bytes();
        match op {
            Op::Set(k) => held[*k] = Some(tag),
            Op::Append(k) => {
                held[*k].get_or_insert_default().extend([b",", &tag[..]].concat());
            }
            Op::Incr(k) => {
                let old = held[*k].as_deref().unwrap_or(b"0");
                let old = std::str::from_utf8(old).ok().and_then(|t| t.parse::<i64>().ok());
                let Some(old) = old else { return BTreeSet::new() };
                held[*k] = Some((old + 1).to_string().into_bytes());
            }
            Op::Del(k) => {
                if held[*k].take().is_none() {
                    return BTreeSet::new();
                }
            }
            Op::Mset(keys) => keys.iter().for_each(|k| held[*k] = Some(tag.clone())),
            Op::Rename(from, to) => {
                let Some(value) = held[*from].take() else { return BTreeSet::new() };
                held[*to] = Some(value);
            }
            Op::Transaction(ops) => {
                return ops.iter().flat_map(|op| self.apply(held, number, op)).collect();
            }
        }
        match op {
            Op::Set(k) | Op::Append(k) | Op::Incr(k) | Op::Del(k) => BTreeSet::from([*k]),
            Op::Mset(keys) => keys.iter().copied().collect(),
            Op::Rename(from, to) => BTreeSet::from([*from, *to]),
            Op::Transaction(_) => unreachable!("returned above"),
        }
    }
}

fn draw(random: &mut Random, outermost: bool) -> Op {
    let key = |random: &mut Random| random.below(KEYS as u64) as usize;
    match random.below(if outermost { 100 } else { 70 }) {
        0..25 => Op::Set(key(random)),
        25..45 => Op::Incr(key(random)),
        45..55 => Op::Append(key(random)),
        55..70 => Op::Del(key(random)),
        70..80 => {
            let first = key(random);
            let step = 1 + random.below(3) as usize;
            Op::Mset(vec![first, (first + step) % KEYS, (first + 2 * step) % KEYS])
        }
        80..88 => {
            let from = key(random);
            Op::Rename(from, (from + 1 + random.below(KEYS as u64 - 1) as usize) % KEYS)
        }
        _ => Op::Transaction((0..2 + random.below(3)).map(|_| draw(random, false)).collect()),
    }
}

/// The number of the operation that last tagged this value, if one did.
pub fn tagged(value: &[u8]) -> Option<u64> {
    let at = value.iter().rposition(|&b| b == b's')?;
    std::str::from_utf8(&value[at + 1..]).ok()?.parse().ok()
}
