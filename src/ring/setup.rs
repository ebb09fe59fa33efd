//! Making a ring: which features the kernel has, and why it will not let us when it will not.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::buffers::Buffers;
use super::kernel::{Kernel, Kind, Tag};
use super::{RingOptions, Wait};

/// Oldest kernel with everything the ring is built on (deferred task work).
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Why there is no ring. The text names the command or profile that mends it.
#[derive(Debug)]
pub enum RingError {
    /// The kernel is older than 6.1.
    KernelTooOld {
        /// Its release, as `uname -r` prints it.
        release: String,
    },
    /// `kernel.io_uring_disabled` forbids it.
    Disabled {
        /// The setting: 1 (privileged processes and one group only) or 2 (nobody).
        setting: u32,
    },
    /// A seccomp filter (container runtime, sandbox) blocks the system calls.
    Seccomp {
        /// What it answered.
        error: io::Error,
    },
    /// The limit on locked memory is too low.
    Memlock {
        /// The limit in bytes.
        limit: u64,
        /// What the system answered.
        error: io::Error,
    },
    /// The kernel lacks an operation.
    Operation {
        /// Its name.
        name: &'static str,
    },
    /// Anything else.
    Other {
        /// What was being done.
        step: &'static str,
        /// What the system answered.
        error: io::Error,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingError::KernelTooOld { release } => write!(
                f,
                "io_uring: Linux {}.{} or newer is needed, this is {release}",
                KERNEL_MIN.0, KERNEL_MIN.1
            ),
            RingError::Disabled { setting } => write!(
                f,
                "io_uring is switched off on this machine (kernel.io_uring_disabled = {setting}): \
                 run 'sysctl -w kernel.io_uring_disabled=0' as root, or with 1 put this user into \
                 the group named by kernel.io_uring_group"
            ),
            RingError::Seccomp { error } => write!(
                f,
                "io_uring is blocked by a seccomp filter ({error}), as container runtimes do by \
                 default: allow io_uring_setup, io_uring_enter and io_uring_register, for example \
                 with 'docker run --security-opt seccomp=ringstone-seccomp.json' or the \
                 Kubernetes 'seccompProfile: Localhost' (see LINUX_ONLY.md)"
            ),
            RingError::Memlock { limit, error } => write!(
                f,
                "io_uring: no memory for the ring ({error}) under a limit of {limit} locked \
                 bytes: raise it with 'ulimit -l unlimited', LimitMEMLOCK=infinity (systemd) or \
                 'docker run --ulimit memlock=-1'"
            ),
            RingError::Operation { name } => {
                write!(f, "io_uring: this kernel does not know the operation {name}")
            }
            RingError::Other { step, error } => write!(f, "io_uring: {step}: {error}"),
        }
    }
}

impl std::error::Error for RingError {}

/// What the kernel offered when the ring was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// Submission entries.
    pub sq_entries: u32,
    /// Completion entries.
    pub cq_entries: u32,
    /// The submission queue goes without its index array (6.6); used when there.
    pub no_sqarray: bool,
    /// Receives may fill several buffers at once (6.10); not used.
    pub bundles: bool,
    /// A wait may gather events for a minimal time (6.12); not used.
    pub min_wait: bool,
    /// Zero-copy sends (6.0); not used.
    pub send_zero_copy: bool,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "io_uring on Linux {} sq={} cq={}",
            self.kernel, self.sq_entries, self.cq_entries
        )?;
        let named = [
            ("no_sqarray", self.no_sqarray),
            ("bundles", self.bundles),
            ("min_wait", self.min_wait),
            ("send_zc", self.send_zero_copy),
        ];
        for (name, present) in named {
            write!(f, " {}{name}", if present { "+" } else { "-" })?;
        }
        Ok(())
    }
}

/// What the system says about itself, for telling causes apart.
struct Surroundings {
    release: String,
    /// `kernel.io_uring_disabled`; `None` before it existed (6.6 and back-ports).
    disabled: Option<u32>,
    /// A seccomp filter is in force.
    seccomp: bool,
    /// Locked bytes allowed; `None` for unlimited.
    memlock: Option<u64>,
}

impl Surroundings {
    fn read() -> Surroundings {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let seccomp = status
            .lines()
            .find_map(|line| line.strip_prefix("Seccomp:"))
            .is_some_and(|mode| mode.trim() == "2");
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Surroundings {
            release: release.trim().to_owned(),
            disabled,
            seccomp,
            memlock: rustix::process::getrlimit(rustix::process::Resource::Memlock).current,
        }
    }

    /// Major and minor of the release; a release that does not begin with them counts as new.
    fn kernel(&self) -> (u32, u32) {
        let mut parts = self.release.split(|c: char| !c.is_ascii_digit());
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        match (number(), number()) {
            (Some(major), Some(minor)) => (major, minor),
            _ => (u32::MAX, 0),
        }
    }

    /// Names the cause of a failed step.
    fn explain(self, step: &'static str, error: io::Error) -> RingError {
        let old = self.kernel() < KERNEL_MIN;
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => match self.disabled {
                // 1 lets privileged processes through, and this one was not.
                Some(setting @ 1..) => RingError::Disabled { setting },
                _ => RingError::Seccomp { error },
            },
            Some(libc::ENOSYS) if !old => RingError::Seccomp { error },
            Some(libc::ENOSYS | libc::EINVAL) if old => {
                RingError::KernelTooOld { release: self.release }
            }
            Some(libc::ENOMEM) if self.memlock.is_some() => {
                RingError::Memlock { limit: self.memlock.unwrap_or(0), error }
            }
            // A filter may answer anything; with one in force it is the likeliest cause of an
            // answer the kernel itself never gives here.
            Some(libc::EINVAL | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
                RingError::Other { step, error }
            }
            _ if self.seccomp => RingError::Seccomp { error },
            _ => RingError::Other { step, error },
        }
    }
}

fn explain(step: &'static str, error: io::Error) -> RingError {
    Surroundings::read().explain(step, error)
}

fn make(options: &RingOptions, no_sqarray: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(options.entries.saturating_mul(4));
    if no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(options.entries)
}

/// Makes a ring, checks that it can do what we need, and gives it its buffers.
pub(super) fn build(options: &RingOptions) -> Result<(Kernel, Features), RingError> {
    let (uring, no_sqarray) = match make(options, true) {
        Ok(uring) => (uring, true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            (make(options, false).map_err(|error| explain("io_uring_setup", error))?, false)
        }
        Err(error) => return Err(explain("io_uring_setup", error)),
    };
    let surroundings = Surroundings::read();
    // Deferred task work may be back-ported, the multishot receive beside it is not to be had.
    if surroundings.kernel() < KERNEL_MIN {
        return Err(RingError::KernelTooOld { release: surroundings.release });
    }
    let mut probe = Probe::new();
    uring
        .submitter()
        .register_probe(&mut probe)
        .map_err(|error| explain("io_uring_register", error))?;
    let needed: [(&'static str, u8); 13] = [
        ("ACCEPT", opcode::Accept::CODE),
        ("RECV", opcode::Recv::CODE),
        ("SEND", opcode::Send::CODE),
        ("SENDMSG", opcode::SendMsg::CODE),
        ("READ", opcode::Read::CODE),
        ("WRITE", opcode::Write::CODE),
        ("FSYNC", opcode::Fsync::CODE),
        ("OPENAT", opcode::OpenAt::CODE),
        ("RENAMEAT", opcode::RenameAt::CODE),
        ("UNLINKAT", opcode::UnlinkAt::CODE),
        ("CLOSE", opcode::Close::CODE),
        ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
        ("TIMEOUT", opcode::Timeout::CODE),
    ];
    if let Some((name, _)) = needed.iter().find(|(_, code)| !probe.is_supported(*code)) {
        return Err(RingError::Operation { name });
    }
    let features = Features {
        kernel: surroundings.release,
        sq_entries: uring.params().sq_entries(),
        cq_entries: uring.params().cq_entries(),
        no_sqarray,
        bundles: uring.params().is_feature_recvsend_bundle(),
        min_wait: uring.params().is_feature_min_timeout(),
        send_zero_copy: probe.is_supported(opcode::SendZc::CODE),
    };
    let buffers = Buffers::register(&uring.submitter(), options.buffers, options.buffer_bytes)
        .map_err(|error| explain("register receive buffers", error))?;
    let mut kernel = Kernel::new(uring, buffers);
    // A filter may let a ring be made and then forbid to enter it: do so once.
    kernel.nop(Tag::new(Kind::Ignore, 0, 0));
    kernel.enter(Wait::Forever).map_err(|error| explain("io_uring_enter", error))?;
    Ok((kernel, features))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(release: &str) -> Surroundings {
        Surroundings { release: release.into(), disabled: Some(0), seccomp: false, memlock: None }
    }

    fn errno(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn causes_are_told_apart() {
        let new = || on("6.18.44-x");
        assert!(matches!(
            on("5.10.0-30-amd64").explain("s", errno(libc::EINVAL)),
            RingError::KernelTooOld { .. }
        ));
        assert!(matches!(new().explain("s", errno(libc::EPERM)), RingError::Seccomp { .. }));
        assert!(matches!(new().explain("s", errno(libc::ENOSYS)), RingError::Seccomp { .. }));
        for setting in [1, 2] {
            let off = Surroundings { disabled: Some(setting), ..new() };
            let error = off.explain("s", errno(libc::EPERM));
            assert!(matches!(error, RingError::Disabled { setting: found } if found == setting));
            assert!(error.to_string().contains("sysctl -w kernel.io_uring_disabled=0"));
        }
        let tight = Surroundings { memlock: Some(65536), ..new() };
        let error = tight.explain("s", errno(libc::ENOMEM));
        assert!(matches!(error, RingError::Memlock { limit: 65536, .. }));
        assert!(error.to_string().contains("memlock=-1"));
        let error = new().explain("io_uring_setup", errno(libc::EMFILE));
        assert!(error.to_string().starts_with("io_uring: io_uring_setup: "));
    }

    #[test]
    fn releases_are_read() {
        assert_eq!(on("6.1.0-13-amd64").kernel(), (6, 1));
        assert_eq!(on("5.14.0-362.el9").kernel(), (5, 14));
        assert_eq!(on("7.0-rc1").kernel(), (7, 0));
        assert_eq!(on("odd").kernel(), (u32::MAX, 0));
    }
}
