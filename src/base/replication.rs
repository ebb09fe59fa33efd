//! Which history a server's data belongs to, towards replicas: Redis' replication ids.

use crate::base::number::parse_i64;
use crate::base::random::Random;

/// Length of an id, in hexadecimal digits.
pub const ID_LEN: usize = 40;

/// The names of a history. A replica that was sent the history of a name up to some offset needs
/// nothing but what follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// The history's id; `None`: whoever goes on from here draws one.
    pub id: Option<String>,
    /// Another id by which its first bytes, as many as this, are known as well.
    pub second: Option<(String, u64)>,
}

impl Replication {
    /// A history that goes on under another name: as far as `offset` the old one counts as well.
    #[must_use]
    pub fn renamed_at(self, offset: u64) -> Replication {
        let known = |(id, upto): (String, u64)| (id, upto.min(offset));
        let second = match self.id {
            Some(id) => Some((id, offset)),
            None => self.second.map(known),
        };
        Replication { id: None, second }
    }
}

/// A new id.
pub fn new_id(random: &mut Random) -> String {
    let digits: String = (0..3).map(|_| format!("{:016x}", random.next_u64())).collect();
    digits[..ID_LEN].to_owned()
}

/// What a file says of the history whose data it holds (AUX fields `repl-…`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    id: Option<String>,
    offset: Option<u64>,
    /// The database that its stream had selected; Redis took files without one for mistaken.
    has_db: bool,
}

impl Told {
    /// Takes a field of the file; any other than these is none of its business.
    pub fn aux(&mut self, key: &[u8], value: &[u8]) {
        let number = || parse_i64(value).and_then(|n| u64::try_from(n).ok());
        match key {
            b"repl-id" if is_id(value) => self.id = String::from_utf8(value.to_vec()).ok(),
            b"repl-offset" => self.offset = number(),
            b"repl-stream-db" => self.has_db = number().is_some(),
            _ => {}
        }
    }

    /// The history, and how far the file goes.
    pub fn history(&self) -> Option<(String, u64)> {
        let offset = self.offset.filter(|_| self.has_db)?;
        Some((self.id.clone()?, offset))
    }
}

/// Whether a text is an id.
pub fn is_id(text: &[u8]) -> bool {
    let digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.len() == ID_LEN && text.iter().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_forty_hex_digits() {
        let id = new_id(&mut Random::new(1));
        assert!(is_id(id.as_bytes()));
        assert_ne!(id, new_id(&mut Random::new(2)));
    }

    #[test]
    fn a_file_tells_all_three_or_nothing() {
        let id = "c".repeat(ID_LEN);
        let fields = [("repl-stream-db", "0"), ("repl-id", &id), ("repl-offset", "77")];
        let told = |fields: &[(&str, &str)]| {
            let mut told = Told::default();
            fields.iter().for_each(|(key, value)| told.aux(key.as_bytes(), value.as_bytes()));
            told.history()
        };
        assert_eq!(told(&fields), Some((id.clone(), 77)));
        for without in 0..3 {
            let mut some = fields.to_vec();
            some.remove(without);
            assert_eq!(told(&some), None);
        }
        assert_eq!(told(&[("repl-stream-db", "-1"), fields[1], fields[2]]), None);
        assert_eq!(told(&[fields[0], fields[1], ("repl-offset", "-1")]), None);
        assert_eq!(told(&[fields[0], ("repl-id", "short"), fields[2]]), None);
    }

    #[test]
    fn the_old_name_counts_as_far_as_it_was_shared() {
        let (a, b) = ("a".repeat(ID_LEN), "b".repeat(ID_LEN));
        assert!(is_id(a.as_bytes()) && !is_id(b"abc") && !is_id(&[b'g'; ID_LEN]));
        let named = Replication { id: Some(a.clone()), second: Some((b.clone(), 3)) };
        let renamed = named.renamed_at(7);
        assert_eq!(renamed, Replication { id: None, second: Some((a.clone(), 7)) });
        // Nobody has seen a name that was never drawn.
        assert_eq!(renamed.clone().renamed_at(9).second, Some((a.clone(), 7)));
        assert_eq!(renamed.renamed_at(5).second, Some((a, 5)));
    }
}
