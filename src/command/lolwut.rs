//! LOLWUT: the version, and for those who ask for an old one a stone thrown into water.

use crate::base::number::parse_i64;
use crate::base::version;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER};
use crate::command::table::{Command, Flags, ROW, Run};

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "lolwut",
    arity: -1,
    flags: Flags(Flags::READONLY | Flags::FAST),
    run: Run::Data(lolwut),
    group: "server",
    since: "5.0.0",
    ..ROW
}];

/// Most characters of a line, most lines, most stones.
const BOUNDS: [i64; 3] = [132, 40, 5];

fn lolwut(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let mut wishes = &args.items()[1..];
    let mut wanted = 7;
    if let [word, number, rest @ ..] = wishes
        && word.eq_ignore_ascii_case(b"version")
    {
        wanted = parse_i64(number).ok_or(NOT_AN_INTEGER)?;
        wishes = rest;
    }
    let mut text = String::new();
    if matches!(wanted, 5 | 6) {
        let mut sizes = [64, 16, 3];
        for (size, (wish, most)) in sizes.iter_mut().zip(wishes.iter().zip(BOUNDS)) {
            *size = parse_i64(wish).ok_or(NOT_AN_INTEGER)?.clamp(1, most);
        }
        let stones: Vec<(f64, f64)> = (0..sizes[2])
            .map(|_| {
                let mut below = |n: i64| ctx.random.below(n as u64 * 16) as f64 / 16.0;
                (below(sizes[0] * 2), below(sizes[1] * 4))
            })
            .collect();
        draw(&mut text, sizes[0] as usize, sizes[1] as usize, &stones);
        text.push('\n');
    }
    text += &format!("Redis ver. {}\n", version::REDIS);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Bits of the dots of a braille character, by column and row.
const DOTS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// Rings around stones, two dots by four to a character.
fn draw(text: &mut String, columns: usize, lines: usize, stones: &[(f64, f64)]) {
    let lit = |x: usize, y: usize| {
        let wave = |(at, of): &(f64, f64)| ((x as f64 - at).hypot(y as f64 - of) / 2.5).sin();
        stones.iter().map(wave).sum::<f64>() > 0.6
    };
    for line in 0..lines {
        for column in 0..columns {
            let mut bits = 0;
            for (x, rows) in DOTS.iter().enumerate() {
                for (y, bit) in rows.iter().enumerate() {
                    bits |= if lit(column * 2 + x, line * 4 + y) { *bit } else { 0 };
                }
            }
            text.push(char::from_u32(0x2800 + bits).unwrap_or(' '));
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn stones() {
        let mut w = World::new();
        assert_eq!(w.run("LOLWUT"), "$17 Redis ver. 7.2.5\n");
        assert_eq!(w.run("LOLWUT VERSION 99 1 2"), "$17 Redis ver. 7.2.5\n");
        let rings = w.run("LOLWUT version 5 8 2 1");
        assert_eq!(rings.lines().count(), 4, "{rings}");
        assert!(rings.ends_with("\n\nRedis ver. 7.2.5\n"));
        for wrong in ["VERSION x", "VERSION 5 x", "VERSION 6 1 1 ''"] {
            let reply = w.run(&format!("LOLWUT {wrong}"));
            assert_eq!(reply, "-ERR value is not an integer or out of range");
        }
        assert!(w.run("LOLWUT VERSION 5 999999999 999999999 9999999").len() < 20_000);
    }
}
