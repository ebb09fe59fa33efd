//! Memory of the tools on a large file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::build::{length, repeated, string};
use crate::support::number;
use crate::support::server::{self, fresh_home, judged_by_peer};

/// Most resident memory of a tool, in bytes.
const BOUND: u64 = 64 << 20;

/// Writes a file of about so many bytes: a third of them short strings, a third one huge set, the
/// rest a huge hash, sorted set, list and stream-less strings. Gives the number of keys.
fn write(path: &Path, bytes: u64) -> u64 {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let mut put = |bytes: &[u8]| out.write_all(bytes).unwrap();
    put(b"REDIS0010\xfe\x00");
    let strings = bytes / 3 / 40;
    for n in 0..strings {
        put(&[0]);
        put(&string(format!("key:{n:010}").as_bytes()));
        put(&string(format!("value of {n:012}").as_bytes()));
    }
    let (members, fields) = (bytes / 3 / 12, bytes / 9 / 24);
    put(&[&[2][..], &string(b"set"), &length(members)].concat());
    for n in 0..members {
        put(&string(format!("{n:011}x").as_bytes()));
    }
    put(&[&[4][..], &string(b"hash"), &length(fields)].concat());
    for n in 0..fields {
        put(&[string(format!("f{n:010}").as_bytes()), string(format!("v{n:010}").as_bytes())]
            .concat());
    }
    put(&[&[5][..], &string(b"zset"), &length(fields)].concat());
    for n in 0..fields {
        put(&string(format!("m{n:010}").as_bytes()));
        put(&(n as f64).to_le_bytes());
    }
    let long = bytes / 9;
    put(&[&[0][..], &string(b"long"), &length(long)].concat());
    let part: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
    for at in (0..long).step_by(1 << 16) {
        put(&part[..(long - at).min(1 << 16) as usize]);
    }
    // What compresses to a hundredth.
    let squeezed = repeated(b's', (bytes / 4) as usize);
    put(&[&[0][..], &string(b"squeezed"), &squeezed].concat());
    put(&[0xFF, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.flush().unwrap();
    strings + 5
}

/// Runs a tool to its end; the most memory it had, in bytes. (What the kernel says of a child that
/// has ended counts what its parent had when it was forked.)
fn peak(args: &[&str]) -> u64 {
    let mut command = Command::new(server::subject());
    let mut child = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) * 1024);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(ended.success() && most > 0, "{args:?}: {ended}");
    most
}

#[test]
fn memory_does_not_grow_with_the_file() {
    if judged_by_peer() {
        return;
    }
    let bytes = number("RINGSTONE_RDB_MEGABYTES", 24) * 1_000_000;
    let home = fresh_home();
    let path = home.path().join("large.rdb");
    let keys = write(&path, bytes);
    let path = path.to_str().unwrap();
    let size = std::fs::metadata(path).unwrap().len();
    let checked = Command::new(server::subject()).args(["check-rdb", path]).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains(&format!("[info] {keys} keys read")), "{said}");
    let mut peaks = vec![("check-rdb", peak(&["check-rdb", path]))];
    for to in ["resp", "json", "rdb"] {
        let out = home.path().join("out");
        peaks.push((to, peak(&["convert", "--to", to, path, out.to_str().unwrap()])));
        std::fs::remove_file(out).unwrap();
    }
    println!("{size} bytes, {keys} keys: {peaks:?}");
    assert!(peaks.iter().all(|(_, peak)| *peak <= BOUND), "{peaks:?}");
}
