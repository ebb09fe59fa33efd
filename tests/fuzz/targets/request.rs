//! Requests in any pieces mean what they mean in one: what the parser makes of a stream does not
//! depend on where the network cut it, nor on whether long bulks were received apart.
//!
//! Input: four bytes that seed the cuts, then the stream. Streams stay below the length at which
//! Redis' rules themselves depend on the pieces (an unfinished line of 64 KiB is an error, a
//! finished one of that length is not).
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringstone::resp::request::{INLINE_MAX, Limits, RequestParser, Status};

/// What a stream was found to hold.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Request(Vec<Vec<u8>>),
    Nothing,
    Error(String),
}

fn arguments(parser: &RequestParser, input: &[u8], apart: &[u8]) -> Vec<Vec<u8>> {
    let bytes = parser.words().unwrap_or(input);
    let pick = |(i, &(from, to)): (usize, &(usize, usize))| {
        if parser.big() == Some(i) { apart.to_vec() } else { bytes[from..to].to_vec() }
    };
    parser.ranges().iter().enumerate().map(pick).collect()
}

/// Parses `stream`, handing it over in pieces of the lengths that `pieces` gives; with `apart`,
/// long bulks are taken out of the stream as a connection does.
fn parse(
    stream: &[u8],
    limits: &Limits,
    apart: bool,
    mut pieces: impl FnMut() -> usize,
) -> Vec<Found> {
    let mut parser = RequestParser::default();
    let (mut found, mut input, mut big) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = stream;
    loop {
        match parser.advance(&input, limits) {
            Err(error) => {
                found.push(Found::Error(error.0));
                return found;
            }
            Ok(Status::Ready(length)) => {
                found.push(Found::Request(arguments(&parser, &input, &big)));
                input.drain(..length);
                parser.reset();
                big.clear();
                continue;
            }
            Ok(Status::Nothing(length)) => {
                assert!(length > 0, "nothing was taken and nothing is wanted");
                found.push(Found::Nothing);
                input.drain(..length);
                parser.reset();
                continue;
            }
            Ok(Status::Big(length)) if apart => {
                let begun = input.split_off(parser.scanned());
                let missing = length + 2 - begun.len();
                if rest.len() < missing {
                    return found;
                }
                big = [&begun, &rest[..missing]].concat();
                big.truncate(length);
                rest = &rest[missing..];
                parser.take_big();
                continue;
            }
            Ok(Status::Big(_) | Status::More) => {}
        }
        if rest.is_empty() {
            return found;
        }
        let length = pieces().clamp(1, rest.len());
        input.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, stream)) = data.split_first_chunk::<4>() else { return };
    if stream.len() >= INLINE_MAX {
        return;
    }
    let mut state = u32::from_le_bytes(*seed) | 1;
    let limits = Limits { bulk_max: 512 << 20, authenticated: seed[0] & 2 == 0 };
    let whole = parse(stream, &limits, false, || usize::MAX);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as usize % [3, 17, 4096, 200][(state >> 16) as usize % 4]
    };
    assert_eq!(parse(stream, &limits, false, &mut next), whole);
    assert_eq!(parse(stream, &limits, true, &mut next), whole);
});
