//! MIGRATE: what a client asks for when keys are to go to another server.
//!
//! The request is read here; carrying it out takes a network and many turns, and is the server's
//! (`shard/migrate.rs`). So MIGRATE acts on the server, not on data, for which it has key positions
//! all the same.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::keys::{Begin, Find, Keys, TAKES};
use crate::command::session::SessionCtx;
use crate::command::table::{Acl, Command, Flags, KeySpec, ROW, Run};

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "migrate",
    arity: -6,
    flags: Flags(Flags::WRITE | Flags::MOVABLE_KEYS | Flags::SETTLE),
    keys: Keys::Migrated,
    specs: SPECS,
    run: Run::Session(migrate),
    acl: Acl(Acl::KEYSPACE | Acl::DANGEROUS),
    tips: &["nondeterministic_output"],
    since: "2.6.0",
    ..ROW
}];

const SPECS: &[KeySpec] = &[
    KeySpec::one(3, TAKES),
    KeySpec {
        notes: "",
        flags: &["RW", "access", "delete", "incomplete"],
        begin: Begin::Keyword("KEYS", -2),
        find: Find::Range { last: -1, step: 1, limit: 0 },
    },
];

/// A transaction's replies are one, and none of them can be waited for while a network is.
const IN_TRANSACTION: Fault = Fault::new("ERR MIGRATE is not allowed inside a transaction");
const NOT_EMPTY: Fault = Fault::new(
    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
);
/// Milliseconds that a timeout of 0 or less stands for.
const TIMEOUT_MS: u64 = 1000;

/// What MIGRATE asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Name or address of the other server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database that the keys are in.
    pub db: usize,
    /// The keys.
    pub keys: Vec<Box<[u8]>>,
    /// The database that they go to.
    pub to_db: i64,
    /// How long the other server may take for each step, in milliseconds.
    pub timeout_ms: u64,
    /// Whether they stay here as well.
    pub copy: bool,
    /// Whether they may take the place of what is there.
    pub replace: bool,
    /// What AUTH is told, if it is: a password, or a name and a password.
    pub auth: Vec<Vec<u8>>,
}

fn migrate(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let migration = read(args, ctx.session.db)?;
    if ctx.session.in_exec {
        return Err(IN_TRANSACTION);
    }
    ctx.server.migrate(migration);
    // Its outcome takes the place of this.
    ctx.out.ok();
    Ok(())
}

/// A port as C's `atoi` would read it and a socket's address keep it.
fn port(word: &[u8]) -> u16 {
    let end = word.iter().position(|b| !b.is_ascii_digit()).unwrap_or(word.len());
    parse_i64(&word[..end]).map_or(0, |n| n as u16)
}

fn read(args: &Args<'_>, db: usize) -> Result<Migration, Fault> {
    let mut migration = Migration {
        host: String::from_utf8_lossy(&args[1]).into_owned(),
        port: port(&args[2]),
        db,
        keys: Vec::new(),
        to_db: 0,
        timeout_ms: TIMEOUT_MS,
        copy: false,
        replace: false,
        auth: Vec::new(),
    };
    let mut keys = &args.items()[3..4];
    let mut at = 6;
    while at < args.len() {
        let more = args.len() - 1 - at;
        let words = |count: usize| -> Result<Vec<Vec<u8>>, Fault> {
            let words = args.items().get(at + 1..at + 1 + count).ok_or(SYNTAX)?;
            Ok(words.iter().map(|word| word.to_vec()).collect())
        };
        if args.is(at, "COPY") {
            migration.copy = true;
        } else if args.is(at, "REPLACE") {
            migration.replace = true;
        } else if args.is(at, "AUTH") {
            migration.auth = words(1)?;
            at += 1;
        } else if args.is(at, "AUTH2") {
            migration.auth = words(2)?;
            at += 2;
        } else if args.is(at, "KEYS") {
            if !args[3].is_empty() {
                return Err(NOT_EMPTY);
            }
            keys = &args.items()[args.len() - more..];
            break;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    let timeout = parse_i64(&args[5]).ok_or(NOT_AN_INTEGER)?;
    if timeout > 0 {
        migration.timeout_ms = timeout.cast_unsigned();
    }
    migration.to_db = parse_i64(&args[4]).ok_or(NOT_AN_INTEGER)?;
    migration.keys = keys.iter().map(|key| Box::from(*key)).collect();
    Ok(migration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::session::fake::Fake;

    fn parsed(line: &str) -> Result<Migration, String> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        read(&Args::new(&words), 2).map_err(|fault| String::from_utf8_lossy(&fault.0).into_owned())
    }

    #[test]
    fn what_is_asked_for() {
        let plain = Migration {
            host: "there".into(),
            port: 6379,
            db: 2,
            keys: vec![Box::from(&b"k"[..])],
            to_db: 5,
            timeout_ms: 700,
            copy: false,
            replace: false,
            auth: vec![],
        };
        assert_eq!(parsed("MIGRATE there 6379 k 5 700").as_ref(), Ok(&plain));
        let keys = ["a", "copy", "a"].map(|key| Box::from(key.as_bytes())).to_vec();
        let many = Migration { keys, copy: true, replace: true, ..plain.clone() };
        assert_eq!(
            parsed("MIGRATE there 6379  5 700 replace copy KEYS a copy a").as_ref(),
            Ok(&many)
        );
        let auth = |words: &[&str]| words.iter().map(|w| w.as_bytes().to_vec()).collect();
        let one = Migration { auth: auth(&["KEYS"]), ..plain.clone() };
        assert_eq!(parsed("MIGRATE there 6379 k 5 700 AUTH KEYS").as_ref(), Ok(&one));
        let two = Migration { auth: auth(&["u", "p"]), ..plain.clone() };
        assert_eq!(parsed("MIGRATE there 6379 k 5 700 auth2 u p").as_ref(), Ok(&two));
        let hurried = Migration { timeout_ms: 1000, port: 0, ..plain };
        assert_eq!(parsed("MIGRATE there x k 5 -7").as_ref(), Ok(&hurried));
        assert_eq!(parsed("MIGRATE h 1  0 0 KEYS").unwrap().keys.len(), 0);
    }

    #[test]
    fn what_is_refused() {
        let not_int = "ERR value is not an integer or out of range";
        for (line, text) in [
            ("MIGRATE h 1 k x 1", not_int),
            ("MIGRATE h 1 k 0 x", not_int),
            ("MIGRATE h 1 k 0 x FOO", "ERR syntax error"),
            ("MIGRATE h 1 k 0 1 AUTH", "ERR syntax error"),
            ("MIGRATE h 1 k 0 1 AUTH2 a", "ERR syntax error"),
            ("MIGRATE h 1 k 0 1 KEYS a", str::from_utf8(&NOT_EMPTY.0).unwrap()),
        ] {
            assert_eq!(parsed(line), Err(text.to_owned()), "{line}");
        }
        let mut fake = Fake::default();
        assert_eq!(fake.run("MIGRATE h 1 k 0 x"), format!("-{not_int}\r\n"));
        assert!(fake.calls.is_empty());
        assert_eq!(fake.run("MIGRATE h 1 k 0 1"), "+OK\r\n");
        fake.session.in_exec = true;
        let refused = "-ERR MIGRATE is not allowed inside a transaction\r\n";
        assert_eq!(fake.run("MIGRATE h 1 k 0 1"), refused);
        assert_eq!(fake.calls, ["migrate 1 keys to h:1"]);
    }
}
