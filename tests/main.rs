//! The one integration binary: the server is started as a process and judged from outside.
//!
//! `cargo test --test main` runs the short forms. The long forms are the same tests with larger
//! numbers in the environment:
//!
//! | variable | short | what it sizes |
//! |---|---|---|
//! | `RINGSTONE_DIFF_COMMANDS` | 10000 | commands of a round of the differential stream |
//! | `RINGSTONE_DIFF_SEED` | 1 | seed of that stream; each further round has the next |
//! | `RINGSTONE_DIFF_PER_TYPE` | – | go on until each type has had that many replies |
//! | `RINGSTONE_DIFF_TYPE` | – | restricts the stream to one type: hash, sorted-set, … |
//! | `RINGSTONE_LINEAR_SEED` | 1 | seed of the clients that record histories |
//! | `RINGSTONE_LINEAR_HISTORIES` | 12 | recorded histories, over 2 and 4 shards |
//! | `RINGSTONE_CRASH_SEED` | 1 | seed of the load that is killed |
//! | `RINGSTONE_CRASH_ROUNDS` | 3 | kill -9 rounds per `appendfsync` policy |
//! | `RINGSTONE_TURN_KILLS` | 6 | kill -9 while the log is turned on and off (long: 100) |
//! | `RINGSTONE_RESTARTS` | 10 | restarts in a row, half of them by kill -9 |
//! | `RINGSTONE_INTEROP_COMMANDS` | 2000 | commands behind each directory handed to the peer |
//! | `RINGSTONE_HOSTILE_CONNECTIONS` | 300 | half-open and hostile connections at once |
//! | `RINGSTONE_STORM_CALLS` | 300 | random administrative calls during load (long: 2000) |
//! | `RINGSTONE_WAITERS` | 400 | clients that wait for keys during pushes (long: 10000) |
//! | `RINGSTONE_RDB_MEGABYTES` | 24 | size of the file for the memory of RDB tools (long: 1000) |
//! | `RINGSTONE_SNAPSHOT_KILLS` | 3 | saves killed at any moment (long: 60) |
//! | `RINGSTONE_SNAPSHOTS` | 3 | snapshots under load, on 1, 2, 3 and 4 shards each (long: 130) |
//! | `RINGSTONE_STORM_SEED` | 1 | seed of these calls |
//! | `RINGSTONE_ROT_FLIPS` | 600 | bits flipped in directories of 2 and 4 shards (long: 10000) |
//! | `RINGSTONE_ROT_CASES` | 40 | files missing, swapped or cut there (long: 200) |
//! | `RINGSTONE_ROT_BOOTS` | 6 | of these given to the server itself (long: 60) |
//! | `RINGSTONE_ROT_PEER` | 4 | bits flipped in a log of redis-server's own (long: 300) |
//! | `RINGSTONE_ROT_SEED` | 1 | seed of all of these |
//! | `RINGSTONE_RESTORES` | 24 | moments gone back to, over 1, 2 and 4 shards (long: 200) |
//! | `RINGSTONE_RESTORE_SEED` | 1 | seed of the load and of these moments |
//! | `RINGSTONE_TEST_BINARY` | – | the server under test, if not the one cargo built |
//! | `RINGSTONE_TEST_SERVER` | – | `redis-server`: judge the harness itself by the peer |
//!
//! The peer is an installed redis-server. Where there is none, and it cannot be installed, the
//! tests that need it say `SKIPPED` on stderr and once more at the end; with `CI=true` they fail.
//! The same holds for the client libraries (see `clients`), which come from pip and npm by
//! `tests/peer.sh --libraries`, need no root beyond an installed python3 (with venv) and node 20,
//! and end in `target/tmp/peer-libraries`.

mod admin;
mod bitrot;
mod blocking;
mod clients;
mod config;
mod connections;
mod crash;
mod differential;
mod documents;
mod dump;
mod hostile;
mod interop;
mod linearizability;
mod process;
mod rdb_tools;
mod restore;
mod schedules;
mod snapshot;
mod stalls;
mod support;
mod tidy;
