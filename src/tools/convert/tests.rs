//! The command line; what is converted is tested from outside, in `tests/rdb_tools`.

use super::*;

fn parsed(line: &str) -> Result<Option<Call>, String> {
    parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
}

#[test]
fn command_lines() {
    let call = parsed("--match a* --type set --db 3 in.rdb out.jsonl").unwrap().unwrap();
    assert_eq!(call.target, Target::Json);
    let filter =
        Filter { pattern: Some(b"a*".to_vec()), kind: Some("set".to_owned()), db: Some(3) };
    assert_eq!((call.filter, call.modules), (filter, Modules::Refuse));
    let call = parsed("--skip-modules --to resp in.rdb -").unwrap().unwrap();
    assert_eq!(
        (call.target, call.modules, call.filter.wants_all()),
        (Target::Resp, Modules::Skip, true)
    );
    assert_eq!(parsed("x --help"), Ok(None));
    for wrong in [
        "",
        "in.rdb",
        "in.rdb -",
        "in.rdb out.txt",
        "--to text in.rdb -",
        "--to",
        "--type module in.rdb out.aof",
        "--db x in.rdb out.aof",
        "--rdb-version 13 in.rdb out.rdb",
        "--what in.rdb out.aof",
        "in.rdb out.aof more",
    ] {
        assert!(parsed(wrong).is_err(), "{wrong}");
    }
}
