//! `daemonize` and `supervised`: how the process stands towards who started it.
//!
//! There is no fork: a process with threads must not, and a library cannot know that there are
//! none. To go to the background the program starts itself once more, in a session of its own and
//! without a terminal, and the first process ends. Supervisors are told by the datagrams that
//! systemd specifies (`sd_notify`).

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, ExitCode, Stdio};

use crate::config::Settings;
use crate::config::settings::Supervised;
use crate::server::boot::Journal;

/// Set for the process in the background.
const BACKGROUND: &str = "RINGSTONE_BACKGROUND";
/// Where systemd listens.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Set by upstart for what it starts.
const UPSTART_JOB: &str = "UPSTART_JOB";

/// Whether the process is to start itself once more and end. One that is supervised never is.
pub fn wants_background(settings: &Settings) -> bool {
    settings.daemonize && supervisor(settings).is_none() && std::env::var_os(BACKGROUND).is_none()
}

/// Whether this is the process in the background.
pub fn is_background() -> bool {
    std::env::var_os(BACKGROUND).is_some()
}

/// Starts the program once more in the background, with the same arguments and, where it read
/// standard input, the same input.
pub fn start_in_background(args: &[OsString], stdin: Option<&[u8]>) -> ExitCode {
    let started = std::env::current_exe().and_then(|program| {
        let mut child = Command::new(program)
            .args(args)
            .env(BACKGROUND, "1")
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        match (child.stdin.take(), stdin) {
            (Some(mut pipe), Some(text)) => pipe.write_all(text),
            _ => Ok(()),
        }
    });
    match started {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Can't go to the background: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Leaves the session of whoever started this process.
pub fn leave_session() {
    // It fails only for who leads one already.
    let _ = rustix::process::setsid();
}

/// The supervisor, if there is one.
fn supervisor(settings: &Settings) -> Option<Supervised> {
    let has = |name| std::env::var_os(name).is_some();
    match settings.supervised {
        Supervised::No => None,
        Supervised::Auto if has(UPSTART_JOB) => Some(Supervised::Upstart),
        Supervised::Auto if has(NOTIFY_SOCKET) => Some(Supervised::Systemd),
        Supervised::Auto => None,
        chosen => Some(chosen),
    }
}

/// Who is told how the start and the stop go on.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
}

impl Supervisor {
    /// Finds it.
    pub fn find(settings: &Settings, journal: &Journal) -> Supervisor {
        match supervisor(settings) {
            Some(Supervised::Upstart) => {
                journal.notice("supervised by upstart, will stop to signal readiness.");
                // Upstart lets it go on once it has seen that.
                let this = rustix::process::getpid();
                let _ = rustix::process::kill_process(this, rustix::process::Signal::STOP);
                Supervisor { socket: None }
            }
            Some(_) => match connect() {
                Ok(socket) => {
                    journal.notice(
                        "supervised by systemd. Please make sure you set appropriate values for \
                         TimeoutStartSec and TimeoutStopSec in your service unit.",
                    );
                    Supervisor { socket: Some(socket) }
                }
                Err(error) => {
                    journal.warn(&format!("systemd supervision requested, but {error}"));
                    Supervisor { socket: None }
                }
            },
            None => Supervisor { socket: None },
        }
    }

    /// Says where the process stands, in lines of the form `NAME=value`.
    pub fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket {
            // Whoever does not listen any more need not be told.
            let _ = socket.send(state.as_bytes());
        }
    }

    /// The same, for another thread.
    pub fn another(&self) -> Supervisor {
        Supervisor { socket: self.socket.as_ref().and_then(|s| s.try_clone().ok()) }
    }
}

fn connect() -> io::Result<UnixDatagram> {
    let path = std::env::var_os(NOTIFY_SOCKET)
        .ok_or_else(|| io::Error::other("NOTIFY_SOCKET is not set"))?;
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
