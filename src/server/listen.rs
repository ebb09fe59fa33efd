//! Listening sockets.
//!
//! One shard accepts and hands connections out, so a port is bound the ordinary way, without
//! `SO_REUSEPORT`: a port that anybody serves refuses us. Only one holder is waited for: a
//! predecessor that is dead and whose ring the kernel is still taking down. Its socket still
//! listens, but no process owns it any more.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use crate::base::clock::SystemClock;
use crate::config::Settings;
use crate::ring::net;

/// How long the teardown of a dead predecessor is waited for.
const TEARDOWN: Duration = Duration::from_secs(10);
/// How often it is looked at. The kernel tells nobody when a socket is gone.
const LOOK: Duration = Duration::from_millis(5);

/// Opens every socket the settings ask for; the error is lines for the operator.
pub fn open(settings: &Settings) -> Result<Vec<OwnedFd>, Vec<String>> {
    let mut sockets = Vec::new();
    if settings.port != 0 {
        for bind in &settings.bind {
            let (optional, name) = match bind.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, bind.as_str()),
            };
            let bound = addresses(name, settings.port)
                .and_then(|addrs| addrs.into_iter().map(|a| bind_tcp(a, settings)).collect());
            let bound: io::Result<Vec<OwnedFd>> = bound;
            match bound {
                Ok(bound) => sockets.extend(bound),
                Err(error) if optional && is_absent(&error) => {}
                Err(error) => return Err(refusal(name, settings.port, &error)),
            }
        }
    }
    if let Some(path) = &settings.unixsocket {
        match net::bind_unix(path, settings.tcp_backlog as i32, settings.unixsocketperm) {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                return Err(vec![format!(
                    "Failed opening Unix socket: bind: {}: {error}",
                    path.display()
                )]);
            }
        }
    }
    Ok(sockets)
}

fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match name {
        "*" => return Ok(vec![SocketAddr::from(([0, 0, 0, 0], port))]),
        "::*" | "::" => return Ok(vec![SocketAddr::from(([0u16; 8], port))]),
        _ => {}
    }
    match name.parse::<IpAddr>() {
        Ok(addr) => Ok(vec![SocketAddr::new(addr, port)]),
        Err(_) => Ok((name, port).to_socket_addrs()?.take(1).collect()),
    }
}

/// The address or its family does not exist here.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc_errno::EADDRNOTAVAIL | libc_errno::EAFNOSUPPORT))
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

mod libc_errno {
    pub const EADDRNOTAVAIL: i32 = 99;
    pub const EAFNOSUPPORT: i32 = 97;
}

fn bind_tcp(addr: SocketAddr, settings: &Settings) -> io::Result<OwnedFd> {
    let clock = SystemClock::default();
    let patience = TEARDOWN.as_micros() as u64;
    loop {
        match net::bind_tcp(addr, settings.tcp_backlog as i32, false) {
            Ok(socket) => {
                net::set_keepalive(&socket, settings.tcp_keepalive)?;
                return Ok(socket);
            }
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && clock.now().mono_us < patience
                    && is_orphaned(addr.port()) =>
            {
                std::thread::sleep(LOOK);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether every socket listening on `port` belongs to no process that can be seen.
fn is_orphaned(port: u16) -> bool {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else { continue };
        inodes.extend(text.lines().skip(1).filter_map(|line| listening(line, port)));
    }
    // Gone between the refusal and the look: try again.
    !inodes.iter().any(|inode| has_owner(*inode))
}

/// The inode of a line of `/proc/net/tcp` that listens on `port`.
fn listening(line: &str, port: u16) -> Option<u64> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let local = words.get(1)?.rsplit(':').next()?;
    let here = u16::from_str_radix(local, 16).ok()?;
    (here == port && *words.get(3)? == "0A").then(|| words.get(9)?.parse().ok())?
}

fn has_owner(inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    let numbers = processes
        .flatten()
        .filter(|p| p.file_name().to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())));
    for process in numbers {
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let links = descriptors.flatten().filter_map(|d| fs::read_link(d.path()).ok());
        if links.into_iter().any(|link| link == Path::new(&wanted)) {
            return true;
        }
    }
    false
}

fn refusal(name: &str, port: u16, error: &io::Error) -> Vec<String> {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "Address already in use".to_owned(),
        _ => error.to_string(),
    };
    vec![
        format!("Warning: Could not create server TCP listening socket {name}:{port}: bind: {why}"),
        format!("Failed listening on port {port} (tcp), aborting."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_served_port_has_an_owner() {
        let socket = net::bind_tcp(SocketAddr::from(([127, 0, 0, 1], 0)), 16, false).unwrap();
        let port = net::bound_to(&socket).unwrap().port();
        assert!(!is_orphaned(port));
        drop(socket);
        assert!(is_orphaned(port));
    }
}
