//! Arguments of the commands on bits, bit fields and HyperLogLogs.
//!
//! HyperLogLogs live under keys of their own, so that most requests meet one. Other commands on
//! strings change at most their header, or put something broken in their place: both servers judge
//! the same garbage then.

use super::generate::{Args, Gen};

/// Keys that mostly hold HyperLogLogs.
pub const SKETCHES: [&[u8]; 5] = [b"pf1", b"pf2", b"{t}pf", b"{u}pf", b"pf3"];

/// Bodies behind a header that says sparse: first what makes sense, then what does not.
const BODIES: [&[u8]; 12] = [
    b"\x7f\xff",
    b"\x7f\xff",
    b"\x5c\xb3\x90\x63\x4a",
    b"\x8f\x8b\x8b\x87\x80\x40\x10\x3f\x3f\x00\x7e\xff\xac\x3f\x1b",
    b"\x7f\xef\x84\x84\x84\x84\x84\x84\x84\x84\x84\x84\x84\x84\x84\x84\x84\x84",
    b"",
    b"\x7f\xfe",
    b"\x7f\xff\x00",
    b"\x00",
    b"\xff",
    b"\x5c\xb4",
    b"\x40\x00\x80\x40\x00\x7f\xff",
];

/// Those that make sense.
const SOUND: usize = 5;

impl Gen {
    /// A key that mostly holds a HyperLogLog.
    pub fn sketch(&mut self) -> Vec<u8> {
        if self.chance(96) { self.pick(&SKETCHES).to_vec() } else { self.key() }
    }

    fn sketches(&mut self, least: u64, most: u64) -> Args {
        let n = least + self.below(most - least + 1);
        (0..n).map(|_| self.sketch()).collect()
    }

    /// A key that holds anything.
    fn bit_key(&mut self) -> Vec<u8> {
        match self.below(100) {
            0..8 => self.big_key(),
            8..14 => self.sketch(),
            _ => self.key(),
        }
    }

    fn bit_offset(&mut self) -> Vec<u8> {
        match self.below(100) {
            0..90 => self.below(600).to_string().into(),
            90..94 => self.word(&["4294967296", "4294967295x", "-1", "#3", "34359738368"]),
            _ => self.garbage(),
        }
    }

    fn bit_range(&mut self) -> Args {
        match self.below(10) {
            0..7 => vec![self.index(), self.index()],
            7 => vec![(self.below(900) as i64 - 450).to_string().into(), self.index()],
            8 => vec![self.word(&["-9223372036854775808", "0", "-1"]), self.garbage()],
            _ => vec![self.index()],
        }
    }

    fn field_type(&mut self) -> Vec<u8> {
        let sign = self.pick(&["u", "i"]);
        match self.below(20) {
            0..10 => format!("{sign}{}", self.pick(&[1, 2, 5, 7, 8, 9, 16, 31, 32, 33])).into(),
            10..19 => format!("{sign}{}", 1 + self.below(63)).into(),
            _ => self.word(&["u64", "i64", "i65", "u0", "U8", "8", "i-1", "i08", ""]),
        }
    }

    fn field_offset(&mut self) -> Vec<u8> {
        match self.below(20) {
            0..12 => self.below(600).to_string().into(),
            12..18 => format!("#{}", self.below(12)).into(),
            _ => self.word(&["#", "##1", "-1", "#-1", "4294967296", "#4294967296", "x", "1.5"]),
        }
    }

    fn element(&mut self) -> Vec<u8> {
        match self.below(10) {
            0..8 => format!("e{}", self.below(200)).into(),
            _ => self.value(),
        }
    }
}

/// SETBIT.
pub fn setbit(g: &mut Gen) -> Args {
    let bit = g.word(&["0", "0", "0", "0", "1", "1", "1", "1", "2", "x", "-1", "4294967297"]);
    vec![if g.chance(6) { g.big_key() } else { g.key() }, g.bit_offset(), bit]
}

/// GETBIT.
pub fn getbit(g: &mut Gen) -> Args {
    vec![g.bit_key(), g.bit_offset()]
}

/// BITCOUNT.
pub fn bitcount(g: &mut Gen) -> Args {
    let mut args = vec![g.bit_key()];
    if g.chance(70) {
        args.extend(g.bit_range());
        if g.chance(50) {
            args.push(g.word(&["BIT", "BIT", "BIT", "BYTE", "BYTE", "FOO"]));
        }
    }
    args
}

/// BITPOS.
pub fn bitpos(g: &mut Gen) -> Args {
    let mut args = vec![g.bit_key(), g.word(&["0", "0", "0", "0", "1", "1", "1", "1", "2", "x"])];
    if g.chance(70) {
        args.extend(g.bit_range());
        if g.chance(50) {
            args.push(g.word(&["BIT", "BIT", "BIT", "BYTE", "BYTE", "FOO"]));
        }
    }
    args
}

/// BITOP.
pub fn bitop(g: &mut Gen) -> Args {
    let op = g.word(&["AND", "OR", "XOR", "XOR", "NOT", "NOT", "FOO"]);
    let sources = if op.eq_ignore_ascii_case(b"NOT") && g.chance(90) { 1 } else { 4 };
    if g.chance(5) {
        return vec![op, g.big_key(), g.big_key(), g.sketch()];
    }
    let mut args = vec![op, g.key()];
    args.extend((0..1 + g.below(sources)).map(|_| g.key()));
    args
}

/// BITFIELD, and BITFIELD_RO when it is to read only.
pub fn bitfield(g: &mut Gen, reads: bool) -> Args {
    let mut args = vec![if reads { g.bit_key() } else { g.key() }];
    for _ in 0..g.below(5) {
        let kind = if reads && g.chance(95) { 0 } else { g.below(20) };
        match kind {
            0..6 => args.extend([g.word(&["GET"]), g.field_type(), g.field_offset()]),
            6..16 => {
                let what = g.word(&["SET", "INCRBY"]);
                args.extend([what, g.field_type(), g.field_offset(), g.integer()]);
            }
            // Redis lengthens the string for what then fails, and does not log it.
            16..19 if g.is_for_the_log() => {
                args.extend([g.word(&["OVERFLOW"]), g.word(&["WRAP", "SAT", "FOO"])]);
            }
            16..19 => args.extend([
                g.word(&["OVERFLOW"]),
                g.word(&["WRAP", "WRAP", "SAT", "SAT", "FAIL", "FAIL", "FOO"]),
            ]),
            _ => args.push(g.word(&["GET", "FOO", "OVERFLOW", "SET"])),
        }
    }
    args
}

/// PFADD.
pub fn pfadd(g: &mut Gen) -> Args {
    let mut args = vec![g.sketch()];
    let n = match g.below(40) {
        0..2 => 0,
        2..30 => 1 + g.below(4),
        30..38 => 1 + g.below(60),
        _ => {
            // Enough to make it dense after some of them.
            let from = g.below(20) * 400;
            args.extend((from..from + 400).map(|n| format!("many{n}").into()));
            return args;
        }
    };
    args.extend((0..n).map(|_| g.element()));
    args
}

/// PFCOUNT.
pub fn pfcount(g: &mut Gen) -> Args {
    if g.chance(60) { vec![g.sketch()] } else { g.sketches(1, 4) }
}

/// PFMERGE.
pub fn pfmerge(g: &mut Gen) -> Args {
    g.sketches(1, 4)
}

/// PFDEBUG.
pub fn pfdebug(g: &mut Gen) -> Args {
    let what = g.word(&["ENCODING", "ENCODING", "DECODE", "DECODE", "GETREG", "TODENSE", "FOO"]);
    vec![what, g.sketch()]
}

/// A string that may be a HyperLogLog, made elsewhere.
pub fn foreign(g: &mut Gen) -> Vec<u8> {
    let encoding = g.pick(&[0, 1, 1, 1, 1, 1, 1, 2]);
    let cached = g.pick(&[0_u64, 0, 7, 1 << 63, 1 << 63, u64::MAX >> 1]);
    let mut value = b"HYLL".to_vec();
    value.extend([encoding, 0, 0, 0]);
    value.extend(cached.to_le_bytes());
    match (encoding, g.below(6)) {
        (0, 0..3) => value.resize(12_304, g.pick(&[0, 0, 0x41, 0xff])),
        (0, _) => value.resize(12_303, 0),
        // Redis keeps what it added to a broken one before it noticed, and does not log it.
        _ if g.is_for_the_log() => value.extend(g.pick(&BODIES[..SOUND])),
        _ => value.extend(g.pick(&BODIES)),
    }
    if g.chance(4) { b"HYLL".to_vec() } else { value }
}
