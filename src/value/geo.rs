//! Places on the globe as scores: 26 bits of longitude and of latitude, interleaved, so that
//! neighbours have neighbouring scores; distances, and the areas that a search looks through.
//!
//! All of it computes in the order in which Redis does, so that the last bit is the same.

use std::f64::consts::PI;

/// Bits of each coordinate in a score.
pub const STEPS: u32 = 26;
/// Largest longitude, either way.
pub const LONGITUDE_MAX: f64 = 180.0;
/// Largest latitude, either way: that of a square map in Mercator's projection.
pub const LATITUDE_MAX: f64 = 85.05112878;

const EARTH_RADIUS: f64 = 6_372_797.560_856;
const MERCATOR_MAX: f64 = 20_037_726.37;
const DEGREE: f64 = PI / 180.0;
const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// East, or west when negative.
    pub longitude: f64,
    /// North, or south when negative.
    pub latitude: f64,
}

impl Place {
    /// Whether a score can stand for it.
    pub fn is_valid(self) -> bool {
        (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&self.longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&self.latitude)
    }
}

/// A cell of the grid that halves both coordinates `step` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bits: u64,
    step: u32,
}

/// The bounds of a cell, in degrees: (lowest, highest).
#[derive(Clone, Copy, Debug)]
struct Area {
    longitude: (f64, f64),
    latitude: (f64, f64),
}

/// Spreads the bits of a number over the even places.
fn spread(value: u32) -> u64 {
    let mut x = u64::from(value);
    for (shift, mask) in [
        (16, 0x0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        x = (x | x << shift) & mask;
    }
    x
}

/// Gathers the bits of the even places.
fn gather(bits: u64) -> u32 {
    let mut x = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0F0F_0F0F_0F0F_0F0F),
        (4, 0x00FF_00FF_00FF_00FF),
        (8, 0x0000_FFFF_0000_FFFF),
        (16, 0x0000_0000_FFFF_FFFF),
    ] {
        x = (x | x >> shift) & mask;
    }
    x as u32
}

impl Cell {
    fn of(place: Place, latitude_max: f64, step: u32) -> Cell {
        let cells = (1_u64 << step) as f64;
        let part = |value: f64, max: f64| ((value + max) / (max + max) * cells) as u32;
        let latitude = part(place.latitude, latitude_max);
        let longitude = part(place.longitude, LONGITUDE_MAX);
        Cell { bits: spread(latitude) | spread(longitude) << 1, step }
    }

    fn area(self) -> Area {
        let cells = (1_u64 << self.step) as f64;
        let bounds = |index: u32, max: f64| {
            let at = |index: u32| -max + f64::from(index) / cells * (max + max);
            (at(index), at(index.wrapping_add(1)))
        };
        Area {
            longitude: bounds(gather(self.bits >> 1), LONGITUDE_MAX),
            latitude: bounds(gather(self.bits), LATITUDE_MAX),
        }
    }

    /// The cell so many to the east and to the north; the globe goes round both ways. (The last
    /// degree of all is in a cell beyond the last, whose index stays as it is unless it moves.)
    fn neighbour(self, east: i32, north: i32) -> Cell {
        let mask = (1_u64 << self.step) as u32 - 1;
        let moved = |index: u32, by: i32| match by {
            0 => index,
            by => index.wrapping_add_signed(by) & mask,
        };
        let longitude = moved(gather(self.bits >> 1), east);
        let latitude = moved(gather(self.bits), north);
        Cell { bits: spread(latitude) | spread(longitude) << 1, step: self.step }
    }

    /// The scores of what lies in it: from the first on, below the second.
    fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS - self.step);
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }
}

/// The score of a place.
pub fn score(place: Place) -> u64 {
    Cell::of(place, LATITUDE_MAX, STEPS).bits
}

/// A score as the bits that Redis' compiler makes of it: other sorted sets have any.
fn bits(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    let signed = |value: f64| {
        if (-HALF..HALF).contains(&value) { value as i64 } else { i64::MIN }
    };
    if score < HALF { signed(score) as u64 } else { signed(score - HALF) as u64 ^ 1 << 63 }
}

/// The place that a score stands for.
pub fn place(score: f64) -> Place {
    let area = Cell { bits: bits(score), step: STEPS }.area();
    let middle = |(low, high): (f64, f64), max: f64| ((low + high) / 2.0).clamp(-max, max);
    Place {
        longitude: middle(area.longitude, LONGITUDE_MAX),
        latitude: middle(area.latitude, LATITUDE_MAX),
    }
}

/// The name of a place as geohash.org has it.
pub fn name(score: f64) -> [u8; 11] {
    let bits = Cell::of(place(score), 90.0, STEPS).bits;
    // 52 bits are ten letters and a half; the last letter says nothing.
    std::array::from_fn(|n| match n {
        10 => LETTERS[0],
        n => LETTERS[(bits >> (52 - 5 * (n + 1))) as usize & 31],
    })
}

fn along_meridian(one: f64, other: f64) -> f64 {
    EARTH_RADIUS * (other * DEGREE - one * DEGREE).abs()
}

/// The distance of two places in metres, on a sphere.
pub fn distance(one: Place, other: Place) -> f64 {
    let v = ((other.longitude * DEGREE - one.longitude * DEGREE) / 2.0).sin();
    if v == 0.0 {
        return along_meridian(one.latitude, other.latitude);
    }
    let (from, to) = (one.latitude * DEGREE, other.latitude * DEGREE);
    let u = ((to - from) / 2.0).sin();
    let a = u * u + from.cos() * to.cos() * v * v;
    2.0 * EARTH_RADIUS * a.sqrt().asin()
}

/// What is searched, around its middle; sizes in units of `unit` metres.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The middle.
    pub middle: Place,
    /// How far it reaches.
    pub reach: Reach,
    /// Metres of a unit.
    pub unit: f64,
}

/// How far a shape reaches.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// A circle of this radius.
    Radius(f64),
    /// Width and height of a box.
    Box(f64, f64),
}

impl Shape {
    /// The distance of a place from the middle, in metres, if it lies within.
    pub fn distance(&self, place: Place) -> Option<f64> {
        match self.reach {
            Reach::Radius(radius) => {
                Some(distance(self.middle, place)).filter(|d| *d <= radius * self.unit)
            }
            Reach::Box(width, height) => {
                let north = along_meridian(place.latitude, self.middle.latitude);
                if north > height * self.unit / 2.0 {
                    return None;
                }
                let below = Place { longitude: self.middle.longitude, latitude: place.latitude };
                let east = distance(place, below);
                (east <= width * self.unit / 2.0).then(|| distance(self.middle, place))
            }
        }
    }

    /// The smallest area with straight edges that holds it.
    fn bounds(&self) -> Area {
        let Place { longitude, latitude } = self.middle;
        let (width, height) = match self.reach {
            Reach::Radius(radius) => (self.unit * radius, self.unit * radius),
            Reach::Box(width, height) => (self.unit * (width / 2.0), self.unit * (height / 2.0)),
        };
        let north = height / EARTH_RADIUS / DEGREE;
        let edge = |latitude: f64| width / EARTH_RADIUS / (latitude * DEGREE).cos() / DEGREE;
        let east = edge(if latitude < 0.0 { latitude - north } else { latitude + north });
        Area {
            longitude: (longitude - east, longitude + east),
            latitude: (latitude - north, latitude + north),
        }
    }

    /// Into how many cells the globe is cut so that nine of them hold the shape.
    fn step(&self) -> u32 {
        let mut metres = self.unit
            * match self.reach {
                Reach::Radius(radius) => radius,
                Reach::Box(width, height) => {
                    ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
                }
            };
        if metres == 0.0 {
            return STEPS;
        }
        let mut step = 1_i32;
        while metres < MERCATOR_MAX {
            metres *= 2.0;
            step += 1;
        }
        step -= 2;
        let latitude = self.middle.latitude.abs();
        step -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        step.clamp(1, STEPS as i32) as u32
    }

    /// The ranges of scores that hold whatever lies within, in the order in which Redis looks at
    /// them: from the first score on, below the second.
    pub fn ranges(&self) -> Vec<(f64, f64)> {
        let bounds = self.bounds();
        let mut step = self.step();
        let mut middle = Cell::of(self.middle, LATITUDE_MAX, step);
        if step > 1 && self.leaves(middle, &bounds) {
            step -= 1;
            middle = Cell::of(self.middle, LATITUDE_MAX, step);
        }
        let area = middle.area();
        let useless = |east: i32, north: i32| {
            step >= 2
                && (north < 0 && area.latitude.0 < bounds.latitude.0
                    || north > 0 && area.latitude.1 > bounds.latitude.1
                    || east < 0 && area.longitude.0 < bounds.longitude.0
                    || east > 0 && area.longitude.1 > bounds.longitude.1)
        };
        let (mut ranges, mut last) = (Vec::with_capacity(9), None);
        let around = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        for (east, north) in around {
            if useless(east, north) {
                continue;
            }
            let cell = middle.neighbour(east, north);
            // Where the cells are few, neighbours meet on the other side of the globe.
            if last == Some(cell) {
                continue;
            }
            if (east, north) != (0, 0) {
                last = Some(cell);
            }
            ranges.push(cell.scores());
        }
        ranges
    }

    /// Whether the nine cells around `middle` do not hold all of it.
    fn leaves(&self, middle: Cell, bounds: &Area) -> bool {
        middle.neighbour(0, 1).area().latitude.1 < bounds.latitude.1
            || middle.neighbour(0, -1).area().latitude.0 > bounds.latitude.0
            || middle.neighbour(1, 0).area().longitude.1 < bounds.longitude.1
            || middle.neighbour(-1, 0).area().longitude.0 > bounds.longitude.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_of_sicily() {
        let palermo = Place { longitude: 13.361389, latitude: 38.115556 };
        let catania = Place { longitude: 15.087269, latitude: 37.502669 };
        assert_eq!((score(palermo), score(catania)), (3479099956230698, 3479447370796909));
        let (one, other) = (score(palermo) as f64, score(catania) as f64);
        assert_eq!(format!("{:.4}", distance(place(one), place(other))), "166274.1516");
        assert_eq!((&name(one), &name(other)), (b"sqc8b49rny0", b"sqdtr74hyu0"));
    }

    proptest! {
        #[test]
        fn places_survive(longitude in -180.0..180.0_f64, latitude in -85.05..85.05_f64) {
            let here = Place { longitude, latitude };
            let there = place(score(here) as f64);
            prop_assert!(distance(here, there) < 1.0);
            prop_assert_eq!(score(there), score(here));
        }

        #[test]
        fn no_score_breaks_anything(bits in any::<u64>()) {
            let score = f64::from_bits(bits);
            prop_assume!(!score.is_nan());
            prop_assert!(place(score).is_valid());
            name(score);
        }

        #[test]
        fn what_lies_within_is_in_a_range(
            at in (-180.0..180.0_f64, -60.0..60.0_f64),
            to in (-0.5..0.5_f64, -0.5..0.5_f64),
            size in 1.0..300.0_f64,
        ) {
            let middle = Place { longitude: at.0, latitude: at.1 };
            let near = Place {
                // Not 180 itself, which lies behind the last cell, as in Redis.
                longitude: (at.0 + to.0).clamp(-180.0, 179.999),
                latitude: at.1 + to.1,
            };
            let score = score(near) as f64;
            for reach in [Reach::Radius(size), Reach::Box(size, 2.0 * size)] {
                let shape = Shape { middle, reach, unit: 1000.0 };
                if shape.distance(place(score)).is_some() {
                    let found = shape.ranges().into_iter().any(|(a, b)| (a..b).contains(&score));
                    prop_assert!(found);
                }
            }
        }
    }
}
