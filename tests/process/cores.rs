//! A shard's thread and its core: it is tied to that, and let go while others keep it busy.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::await_some;
use crate::support::client::encode;
use crate::support::{Client, Options, Server};

/// The cores that a server's first shard may run on, as the kernel lists them.
fn cores(server: &Server) -> String {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
    let read = |path: &std::path::Path, name: &str| fs::read_to_string(path.join(name)).ok();
    let threads = tasks.filter_map(|task| Some(task.ok()?.path()));
    let mut shards = threads.filter(|task| read(task, "comm").is_some_and(|c| c == "shard-0\n"));
    let status = read(&shards.next().expect("a shard"), "status").expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("the kernel tells").trim().to_owned()
}

fn pinned(client: &mut Client) -> bool {
    let info = client.words("INFO ringstone");
    let info = String::from_utf8_lossy(info.text().expect("a text")).into_owned();
    info.lines().find_map(|line| line.strip_prefix("pinned_threads:")).expect("a field") == "1"
}

/// Something that takes threads a moment, all of them at once.
fn work(clients: &mut [Client]) {
    const REQUESTS: usize = 64;
    let requests = encode(&["BITCOUNT", "long"]).repeat(REQUESTS);
    clients.iter_mut().for_each(|client| client.send(&requests).expect("sent"));
    for client in clients {
        (0..REQUESTS).for_each(|_| drop(client.reply().expect("a reply")));
    }
}

/// Keeps a core busy until it is dropped.
struct Busy {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn on(core: usize) -> Busy {
        let over = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut set = CpuSet::new();
            set.set(core);
            sched_setaffinity(None, &set).expect("a core");
            while !heard.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Busy { over, thread: Some(thread) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[test]
fn a_thread_is_let_go_while_its_core_is_busy() {
    let start = |pin| {
        let options = Options { fsync: "no", ..Options::shards(1) };
        Server::start(options.with("pin-threads", pin))
    };
    let servers = ["auto", "yes"].map(start);
    let mut clients = servers.each_ref().map(Server::client);
    let core = cores(&servers[1]);
    // Where there is one core for all, to be let go changes nothing.
    let alone = sched_getaffinity(None).expect("cores").count() == 1;
    clients.iter_mut().for_each(|client| {
        client.words("SETRANGE long 1000000 x");
    });
    let busy = Busy::on(core.parse().expect("one core"));
    await_some("it is let go", || {
        work(&mut clients);
        let tied = pinned(&mut clients[0]);
        (!tied && (alone || cores(&servers[0]) != core)).then_some(())
    });
    drop(busy);
    assert!(pinned(&mut clients[1]) && cores(&servers[1]) == core, "it stays, come what may");
    await_some("it is tied again", || (cores(&servers[0]) == core).then_some(()));
    await_some("it tells so", || pinned(&mut clients[0]).then_some(()));
}
