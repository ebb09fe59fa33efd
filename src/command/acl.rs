//! ACL, as far as there is one user, who may do everything.

use crate::base::hash::{hex, sha256};
use crate::command::args::Args;
use crate::command::fault::Fault;
use crate::command::server;
use crate::command::server::help;
use crate::command::session::SessionCtx;
use crate::command::table::{self, Acl, Command, Flags, ROW, SessionRun, printable};

const ALWAYS: u32 = Flags::LOADING | Flags::STALE | Flags::NOSCRIPT;
const ADMIN: u32 = ALWAYS | Flags::ADMIN;

const fn row(name: &'static str, arity: i32, flags: u32, run: SessionRun) -> Command {
    server::row(name, arity, flags, "6.0.0", run)
}

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "acl",
    arity: -2,
    group: "server",
    since: "6.0.0",
    subcommands: &[
        row("acl|cat", -2, ALWAYS, cat),
        row("acl|getuser", 3, ADMIN, getuser),
        row("acl|help", 2, Flags::LOADING | Flags::STALE, |ctx, _| {
            help(ctx, HELP);
            Ok(())
        }),
        row("acl|list", 2, ADMIN, list),
        row("acl|users", 2, ADMIN, |ctx, _| {
            ctx.out.array(1);
            ctx.out.bulk(b"default");
            Ok(())
        }),
        row("acl|whoami", 2, ALWAYS, |ctx, _| {
            ctx.out.bulk(b"default");
            Ok(())
        }),
    ],
    ..ROW
}];

/// Whether a command takes part in a category.
fn is_of(command: &Command, category: &str) -> bool {
    command.acl_names().any(|name| name[1..].eq_ignore_ascii_case(category))
}

fn cat(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    match args.items() {
        [_, _] => {
            ctx.out.array(Acl::CATEGORIES.len());
            Acl::CATEGORIES.iter().for_each(|name| ctx.out.bulk(name.as_bytes()));
        }
        [_, _, wanted] => {
            let known = Acl::CATEGORIES.iter().find(|c| c.as_bytes().eq_ignore_ascii_case(wanted));
            let Some(category) = known else {
                let mut text = b"ERR Unknown category '".to_vec();
                text.extend_from_slice(printable(wanted, usize::MAX));
                text.push(b'\'');
                return Err(Fault(text.into()));
            };
            let rows = table::all().flat_map(|c| std::iter::once(c).chain(c.subcommands));
            let found: Vec<_> = rows.filter(|c| is_of(c, category)).collect();
            ctx.out.array(found.len());
            found.iter().for_each(|c| ctx.out.bulk(c.name.as_bytes()));
        }
        _ => return Err(table::wrong_subcommand("acl", &args[1])),
    }
    Ok(())
}

/// The digest under which a password is shown.
fn password(ctx: &SessionCtx<'_>) -> Option<String> {
    ctx.server.password().map(|password| hex(&sha256(&password)))
}

fn list(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let secret = match password(ctx) {
        None => "nopass".to_owned(),
        Some(digest) => format!("#{digest}"),
    };
    let line = match secret.as_str() {
        "nopass" => "user default on nopass sanitize-payload ~* &* +@all".to_owned(),
        digest => format!("user default on sanitize-payload {digest} ~* &* +@all"),
    };
    ctx.out.array(1);
    ctx.out.bulk(line.as_bytes());
    Ok(())
}

fn getuser(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if &args[2] != b"default" {
        ctx.out.null();
        return Ok(());
    }
    let password = password(ctx);
    let flags: &[&str] = match password {
        None => &["on", "nopass", "sanitize-payload"],
        Some(_) => &["on", "sanitize-payload"],
    };
    let out = &mut *ctx.out;
    out.map(6);
    out.bulk(b"flags");
    out.set(flags.len());
    flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
    out.bulk(b"passwords");
    out.array(password.iter().len());
    password.iter().for_each(|digest| out.bulk(digest.as_bytes()));
    for (name, value) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"selectors");
    out.array(0);
    Ok(())
}

const HELP: &[&str] = &[
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "GETUSER <username>",
    "    Get the user's details.",
    "LIST",
    "    Show users details in config file format.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
    "HELP",
    "    Prints this help.",
];

#[cfg(test)]
mod tests {
    use crate::command::session::fake::Fake;

    #[test]
    fn one_user() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("ACL WHOAMI"), "$7\r\ndefault\r\n");
        assert_eq!(fake.run("ACL USERS"), "*1\r\n$7\r\ndefault\r\n");
        assert_eq!(fake.run("ACL GETUSER nobody"), "$-1\r\n");
        assert!(
            fake.run("ACL LIST").contains("user default on nopass sanitize-payload ~* &* +@all")
        );
        fake.password = Some(b"abc".to_vec());
        let digest =
            "#ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad ~* &* +@all";
        assert!(
            fake.run("ACL LIST").contains(&format!("user default on sanitize-payload {digest}"))
        );
        assert!(
            fake.run("ACL GETUSER default").starts_with("*12\r\n$5\r\nflags\r\n*2\r\n$2\r\non")
        );
    }

    #[test]
    fn categories() {
        let mut fake = Fake::default();
        assert!(fake.run("ACL CAT").starts_with("*21\r\n$8\r\nkeyspace\r\n"));
        let transaction = fake.run("ACL CAT Transaction");
        assert!(transaction.starts_with("*5\r\n") && transaction.contains("unwatch"));
        assert!(fake.run("ACL CAT admin").contains("config|set"));
        assert_eq!(fake.run("ACL CAT scripting"), "*0\r\n");
        assert_eq!(fake.run("ACL CAT nosuch"), "-ERR Unknown category 'nosuch'\r\n");
        assert_eq!(
            fake.run("ACL CAT a b"),
            "-ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.\r\n"
        );
    }
}
