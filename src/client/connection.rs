//! One connection.

use crate::client::ConnKey;
use crate::client::input::Input;
use crate::client::output::Output;
use crate::command::Session;

/// One client's connection, on the shard that accepted it.
#[derive(Debug)]
pub struct Conn {
    /// Its name on this shard.
    pub key: ConnKey,
    /// What commands know of it.
    pub session: Session,
    /// What it has sent.
    pub input: Input,
    /// What it will be told.
    pub output: Output,
    /// Shards its batches in flight went to, as a set: decides whether the next may be pushed
    /// without the order lock.
    pub targets: u64,
    /// The batch whose requests came together with those whose replies are ready: both are sent
    /// at once, as Redis answers a pipeline when all of it has run.
    pub together: Option<u64>,
    /// Set while a lease, cut or barrier of this connection is under way: nothing more is parsed.
    pub blocked: bool,
    /// The next request has to wait for what is under way.
    pub held: bool,
    /// Listed among the connections that wait for the end of a pause.
    pub postponed: bool,
    /// Listed among the connections that wait until less is with other shards.
    pub crowded: bool,
    /// Not received from because the shard holds too much input that is not complete.
    pub crammed: bool,
    /// Bytes of input that the shard's sum counts for it.
    pub counted_input: usize,
    /// Listed among the connections whose output changed this turn.
    pub dirty: bool,
    /// Listed among the connections with input to go on with.
    pub again: bool,
    /// Listed among the connections that wait for the release point.
    pub waiting: bool,
    /// Receiving was stopped because too much is outstanding.
    pub stopped: bool,
    /// The peer has ended its stream and is closed once its requests are answered.
    pub leaving: bool,
    /// Since when its output is over the soft limit, in monotonic microseconds.
    pub over_soft_us: Option<u64>,
    /// The peer is gone or was told to go: no more input is looked at.
    pub ended: bool,
    /// Bytes of output that the shard's sum counts for it.
    pub counted: usize,
    /// Most bytes of output it had.
    pub output_peak: usize,
    /// Monotonic microseconds of the last request.
    pub last_us: u64,
    /// Monotonic microseconds at which it began.
    pub since_us: u64,
}

impl Conn {
    /// A fresh connection.
    pub fn new(key: ConnKey, session: Session, now_us: u64) -> Self {
        Conn {
            key,
            session,
            input: Input::default(),
            output: Output::default(),
            targets: 0,
            together: None,
            blocked: false,
            held: false,
            postponed: false,
            crowded: false,
            crammed: false,
            counted_input: 0,
            dirty: false,
            again: false,
            waiting: false,
            stopped: false,
            leaving: false,
            over_soft_us: None,
            ended: false,
            counted: 0,
            output_peak: 0,
            last_us: now_us,
            since_us: now_us,
        }
    }
}
