//! Commands about the client itself: PING, ECHO, SELECT, AUTH, HELLO, QUIT.

use crate::base::number::parse_i64;
use crate::base::version;
use crate::command::args::Args;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::session::SessionCtx;
use crate::command::table::{Acl, Command, Flags, ROW, Run, printable, wrong_arity};

const ALWAYS: u32 = Flags::LOADING | Flags::STALE | Flags::FAST;
const ENTRY: u32 = ALWAYS | Flags::NOSCRIPT | Flags::NO_AUTH | Flags::ALLOW_BUSY;

/// A row of this group.
pub(super) const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    since: &'static str,
    run: fn(&mut SessionCtx<'_>, &Args<'_>) -> Result<(), Fault>,
) -> Command {
    Command {
        name,
        arity,
        flags: Flags(flags),
        run: Run::Session(run),
        group: "connection",
        since,
        acl: Acl(Acl::CONNECTION),
        ..ROW
    }
}

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        ..row("ping", -1, Flags::FAST, "1.0.0", ping)
    },
    row("echo", 2, ALWAYS, "1.0.0", echo),
    row("select", 2, ALWAYS, "1.0.0", select),
    row("auth", -2, ENTRY, "1.0.0", auth),
    // Earlier replies are encoded as the client spoke when it asked.
    row("hello", -1, ENTRY | Flags::SETTLE, "6.0.0", hello),
    row("quit", -1, ENTRY | Flags::NO_QUEUE, "1.0.0", quit),
];

fn ping(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    match args.items() {
        [_] => ctx.out.simple("PONG"),
        [_, text] => ctx.out.bulk(text),
        _ => return Err(wrong_arity("ping")),
    }
    Ok(())
}

fn echo(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    match args.shared(1) {
        Some(text) => ctx.out.bulk_shared(text),
        None => ctx.out.bulk(&args[1]),
    }
    Ok(())
}

const NOT_AN_INT: Fault =
    Fault::new("ERR value is out of range, value must between -2147483648 and 2147483647");

fn select(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let n = parse_i64(&args[1]).ok_or(NOT_AN_INTEGER)?;
    let n = i32::try_from(n).map_err(|_| NOT_AN_INT)?;
    let there = usize::try_from(n).ok().filter(|db| *db < ctx.server.databases());
    ctx.session.db = there.ok_or(Fault::new("ERR DB index is out of range"))?;
    ctx.out.ok();
    Ok(())
}

const WRONG_PASS: Fault =
    Fault::new("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD: Fault = Fault::new(
    "ERR AUTH <password> called without any password configured for the default user. Are you \
     sure your configuration is correct?",
);

fn auth(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    check_auth(ctx.server.password().as_deref(), args)?;
    ctx.session.authenticated = true;
    ctx.out.ok();
    Ok(())
}

/// Whether AUTH with these arguments lets a client in where `wanted` is the password.
fn check_auth(wanted: Option<&[u8]>, args: &Args<'_>) -> Result<(), Fault> {
    let (user, password): (&[u8], _) = match args.items() {
        [_, _] if wanted.is_none() => return Err(NO_PASSWORD),
        [_, password] => (b"default", *password),
        [_, user, password] => (*user, *password),
        _ => return Err(SYNTAX),
    };
    if may_enter(wanted, user, password) { Ok(()) } else { Err(WRONG_PASS) }
}

/// Whether `user` with `password` is let in. There is one user, and without a password anything
/// will do for it.
fn may_enter(wanted: Option<&[u8]>, user: &[u8], password: &[u8]) -> bool {
    let right = wanted.is_none_or(|wanted| same_secret(wanted, password));
    right && user == b"default"
}

/// Compares in a time that depends on the lengths alone: every byte of `given` is looked at, and
/// where `wanted` is shorter it is gone through again.
fn same_secret(wanted: &[u8], given: &[u8]) -> bool {
    let mut difference = usize::from(wanted.len() != given.len());
    for (i, byte) in given.iter().enumerate() {
        let other = if wanted.is_empty() { 0 } else { wanted[i % wanted.len()] };
        difference |= usize::from(std::hint::black_box(byte ^ other));
    }
    std::hint::black_box(difference) == 0
}

const BAD_NAME: Fault =
    Fault::new("ERR Client names cannot contain spaces, newlines or special characters.");
const NO_AUTH_YET: Fault = Fault::new(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
     <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP \
     protocol version at the same time",
);

/// What HELLO asks for.
#[derive(Default)]
struct Greeting<'a> {
    resp3: Option<bool>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Greeting<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, Fault> {
        let mut greeting = Greeting::default();
        let [_, version, options @ ..] = args.items() else { return Ok(greeting) };
        greeting.resp3 = match parse_i64(version) {
            None => {
                return Err(Fault::new("ERR Protocol version is not an integer or out of range"));
            }
            Some(2) => Some(false),
            Some(3) => Some(true),
            Some(_) => return Err(Fault::new("NOPROTO unsupported protocol version")),
        };
        let mut rest = options;
        loop {
            rest = match *rest {
                [] => return Ok(greeting),
                [word, user, password, ref tail @ ..] if word.eq_ignore_ascii_case(b"AUTH") => {
                    greeting.login = Some((user, password));
                    tail
                }
                [word, name, ref tail @ ..] if word.eq_ignore_ascii_case(b"SETNAME") => {
                    if !is_client_name(name) {
                        return Err(BAD_NAME);
                    }
                    greeting.name = Some(name);
                    tail
                }
                [word, ..] => {
                    let text = b"ERR Syntax error in HELLO option '".as_slice();
                    let word = printable(word, usize::MAX);
                    return Err(Fault([text, word, b"'"].concat().into()));
                }
            };
        }
    }
}

/// Client names are printable and hold no space, so that lists of clients can be split.
pub(super) fn is_client_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

fn hello(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let greeting = Greeting::parse(args)?;
    if let Some((user, password)) = greeting.login {
        if !may_enter(ctx.server.password().as_deref(), user, password) {
            return Err(WRONG_PASS);
        }
        ctx.session.authenticated = true;
    }
    if !ctx.session.authenticated {
        return Err(NO_AUTH_YET);
    }
    if let Some(name) = greeting.name {
        ctx.session.name = name.to_vec();
    }
    if let Some(resp3) = greeting.resp3 {
        ctx.session.resp3 = resp3;
        ctx.out.resp3 = resp3;
    }
    let (resp3, id) = (ctx.session.resp3, ctx.session.id);
    let out = &mut *ctx.out;
    out.map(7);
    out.bulk(b"server");
    out.bulk(b"redis");
    out.bulk(b"version");
    out.bulk(version::REDIS.as_bytes());
    out.bulk(b"proto");
    out.int(if resp3 { 3 } else { 2 });
    out.bulk(b"id");
    out.int(i64::try_from(id).unwrap_or(i64::MAX));
    out.bulk(b"mode");
    out.bulk(b"standalone");
    out.bulk(b"role");
    out.bulk(b"master");
    out.bulk(b"modules");
    out.array(0);
    Ok(())
}

fn quit(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.session.closing = true;
    ctx.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::session::fake::Fake;

    #[test]
    fn ping_echo_quit() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("PING"), "+PONG\r\n");
        assert_eq!(fake.run("ping x"), "$1\r\nx\r\n");
        assert_eq!(fake.run("PING a b"), "-ERR wrong number of arguments for 'ping' command\r\n");
        assert_eq!(fake.run("ECHO hi"), "$2\r\nhi\r\n");
        assert!(!fake.session.closing);
        assert_eq!(fake.run("QUIT"), "+OK\r\n");
        assert!(fake.session.closing);
    }

    #[test]
    fn select_checks_its_index() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("SELECT 15"), "+OK\r\n");
        assert_eq!(fake.session.db, 15);
        for (index, reply) in [
            ("16", "-ERR DB index is out of range\r\n"),
            ("-1", "-ERR DB index is out of range\r\n"),
            ("01", "-ERR value is not an integer or out of range\r\n"),
            (
                "2147483648",
                "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
            ),
        ] {
            assert_eq!(fake.run(&format!("SELECT {index}")), reply);
        }
        assert_eq!(fake.session.db, 15, "a refused SELECT changes nothing");
    }

    #[test]
    fn auth_without_a_password_set() {
        let mut fake = Fake::default();
        assert!(fake.run("AUTH x").starts_with("-ERR AUTH <password> called without any"));
        assert_eq!(fake.run("AUTH default x"), "+OK\r\n");
        assert!(fake.run("AUTH other x").starts_with("-WRONGPASS "));
        assert_eq!(fake.run("AUTH a b c"), "-ERR syntax error\r\n");
    }

    #[test]
    fn auth_with_a_password() {
        let mut fake = Fake { password: Some(b"secret".to_vec()), ..Fake::default() };
        fake.session.authenticated = false;
        for wrong in ["AUTH wrong", "AUTH secre", "AUTH secretsecret", "AUTH other secret"] {
            assert!(fake.run(wrong).starts_with("-WRONGPASS "), "{wrong}");
            assert!(!fake.session.authenticated);
        }
        assert_eq!(fake.run("AUTH secret"), "+OK\r\n");
        assert!(fake.session.authenticated);
        fake.session.authenticated = false;
        assert_eq!(fake.run("AUTH default secret"), "+OK\r\n");
        assert!(fake.session.authenticated);
    }

    #[test]
    fn hello_answers_in_the_new_protocol() {
        let mut fake = Fake::default();
        let body = "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.5\r\n";
        let two = fake.run("HELLO");
        assert!(two.starts_with(&format!("*14\r\n{body}$5\r\nproto\r\n:2\r\n")), "{two}");
        let three = fake.run("HELLO 3 SETNAME bob");
        assert!(three.starts_with(&format!("%7\r\n{body}$5\r\nproto\r\n:3\r\n")), "{three}");
        assert!(three.ends_with("$7\r\nmodules\r\n*0\r\n"));
        assert!(fake.session.resp3);
        assert_eq!(fake.session.name, b"bob");
    }

    #[test]
    fn hello_refuses() {
        let mut fake = Fake { password: Some(b"secret".to_vec()), ..Fake::default() };
        fake.session.authenticated = false;
        for (request, error) in [
            ("HELLO", "NOAUTH HELLO must be called with the client already authenticated"),
            ("HELLO 4", "NOPROTO unsupported protocol version"),
            ("HELLO x", "ERR Protocol version is not an integer or out of range"),
            ("HELLO 3 AUTH default", "ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 3 setname", "ERR Syntax error in HELLO option 'setname'"),
            ("HELLO 3 foo bar", "ERR Syntax error in HELLO option 'foo'"),
            ("HELLO 3 SETNAME a\tb", "ERR Client names cannot contain spaces"),
            ("HELLO 3 AUTH default wrong SETNAME x", "WRONGPASS "),
        ] {
            let reply = fake.run(request);
            assert!(reply.starts_with(&format!("-{error}")), "{request}: {reply}");
            assert!(!fake.session.resp3 && fake.session.name.is_empty(), "{request}");
        }
        assert!(fake.run("HELLO 3 AUTH default secret").starts_with("%7\r\n"));
        assert!(fake.session.authenticated);
    }

    #[test]
    fn secrets() {
        assert!(same_secret(b"abc", b"abc") && same_secret(b"", b""));
        assert!(!same_secret(b"abc", b"abd") && !same_secret(b"ab", b"abab"));
        assert!(!same_secret(b"abc", b"") && !same_secret(b"", b"abc"));
    }
}
