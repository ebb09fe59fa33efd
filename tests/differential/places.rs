//! Arguments of the commands on places.
//!
//! A member always has the same place, and no two are equally far from anything: Redis sorts in
//! part where a count is given, in no order among equals.

use super::commands::{R, Row, Trait, W, row};
use super::generate::{Args, Gen};

const WX: &[Trait] = &[Trait::Write, Trait::Exact];

/// The rows of these commands.
pub static ROWS: &[Row] = &[
    row!("geoadd", 20, WX, geoadd),
    row!("geodist", 6, R, geodist),
    row!("geohash", 6, R, members),
    row!("geopos", 6, R, members),
    row!("geosearch", 15, R, |g| search(g, true)),
    row!("geosearchstore", 8, W, geosearchstore),
    row!("georadius", 8, W, |g| around(g, true, true)),
    row!("georadius_ro", 6, R, |g| around(g, true, false)),
    row!("georadiusbymember", 8, W, |g| around(g, false, true)),
    row!("georadiusbymember_ro", 6, R, |g| around(g, false, false)),
];

/// Keys that mostly hold places.
pub const PLACES: [&[u8]; 4] = [b"geo1", b"{t}geo", b"{u}geo", b"geo2"];
/// Keys that searches are stored in.
pub const FOUND: [&[u8]; 3] = [b"found1", b"{t}found", b"found2"];

/// Members that there are.
const MEMBERS: u64 = 200;

impl Gen {
    /// No other key may hold a sorted set: its members would be in one place.
    fn place_key(&mut self) -> Vec<u8> {
        if self.chance(96) { self.pick(&PLACES).to_vec() } else { self.big_key() }
    }

    fn resident(&mut self) -> Vec<u8> {
        format!("p{}", self.below(MEMBERS)).into()
    }

    fn unit(&mut self) -> Vec<u8> {
        self.word(&["m", "km", "ft", "mi", "KM", "km", "km", "km", "x"])
    }

    fn size(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => self.word(&["0", "-1", "x", "1e6", "nan"]),
            1..5 => self.below(300).to_string().into(),
            _ => self.below(12_000).to_string().into(),
        }
    }

    fn coordinates(&mut self) -> Args {
        if self.chance(5) {
            return vec![self.word(&["181", "-180", "180", "x"]), self.word(&["0", "86", "x"])];
        }
        let (longitude, latitude) = (self.below(3_600_000), self.below(1_600_000));
        let degrees = |tenth: u64, less: f64| (tenth as f64 / 10_000.0 - less).to_string().into();
        vec![degrees(longitude, 179.97531), degrees(latitude, 79.98642)]
    }
}

/// Where a member is: half of them near each other.
fn home(n: u64) -> (f64, f64) {
    let (east, north) = ((n * n % 251) as f64, (n * 97 % 239) as f64);
    if n.is_multiple_of(2) {
        (10.000_7 + east * 0.031_07, 40.003_1 + north * 0.017_11)
    } else {
        (-179.017_3 + east * 1.427_9, -79.031_7 + north * 0.667_3)
    }
}

fn geoadd(g: &mut Gen) -> Args {
    let mut args = vec![g.place_key()];
    if g.chance(25) {
        args.push(g.word(&["NX", "XX", "CH", "nx", "ch"]));
    }
    for _ in 0..1 + g.below(5) {
        let n = g.below(MEMBERS);
        let (longitude, latitude) = home(n);
        args.extend([longitude.to_string().into(), latitude.to_string().into()]);
        args.push(format!("p{n}").into());
    }
    if g.chance(4) {
        args.pop();
    }
    if g.chance(3) {
        args.extend([b"181".to_vec(), b"0".to_vec(), b"x".to_vec()]);
    }
    args
}

fn geodist(g: &mut Gen) -> Args {
    let mut args = vec![g.place_key(), g.resident(), g.resident()];
    if g.chance(60) {
        args.push(g.unit());
    }
    args
}

fn members(g: &mut Gen) -> Args {
    let n = g.below(4);
    std::iter::once(g.place_key()).chain((0..n).map(|_| g.resident()).collect::<Args>()).collect()
}

/// Options of all forms.
fn options(g: &mut Gen, args: &mut Args, answers: bool) {
    for word in ["WITHDIST", "WITHCOORD", "WITHHASH", "withdist"] {
        if answers && g.chance(20) {
            args.push(word.into());
        }
    }
    if g.chance(35) {
        args.push(g.word(&["ASC", "DESC", "asc"]));
    }
    if g.chance(35) {
        args.extend([b"COUNT".to_vec(), g.word(&["1", "3", "10", "1000", "0", "x"])]);
        if g.chance(40) {
            args.push(g.word(&["ANY", "any"]));
        }
    }
    if g.chance(2) {
        args.push(g.word(&["ANY", "STORE", "x", "WITHDIST"]));
    }
}

fn search(g: &mut Gen, answers: bool) -> Args {
    let mut args = vec![g.place_key()];
    if g.chance(50) {
        args.extend([g.word(&["FROMMEMBER", "frommember"]), g.resident()]);
    } else {
        args.push(g.word(&["FROMLONLAT", "fromlonlat"]));
        args.extend(g.coordinates());
    }
    if g.chance(50) {
        args.extend([g.word(&["BYRADIUS", "byradius"]), g.size(), g.unit()]);
    } else {
        args.extend([g.word(&["BYBOX", "bybox"]), g.size(), g.size(), g.unit()]);
    }
    options(g, &mut args, answers);
    args
}

fn geosearchstore(g: &mut Gen) -> Args {
    let to = g.pick(&FOUND).to_vec();
    let mut args: Args = std::iter::once(to).chain(search(g, false)).collect();
    if g.chance(35) {
        args.push(g.word(&["STOREDIST", "storedist"]));
    }
    args
}

fn around(g: &mut Gen, coordinates: bool, may_store: bool) -> Args {
    let mut args = vec![g.place_key()];
    match coordinates {
        true => args.extend(g.coordinates()),
        false => args.push(g.resident()),
    }
    args.extend([g.size(), g.unit()]);
    let stores = may_store && g.chance(40);
    options(g, &mut args, !stores);
    if stores || g.chance(3) {
        args.extend([g.word(&["STORE", "STOREDIST", "store"]), g.pick(&FOUND).to_vec()]);
    }
    args
}
