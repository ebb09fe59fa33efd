//! The command line; what is said of files is tested from outside, in `tests/rdb_tools`.

use super::*;

#[test]
fn command_lines() {
    let parsed =
        |line: &str| parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
    let check = |json, top| Ok(Call::Check { file: "f".into(), json, top });
    assert_eq!(parsed("f"), check(false, 10));
    assert_eq!(parsed("--json f --top 3"), check(true, 3));
    assert_eq!(parsed("-v"), Ok(Call::Version));
    assert_eq!(parsed("--help"), Ok(Call::Help));
    for wrong in ["", "a b", "--top f", "--top 10001 f", "--fix f"] {
        assert!(parsed(wrong).is_err(), "{wrong}");
    }
}
