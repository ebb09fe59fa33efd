//! Places: GEOADD, GEODIST, GEOSEARCH and their kin. A place is a member of a sorted set whose
//! score stands for it; nothing else tells such a set from any other.
//!
//! The log gets ZADD with the scores, and what is stored as the members it has.

use crate::base::double;
use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::table::{
    Acl, Command, Flags, Group, KeySpec, Keys, OVERWRITES, READS, READS_FIRST, Route, UPDATES_FIRST,
};
use crate::command::zset::{GROW, NOT_A_FLOAT, Options, READ, add, read, store, zset_of};
use crate::resp::Reply;
use crate::value::geo::{self, Place, Reach, Shape};
use crate::value::zset::{Scores, Zset};

/// The group of these commands.
const PLACES: Group = Group { name: "geo", acl: Acl::GEO };

/// Specs of a command whose options may name a key, which are sought from argument `from` on.
macro_rules! stored {
    ($from:literal) => {
        &[
            KeySpec::one(1, READS),
            KeySpec::behind("STORE", $from, OVERWRITES),
            KeySpec::behind("STOREDIST", $from, OVERWRITES),
        ]
    };
}

const STORING: u32 = GROW | Flags::MOVABLE_KEYS;
const STORED: Keys = Keys::Stored { words: &["STORE", "STOREDIST"] };

/// The commands of this file.
pub static ROWS: &[Command] = &[
    PLACES.row("geoadd", -5, GROW, "3.2.0", UPDATES_FIRST, geoadd),
    PLACES.row("geodist", -4, READ, "3.2.0", READS_FIRST, geodist),
    PLACES.row("geohash", -2, READ, "3.2.0", READS_FIRST, geohash),
    PLACES.row("geopos", -2, READ, "3.2.0", READS_FIRST, geopos),
    PLACES.row("geosearch", -7, READ, "6.2.0", READS_FIRST, geosearch),
    Command {
        keys: Keys::Range { first: 1, last: 2, step: 1 },
        route: Route::Lease,
        ..PLACES.row(
            "geosearchstore",
            -8,
            GROW,
            "6.2.0",
            &[KeySpec::one(1, OVERWRITES), KeySpec::one(2, READS)],
            geosearchstore,
        )
    },
    Command {
        keys: STORED,
        route: Route::Lease,
        ..PLACES.row("georadius", -6, STORING, "3.2.0", stored!(6), georadius)
    },
    Command {
        keys: STORED,
        route: Route::Lease,
        ..PLACES.row("georadiusbymember", -5, STORING, "3.2.0", stored!(5), georadiusbymember)
    },
    PLACES.row("georadius_ro", -6, READ, "3.2.10", READS_FIRST, georadius_ro),
    PLACES.row("georadiusbymember_ro", -5, READ, "3.2.10", READS_FIRST, georadiusbymember_ro),
];

const NOT_DECODED: Fault = Fault::new("ERR could not decode requested zset member");

fn number(text: &[u8]) -> Result<f64, Fault> {
    double::parse(text).ok_or(NOT_A_FLOAT)
}

/// A longitude and a latitude.
fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, Fault> {
    let place = Place { longitude: number(longitude)?, latitude: number(latitude)? };
    if place.is_valid() {
        return Ok(place);
    }
    let Place { longitude, latitude } = place;
    let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
    Err(Fault::text(text))
}

/// How many metres a unit has.
fn unit(word: &[u8]) -> Result<f64, Fault> {
    let units = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let unit = units.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    let text = "ERR unsupported unit provided. please use M, KM, FT, MI";
    unit.map(|(_, metres)| *metres).ok_or(Fault::new(text))
}

fn radius(radius: &[u8], word: &[u8]) -> Result<(Reach, f64), Fault> {
    let radius = double::parse(radius).ok_or(Fault::new("ERR need numeric radius"))?;
    if radius < 0.0 {
        return Err(Fault::new("ERR radius cannot be negative"));
    }
    Ok((Reach::Radius(radius), unit(word)?))
}

fn in_box(width: &[u8], height: &[u8], word: &[u8]) -> Result<(Reach, f64), Fault> {
    let width = double::parse(width).ok_or(Fault::new("ERR need numeric width"))?;
    let height = double::parse(height).ok_or(Fault::new("ERR need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(Fault::new("ERR height or width cannot be negative"));
    }
    Ok((Reach::Box(width, height), unit(word)?))
}

/// Answers with a distance, to a tenth of a thousandth.
fn reply_distance(out: &mut Reply, distance: f64) {
    const PARTS: i64 = 10_000;
    let parts = (distance * PARTS as f64).round_ties_even() as i64;
    out.bulk(format!("{}.{:04}", parts / PARTS, parts % PARTS).as_bytes());
}

/// Answers with a longitude and a latitude, to 17 digits behind the point.
fn reply_place(out: &mut Reply, place: Place) {
    out.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        out.double_text(if text == "-0" { "0" } else { text });
    }
}

fn geoadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (mut options, mut at) = (Options::default(), 2);
    while at < args.len() {
        match () {
            () if args.is(at, "NX") => options.nx = true,
            () if args.is(at, "XX") => options.xx = true,
            () if args.is(at, "CH") => options.ch = true,
            () => break,
        }
        at += 1;
    }
    let rest = &args.items()[at..];
    if rest.is_empty() || !rest.len().is_multiple_of(3) || options.nx && options.xx {
        return Err(SYNTAX);
    }
    let mut pairs = Vec::with_capacity(rest.len() / 3);
    for triple in rest.chunks_exact(3) {
        let score = geo::score(place(triple[0], triple[1])?);
        pairs.push((score as f64, triple[2]));
    }
    if add(ctx, &args[1], options, &pairs)? {
        let scores: Vec<double::Text> =
            pairs.iter().map(|(score, _)| double::text(*score)).collect();
        let mut words: Vec<&[u8]> = vec![b"ZADD"];
        words.extend(&args.items()[1..at]);
        for (score, (_, member)) in scores.iter().zip(&pairs) {
            words.extend([score.as_bytes(), member]);
        }
        ctx.log(&args[1], &words);
    }
    Ok(())
}

fn geodist(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let metres = match args.len() {
        4 => 1.0,
        5 => unit(&args[4])?,
        _ => return Err(SYNTAX),
    };
    read(ctx, &args[1], |out, zset| {
        let place = |member: &[u8]| zset.and_then(|zset| zset.score(member)).map(geo::place);
        match place(&args[2]).zip(place(&args[3])) {
            Some((one, other)) => reply_distance(out, geo::distance(one, other) / metres),
            None => out.null(),
        }
    })
}

fn geohash(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, zset| {
        out.array(args.len() - 2);
        for member in &args.items()[2..] {
            match zset.and_then(|zset| zset.score(member)) {
                Some(score) => out.bulk(&geo::name(score)),
                None => out.null(),
            }
        }
    })
}

fn geopos(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, zset| {
        out.array(args.len() - 2);
        for member in &args.items()[2..] {
            match zset.and_then(|zset| zset.score(member)) {
                Some(score) => reply_place(out, geo::place(score)),
                None => out.null_array(),
            }
        }
    })
}

/// What a search has found.
struct Found {
    member: Vec<u8>,
    score: f64,
    place: Place,
    /// In metres.
    distance: f64,
}

/// Which form of the search a command is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GEORADIUS: the middle is two coordinates, arguments 2 and 3.
    Coordinates,
    /// GEORADIUSBYMEMBER: the middle is a member, argument 2.
    Member,
    /// GEOSEARCH, and the store's position if it has one.
    Search,
    /// GEOSEARCHSTORE.
    SearchStore,
}

/// A search as it is asked for.
struct Search<'a> {
    form: Form,
    /// Whether the command may store at all.
    may_store: bool,
    source: &'a [u8],
    /// Whether anything is there to be searched.
    exists: bool,
    middle: Option<Place>,
    /// FROMMEMBER or FROMLONLAT was said: which one.
    from_member: Option<bool>,
    reach: Option<(Reach, f64)>,
    store: Option<&'a [u8]>,
    store_distances: bool,
    with_distance: bool,
    with_score: bool,
    with_place: bool,
    /// The nearest first, or the farthest.
    ascending: Option<bool>,
    any: bool,
    count: Option<usize>,
}

impl<'a> Search<'a> {
    fn new(form: Form, may_store: bool, args: &Args<'a>) -> Self {
        let words = args.items();
        let stores = form == Form::SearchStore;
        Search {
            form,
            may_store,
            source: words[if stores { 2 } else { 1 }],
            exists: false,
            middle: None,
            from_member: None,
            reach: None,
            store: stores.then_some(words[1]),
            store_distances: false,
            with_distance: false,
            with_score: false,
            with_place: false,
            ascending: None,
            any: false,
            count: None,
        }
    }

    /// Reads what stands in front of the options; says where they begin.
    fn parse_middle(&mut self, ctx: &mut Ctx<'_>, args: &Args<'a>) -> Result<usize, Fault> {
        let source = self.source;
        self.exists = read(ctx, source, |_, zset| zset.is_some())?;
        Ok(match self.form {
            Form::Search => 2,
            Form::SearchStore => 3,
            Form::Coordinates => {
                self.middle = Some(place(&args[2], &args[3])?);
                self.reach = Some(radius(&args[4], &args[5])?);
                6
            }
            Form::Member => {
                // The rest is read even where there is nothing, to know how to say so.
                if self.exists {
                    self.middle = Some(self.member(ctx, &args[2])?);
                    self.reach = Some(radius(&args[3], &args[4])?);
                }
                5
            }
        })
    }

    fn member(&self, ctx: &mut Ctx<'_>, member: &[u8]) -> Result<Place, Fault> {
        let zset = zset_of(ctx.peek(self.source))?;
        let score = zset.and_then(|zset| zset.score(member));
        score.map(geo::place).ok_or(NOT_DECODED)
    }

    fn is_search(&self) -> bool {
        matches!(self.form, Form::Search | Form::SearchStore)
    }

    fn parse(&mut self, ctx: &mut Ctx<'_>, args: &Args<'a>) -> Result<(), Fault> {
        let mut at = self.parse_middle(ctx, args)?;
        while at < args.len() {
            at += match self.parse_plain(args, at)? {
                0 if self.is_search() => self.parse_shape(ctx, args, at)?,
                0 => return Err(SYNTAX),
                used => used,
            };
        }
        self.check(&args[0])
    }

    /// Reads an option that every form has; says how many arguments it takes.
    fn parse_plain(&mut self, args: &Args<'a>, at: usize) -> Result<usize, Fault> {
        let left = args.len() - at - 1;
        let stores_here = self.may_store && !self.is_search() && left >= 1;
        match () {
            () if args.is(at, "WITHDIST") => self.with_distance = true,
            () if args.is(at, "WITHHASH") => self.with_score = true,
            () if args.is(at, "WITHCOORD") => self.with_place = true,
            () if args.is(at, "ANY") => self.any = true,
            () if args.is(at, "ASC") => self.ascending = Some(true),
            () if args.is(at, "DESC") => self.ascending = Some(false),
            () if args.is(at, "COUNT") && left >= 1 => {
                let count = parse_i64(&args[at + 1]).ok_or(NOT_AN_INTEGER)?;
                if count <= 0 {
                    return Err(Fault::new("ERR COUNT must be > 0"));
                }
                self.count = Some(count as usize);
                return Ok(2);
            }
            () if args.is(at, "STORE") && stores_here => {
                (self.store, self.store_distances) = (Some(args.items()[at + 1]), false);
                return Ok(2);
            }
            () if args.is(at, "STOREDIST") && stores_here => {
                (self.store, self.store_distances) = (Some(args.items()[at + 1]), true);
                return Ok(2);
            }
            () if args.is(at, "STOREDIST") && self.form == Form::SearchStore => {
                self.store_distances = true;
            }
            () => return Ok(0),
        }
        Ok(1)
    }

    /// Reads where GEOSEARCH searches; says how many arguments that takes.
    fn parse_shape(
        &mut self,
        ctx: &mut Ctx<'_>,
        args: &Args<'a>,
        at: usize,
    ) -> Result<usize, Fault> {
        let left = args.len() - at - 1;
        let is_box = self.reach.map(|(reach, _)| matches!(reach, Reach::Box(..)));
        if args.is(at, "FROMMEMBER") && left >= 1 && self.from_member != Some(false) {
            if self.exists {
                self.middle = Some(self.member(ctx, &args[at + 1])?);
            }
            self.from_member = Some(true);
            return Ok(2);
        }
        if args.is(at, "FROMLONLAT") && left >= 2 && self.from_member != Some(true) {
            self.middle = Some(place(&args[at + 1], &args[at + 2])?);
            self.from_member = Some(false);
            return Ok(3);
        }
        if args.is(at, "BYRADIUS") && left >= 2 && is_box != Some(true) {
            self.reach = Some(radius(&args[at + 1], &args[at + 2])?);
            return Ok(3);
        }
        if args.is(at, "BYBOX") && left >= 3 && is_box != Some(false) {
            self.reach = Some(in_box(&args[at + 1], &args[at + 2], &args[at + 3])?);
            return Ok(4);
        }
        Err(SYNTAX)
    }

    /// Refuses options that do not go together, or lack another.
    fn check(&self, name: &[u8]) -> Result<(), Fault> {
        if self.store.is_some() && (self.with_distance || self.with_score || self.with_place) {
            let what = match self.form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(Fault::text(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let name = String::from_utf8_lossy(name);
        if self.is_search() && self.from_member.is_none() {
            return Err(Fault::text(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if self.is_search() && self.reach.is_none() {
            return Err(Fault::text(format!(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"
            )));
        }
        if self.any && self.count.is_none() {
            return Err(Fault::new("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// What lies within, sorted and counted as asked.
    fn find(&self, ctx: &mut Ctx<'_>) -> Vec<Found> {
        let (Some(middle), Some((reach, unit))) = (self.middle, self.reach) else {
            return Vec::new();
        };
        let shape = Shape { middle, reach, unit };
        let limit = self.count.unwrap_or(usize::MAX);
        let enough = if self.any { limit } else { usize::MAX };
        let Some(zset) = ctx.glance(self.source).and_then(Zset::of) else { return Vec::new() };
        let mut found = Vec::new();
        for (min, max) in shape.ranges() {
            let range = Scores { min: (min, false), max: (max, true) };
            let (from, count) = zset.score_range(&range);
            if count == 0 {
                continue;
            }
            zset.walk_while(from, count, |member, score| {
                let place = geo::place(score);
                if let Some(distance) = shape.distance(place) {
                    let member = member.text(&mut itoa::Buffer::new()).to_vec();
                    found.push(Found { member, score, place, distance });
                }
                found.len() < enough
            });
            if found.len() >= enough {
                break;
            }
        }
        // The nearest are asked for by a count, unless any will do.
        let ascending = self.ascending.or((self.count.is_some() && !self.any).then_some(true));
        if let Some(ascending) = ascending {
            found.sort_by(|a, b| {
                let order = a.distance.total_cmp(&b.distance);
                if ascending { order } else { order.reverse() }
            });
        }
        found.truncate(limit);
        found
    }

    fn answer(&self, out: &mut Reply, found: &[Found]) {
        let unit = self.reach.map_or(1.0, |(_, unit)| unit);
        let extras = usize::from(self.with_distance)
            + usize::from(self.with_score)
            + usize::from(self.with_place);
        out.array(found.len());
        for one in found {
            if extras > 0 {
                out.array(extras + 1);
            }
            out.bulk(&one.member);
            if self.with_distance {
                reply_distance(out, one.distance / unit);
            }
            if self.with_score {
                out.int(one.score as i64);
            }
            if self.with_place {
                reply_place(out, one.place);
            }
        }
    }
}

fn search(ctx: &mut Ctx<'_>, args: &Args<'_>, form: Form, may_store: bool) -> Result<(), Fault> {
    let mut search = Search::new(form, may_store, args);
    search.parse(ctx, args)?;
    let found = search.find(ctx);
    let Some(to) = search.store else {
        search.answer(ctx.out, &found);
        return Ok(());
    };
    let unit = search.reach.map_or(1.0, |(_, unit)| unit);
    let members: Vec<(Vec<u8>, f64)> = found
        .into_iter()
        .map(|one| {
            let score = if search.store_distances { one.distance / unit } else { one.score };
            (one.member, score)
        })
        .collect();
    let event = if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" };
    store(ctx, to, &members, event);
    Ok(())
}

fn geosearch(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    search(ctx, args, Form::Search, false)
}

fn geosearchstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    search(ctx, args, Form::SearchStore, true)
}

fn georadius(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    search(ctx, args, Form::Coordinates, true)
}

fn georadiusbymember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    search(ctx, args, Form::Member, true)
}

fn georadius_ro(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    search(ctx, args, Form::Coordinates, false)
}

fn georadiusbymember_ro(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    search(ctx, args, Form::Member, false)
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn places_are_members_of_sorted_sets() {
        let mut w = World::new();
        let added = "ZADD g 3479099956230698 Palermo 3479447370796909 Catania";
        let add = "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania";
        w.check(&[
            (add, ":2", added),
            (add, ":0", ""),
            ("GEODIST g Palermo Catania", "$11 166274.1516", ""),
            ("GEODIST g Palermo Catania km", "$8 166.2742", ""),
            ("GEODIST g Palermo none", "$-1", ""),
            ("GEOHASH g Palermo none", "*2 $11 sqc8b49rny0 $-1", ""),
            (
                "GEOPOS g Palermo none",
                "*2 *2 $20 13.36138933897018433 $20 38.11555639549629859 *-1",
                "",
            ),
            ("GEOADD g 181 0 a", "-ERR invalid longitude,latitude pair 181.000000,0.000000", ""),
            ("GEORADIUS g 15 37 200 km DESC", "*2 $7 Palermo $7 Catania", ""),
            ("GEORADIUS g 15 37 200 km COUNT 1 WITHDIST", "*1 *2 $7 Catania $7 56.4413", ""),
            ("GEOSEARCH g FROMMEMBER Palermo BYBOX 10 10 km", "*1 $7 Palermo", ""),
            (
                "GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 100 km",
                ":1",
                "DEL d | ZADD d 3479447370796909 Catania",
            ),
            ("GEORADIUS g 0 0 1 m STORE d", ":0", "DEL d"),
            ("GEORADIUSBYMEMBER_RO g Palermo 1 m STORE d", "-ERR syntax error", ""),
        ]);
    }
}
