//! Small sorted sets: a listpack of members and scores in turn, in the order of scores, then of
//! members. A score that is an integer is kept as one (so is -0, as 0), any other as its text.

use bytes::BytesMut;

use crate::base::double;
use crate::value::listpack::{self, Checked, Item, Pack};
use crate::value::shapes::{PACKED_MAX, Shapes};

/// The score that an element of a listpack is, if it can be one.
fn number(item: Item<'_>) -> Option<f64> {
    match item {
        Item::Int(n) => Some(n as f64),
        Item::Str(text) => double::parse(text),
    }
}

/// The score that an element of a listpack is.
pub fn score(item: Item<'_>) -> f64 {
    number(item).unwrap_or(0.0)
}

/// Whether an element of a listpack can be a score.
pub fn is_score(item: Item<'_>) -> bool {
    number(item).is_some()
}

/// A score as it is kept.
fn text(score: f64) -> double::Text {
    // The text of -0 is no integer's.
    double::text(if score == 0.0 { 0.0 } else { score })
}

/// Members and scores, each pair with the offset of its member.
pub fn pairs(pack: Pack<'_>) -> impl Iterator<Item = (usize, Item<'_>, Item<'_>)> {
    let mut items = pack.iter();
    std::iter::from_fn(move || {
        let ((at, member), (_, score)) = (items.next()?, items.next()?);
        Some((at, member, score))
    })
}

/// Where a member is, and its score.
pub fn find(pack: Pack<'_>, member: &[u8]) -> Option<(usize, f64)> {
    let at = pack.find(pack.first(), member, 2)?;
    let (_, score_at) = pack.at(at)?;
    Some((at, score(pack.at(score_at)?.0)))
}

/// Whether another member finds room; the listpack may be empty bytes.
pub fn has_room(bytes: &[u8], member: &[u8], shapes: &Shapes) -> bool {
    let len = if bytes.is_empty() { 0 } else { Pack(bytes).len() / 2 };
    len < shapes.zset_entries && member.len() <= shapes.zset_value && bytes.len() <= PACKED_MAX
}

/// Adds a member that is not there; the listpack may be empty bytes.
pub fn insert(bytes: &mut BytesMut, member: &[u8], new: f64) {
    if bytes.is_empty() {
        listpack::create(bytes);
    }
    let pack = Pack(bytes);
    // Elements often come in order.
    if is_last(pack, member, new) {
        listpack::push_back(bytes, member);
        listpack::push_back(bytes, text(new).as_bytes());
        return;
    }
    let behind = |(_, own, own_score): &(usize, Item<'_>, Item<'_>)| {
        let own_score = score(*own_score);
        own_score > new || own_score == new && own.text(&mut itoa::Buffer::new()) > member
    };
    let at = pairs(pack).find(behind).map_or(pack.end(), |(at, ..)| at);
    listpack::insert(bytes, at, text(new).as_bytes());
    listpack::insert(bytes, at, member);
}

/// Whether a member with this score belongs behind all others.
fn is_last(pack: Pack<'_>, member: &[u8], new: f64) -> bool {
    let ends = pack.last().and_then(|at| Some((at, pack.before(at)?)));
    let Some((score_at, member_at)) = ends else { return true };
    match (pack.at(member_at), pack.at(score_at)) {
        (Some((own, _)), Some((own_score, _))) => is_before((own, score(own_score)), member, new),
        _ => true,
    }
}

/// Whether a member with its score comes before another one.
fn is_before((own, own_score): (Item<'_>, f64), member: &[u8], new: f64) -> bool {
    own_score < new || own_score == new && own.text(&mut itoa::Buffer::new()) < member
}

/// Whether bytes from elsewhere are a listpack as a sorted set would be packed here: short members
/// and scores that are numbers, in their order.
pub fn is_packed(bytes: &[u8], shapes: &Shapes) -> bool {
    if bytes.len() > PACKED_MAX {
        return false;
    }
    let (mut member, mut last) = (None, None);
    let mut fits = true;
    let checked = Checked::of(bytes, 2, |item| {
        let Some(own) = member.take() else {
            member = Some(item);
            return;
        };
        let Some(own_score) = number(item) else {
            fits = false;
            return;
        };
        let mut digits = itoa::Buffer::new();
        let text = Item::text(own, &mut digits);
        fits &= text.len() <= shapes.zset_value
            && last.is_none_or(|last| is_before(last, text, own_score));
        last = Some((own, own_score));
    });
    fits && checked.is_ok_and(|checked| {
        let whole = member.is_none();
        whole && checked.len / 2 <= shapes.zset_entries && checked.distinct
    })
}

/// Gives the member at `at` another score.
pub fn change(bytes: &mut BytesMut, at: usize, member: &[u8], new: f64) {
    listpack::delete(bytes, at, 2);
    insert(bytes, member, new);
}

/// Removes a member; gives the score it had.
pub fn remove(bytes: &mut BytesMut, member: &[u8]) -> Option<f64> {
    let (at, score) = find(Pack(bytes), member)?;
    listpack::delete(bytes, at, 2);
    Some(score)
}

/// Removes `count` members from rank `from` on.
pub fn remove_ranks(bytes: &mut BytesMut, from: usize, count: usize) {
    if let Some(at) = Pack(bytes).seek(2 * from as i64) {
        listpack::delete(bytes, at, 2 * count);
    }
}
