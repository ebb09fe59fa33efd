//! The bytes of an RDB file, as Redis lays them out. Pure: numbers and names.
//!
//! ```text
//! file    = magic *item EOF checksum(8, only from version 5 on)
//! magic   = "REDIS" version(4 digits) / "VALKEY" version(3 digits)
//! item    = AUX string string             ; anything may stand there; unknown keys mean nothing
//!         / SELECTDB length               ; what follows belongs to this database; may repeat
//!         / RESIZEDB length length        ; a hint: keys, keys with an expiry
//!         / SLOT_INFO length length length ; a hint: slot, keys, keys with an expiry
//!         / FUNCTION2 string              ; a library's source
//!         / MODULE_AUX length length length *part 0 ; a module's own business
//!         / [ EXPIRETIME seconds(4) / EXPIRETIME_MS milliseconds(8) ]
//!           [ IDLE length / FREQ counter(1) ]  type(1) key(string) value
//! ```
//!
//! A *length* begins with two bits: `00` and six bits of it, `01` and fourteen, `10000000` and four
//! bytes, `10000001` and eight, all big-endian. `11` and six bits begin an encoded *string*: 0, 1,
//! 2 an integer of one, two, four bytes, little-endian, standing for its decimal form; 3 LZF:
//! compressed length, length, compressed data. Any other string is its length and its bytes.
//!
//! The checksum is CRC-64/REDIS of all bytes before it, little-endian; eight zeros mean that none
//! was computed. Text of an append-only file may follow it (an RDB *preamble*).
//!
//! What a module wrote, as a value of its own type (7) or beside the keys, can be passed over
//! without knowing the module: behind its id stand *parts*, each a length that says what follows
//! (1 and 2 a length, 3 four bytes, 4 eight, 5 a string), and 0.
//!
//! Valkey's own format differs in three things: its magic, type 22 (see [`TYPE_HASH_VALKEY`]), and
//! item 243. Where Redis and Valkey use a number for different things, the magic decides.

/// What an RDB file begins with.
pub const MAGIC: &[u8; 5] = b"REDIS";
/// What an RDB file begins with that Valkey 9 and later write.
pub const MAGIC_VALKEY: &[u8; 6] = b"VALKEY";
/// The version of these files that is read (Valkey 9.0 and 9.1).
pub const VERSION_VALKEY: u32 = 80;
/// Length of magic and version in bytes.
pub const HEADER_LEN: usize = 9;
/// The newest version read (Redis 7.4 and 8.0 to 8.4).
pub const VERSION_MAX: u32 = 12;
/// The first version that ends in a checksum.
pub const VERSION_CHECKSUM: u32 = 5;

/// Valkey: slots whose import was under way. Mandatory, and nothing for who has no such import.
pub const OP_SLOT_IMPORT: u8 = 243;
/// `slot, keys, expiries`: a hint of newer servers.
pub const OP_SLOT_INFO: u8 = 244;
/// A library of functions.
pub const OP_FUNCTION2: u8 = 245;
/// Functions of a release candidate of Redis 7.0.
pub const OP_FUNCTION_OLD: u8 = 246;
/// A module's data outside of keys.
pub const OP_MODULE_AUX: u8 = 247;
/// Seconds since the next key was used.
pub const OP_IDLE: u8 = 248;
/// The next key's frequency counter.
pub const OP_FREQ: u8 = 249;
/// A pair of strings about the file.
pub const OP_AUX: u8 = 250;
/// Sizes of the database to come.
pub const OP_RESIZEDB: u8 = 251;
/// The next key's expiry in Unix milliseconds.
pub const OP_EXPIRETIME_MS: u8 = 252;
/// The next key's expiry in Unix seconds.
pub const OP_EXPIRETIME: u8 = 253;
/// The database to come.
pub const OP_SELECTDB: u8 = 254;
/// The end.
pub const OP_EOF: u8 = 255;

/// The value type of a string.
pub const TYPE_STRING: u8 = 0;

/// The value type of a list, element by element.
pub const TYPE_LIST: u8 = 1;
/// The value type of a list that is a ziplist.
pub const TYPE_LIST_ZIPLIST: u8 = 10;
/// The value type of a list whose nodes are ziplists.
pub const TYPE_LIST_QUICKLIST: u8 = 14;
/// The value type of a list whose nodes are listpacks, or long elements.
pub const TYPE_LIST_QUICKLIST_2: u8 = 18;
/// A node of a quicklist that is one element as it is.
pub const NODE_PLAIN: u64 = 1;
/// One that is a listpack.
pub const NODE_PACKED: u64 = 2;
/// Longest element of a list, in bytes: nodes count theirs in 32 bits.
pub const ELEMENT_MAX: usize = u32::MAX as usize / 2;
/// The value type of a set, member by member.
pub const TYPE_SET: u8 = 2;
/// The value type of a hash, field by field.
pub const TYPE_HASH: u8 = 4;
/// The value type of a sorted set, member by member, scores as text.
pub const TYPE_ZSET: u8 = 3;
/// The value type of a sorted set, member by member, scores as doubles.
pub const TYPE_ZSET_2: u8 = 5;
/// The value type of a sorted set that is a ziplist.
pub const TYPE_ZSET_ZIPLIST: u8 = 12;
/// The value type of a sorted set that is a listpack.
pub const TYPE_ZSET_LISTPACK: u8 = 17;
/// The value type of a set that is an intset.
pub const TYPE_SET_INTSET: u8 = 11;
/// The value type of a hash that is a zipmap.
pub const TYPE_HASH_ZIPMAP: u8 = 9;
/// The value type of a hash that is a ziplist.
pub const TYPE_HASH_ZIPLIST: u8 = 13;
/// The value type of a hash that is a listpack.
pub const TYPE_HASH_LISTPACK: u8 = 16;
/// The value type of a set that is a listpack.
pub const TYPE_SET_LISTPACK: u8 = 20;
/// The value type of a hash whose fields have times, in release candidates of Redis 7.4: a time
/// (0 is none) in front of each field, as a length.
pub const TYPE_HASH_TIMED_OLD: u8 = 22;
/// The value type of such a hash that is a listpack: field, value and time in turn.
pub const TYPE_HASH_TIMED_LISTPACK_OLD: u8 = 23;
/// As [`TYPE_HASH_TIMED_OLD`] of Redis 7.4: the first time stands in front of all, and the others
/// are counted from there, beginning with 1.
pub const TYPE_HASH_TIMED: u8 = 24;
/// As [`TYPE_HASH_TIMED_LISTPACK_OLD`] of Redis 7.4: the first time stands in front.
pub const TYPE_HASH_TIMED_LISTPACK: u8 = 25;

/// The value type of a hash whose fields have times in a file of Valkey's: behind each field and
/// value eight bytes, little-endian, of a time in milliseconds, or -1.
pub const TYPE_HASH_VALKEY: u8 = 22;

/// The value type of a module of the time before modules were released; nobody can read it.
pub const TYPE_MODULE_OLD: u8 = 6;
/// The value type of a module.
pub const TYPE_MODULE: u8 = 7;
/// What follows in what a module wrote: nothing any more.
pub const MODULE_EOF: u64 = 0;
/// A signed integer, as a length.
pub const MODULE_SINT: u64 = 1;
/// An unsigned integer, as a length.
pub const MODULE_UINT: u64 = 2;
/// Four bytes.
pub const MODULE_FLOAT: u64 = 3;
/// Eight bytes.
pub const MODULE_DOUBLE: u64 = 4;
/// A string.
pub const MODULE_STRING: u64 = 5;

/// The value type of a stream.
pub const TYPE_STREAM: u8 = 15;
/// The value type of a stream that tells how many entries it ever had.
pub const TYPE_STREAM_2: u8 = 19;
/// The value type of one that tells when its consumers were given something, too.
pub const TYPE_STREAM_3: u8 = 21;

/// The kinds of streams that are read.
pub const STREAMS: &[u8] = &[TYPE_STREAM, TYPE_STREAM_2, TYPE_STREAM_3];
/// The kinds of hashes and sets that are read.
pub const HASHES_AND_SETS: &[u8] = &[
    TYPE_SET,
    TYPE_HASH,
    TYPE_SET_INTSET,
    TYPE_SET_LISTPACK,
    TYPE_HASH_ZIPMAP,
    TYPE_HASH_ZIPLIST,
    TYPE_HASH_LISTPACK,
];
/// The kinds of hashes whose fields have times.
pub const TIMED_HASHES: &[u8] =
    &[TYPE_HASH_TIMED_OLD, TYPE_HASH_TIMED_LISTPACK_OLD, TYPE_HASH_TIMED, TYPE_HASH_TIMED_LISTPACK];
/// The kinds of lists that are read.
pub const LISTS: &[u8] =
    &[TYPE_LIST, TYPE_LIST_ZIPLIST, TYPE_LIST_QUICKLIST, TYPE_LIST_QUICKLIST_2];
/// The kinds of sorted sets that are read.
pub const ZSETS: &[u8] = &[TYPE_ZSET, TYPE_ZSET_2, TYPE_ZSET_ZIPLIST, TYPE_ZSET_LISTPACK];
/// Encoded string: one byte.
pub const ENC_INT8: u8 = 0;
/// Encoded string: two bytes.
pub const ENC_INT16: u8 = 1;
/// Encoded string: four bytes.
pub const ENC_INT32: u8 = 2;
/// Encoded string: LZF.
pub const ENC_LZF: u8 = 3;

/// The name of a value type by its number, as `TYPE` would say it; `None` for one never heard of.
pub fn type_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        TYPE_STRING => "string",
        1 | 10 | 14 | 18 => "list",
        2 | 11 | 20 => "set",
        3 | 5 | 12 | 17 => "sorted set",
        4 | 9 | 13 | 16 | 22..=25 => "hash",
        6 | 7 => "module value",
        15 | 19 | 21 | 26 => "stream",
        _ => return None,
    })
}

/// The name of a value type as TYPE says it, `module` for one of a module.
pub fn plain_type_name(kind: u8) -> &'static str {
    match type_name(kind) {
        Some("sorted set") => "zset",
        Some("module value") => "module",
        Some(name) => name,
        None => "unknown",
    }
}

/// What tells the value types of a name apart: how the value stands in the file.
pub fn layout_name(kind: u8) -> &'static str {
    match kind {
        TYPE_STRING => "string",
        TYPE_LIST | TYPE_SET | TYPE_HASH => "elements",
        TYPE_ZSET => "elements, scores as text",
        TYPE_ZSET_2 => "elements, scores as doubles",
        TYPE_LIST_ZIPLIST | TYPE_HASH_ZIPLIST | TYPE_ZSET_ZIPLIST => "ziplist",
        TYPE_LIST_QUICKLIST => "quicklist of ziplists",
        TYPE_LIST_QUICKLIST_2 => "quicklist of listpacks",
        TYPE_SET_INTSET => "intset",
        TYPE_HASH_ZIPMAP => "zipmap",
        TYPE_SET_LISTPACK | TYPE_HASH_LISTPACK | TYPE_ZSET_LISTPACK => "listpack",
        TYPE_HASH_TIMED_OLD | TYPE_HASH_TIMED => "elements with times",
        TYPE_HASH_TIMED_LISTPACK_OLD | TYPE_HASH_TIMED_LISTPACK => "listpack with times",
        TYPE_STREAM => "stream of version 1",
        TYPE_STREAM_2 => "stream of version 2",
        TYPE_STREAM_3 => "stream of version 3",
        TYPE_MODULE => "module",
        _ => "unknown",
    }
}

/// The name of a module by the number that stands for it: nine characters of six bits each, above
/// ten bits of a version.
pub fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |at: u32| char::from(LETTERS[(id >> (10 + 6 * at)) as usize & 63]);
    (0..9).rev().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_nine_letters() {
        let mut id = 0;
        for letter in [19u64, 30, 44, 45, 26, 45, 50, 41, 30] {
            id = id << 6 | letter;
        }
        assert_eq!(module_name(id << 10 | 5), "Testatype");
    }
}
