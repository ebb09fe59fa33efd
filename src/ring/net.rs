//! Sockets to listen on, and addresses as text. Plain system calls; knows no ring.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, Mode, chmod, lstat, unlink};
use rustix::net::sockopt;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, bind, getpeername,
    getsockname, listen, socket_with,
};

/// A TCP socket listening on `addr`. IPv6 ones take IPv6 only. With `reuse_port` several sockets
/// may listen on one address and the kernel spreads connections over them.
///
/// # Errors
/// As `socket(2)`, `bind(2)`, `listen(2)`; `AddrInUse` when somebody listens there.
pub fn bind_tcp(addr: SocketAddr, backlog: i32, reuse_port: bool) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    bind(&socket, &addr)?;
    listen(&socket, backlog)?;
    Ok(socket)
}

/// A Unix socket listening on `path`, with permission bits `mode` if given. A socket that was
/// left at the path is replaced; anything else there is an error.
///
/// # Errors
/// As `bind(2)`; `AlreadyExists` when something that is no socket has the name.
pub fn bind_unix(path: &Path, backlog: i32, mode: Option<u32>) -> io::Result<OwnedFd> {
    match lstat(path).map(|found| FileType::from_raw_mode(found.st_mode)) {
        Ok(FileType::Socket) => unlink(path)?,
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => {}
    }
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    if let Some(mode) = mode {
        chmod(path, Mode::from_raw_mode(mode))?;
    }
    listen(&socket, backlog)?;
    Ok(socket)
}

/// The address a socket is bound to, when it is an IP one (port 0 resolved).
pub fn bound_to(socket: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(getsockname(socket).ok()?).ok()
}

/// Turns keepalive probes on after `seconds` of silence (0: off), spaced so that a dead peer is
/// found after twice that time. Set on a listening socket, accepted ones inherit it.
///
/// # Errors
/// As `setsockopt(2)`.
pub fn set_keepalive(socket: &OwnedFd, seconds: u32) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, seconds > 0)?;
    if seconds > 0 && is_tcp(socket) {
        let third = Duration::from_secs(u64::from((seconds / 3).max(1)));
        sockopt::set_tcp_keepidle(socket, Duration::from_secs(u64::from(seconds)))?;
        sockopt::set_tcp_keepintvl(socket, third)?;
        sockopt::set_tcp_keepcnt(socket, 3)?;
    }
    Ok(())
}

/// What every listening socket gets, and accepted ones inherit: no delay of small segments, and
/// blocking mode.
pub fn prepare_listener(socket: &OwnedFd) {
    if is_tcp(socket) {
        // Without it replies come late, not wrong.
        let _ = sockopt::set_tcp_nodelay(socket, true);
    }
    make_blocking(socket);
}

/// A ring's operation on a non-blocking socket fails instead of waiting.
pub(super) fn make_blocking(socket: &OwnedFd) {
    if let Ok(flags) = rustix::fs::fcntl_getfl(socket) {
        let _ = rustix::fs::fcntl_setfl(socket, flags - rustix::fs::OFlags::NONBLOCK);
    }
}

fn is_tcp(socket: &OwnedFd) -> bool {
    sockopt::socket_domain(socket)
        .is_ok_and(|domain| matches!(domain, AddressFamily::INET | AddressFamily::INET6))
}

/// The peer's address: `ip:port`, `[ip6]:port`, a path, or empty.
pub fn peer_text(socket: &OwnedFd) -> String {
    getpeername(socket).ok().flatten().map(text).unwrap_or_default()
}

/// The socket's own address, like [`peer_text`].
pub fn local_text(socket: &OwnedFd) -> String {
    getsockname(socket).ok().map(text).unwrap_or_default()
}

fn text(addr: SocketAddrAny) -> String {
    if let Ok(ip) = SocketAddr::try_from(addr.clone()) {
        return ip.to_string();
    }
    SocketAddrUnix::try_from(addr)
        .ok()
        .and_then(|unix| unix.path_bytes().map(|path| String::from_utf8_lossy(path).into_owned()))
        .unwrap_or_default()
}
