//! A shard's thread and its core: it is tied to that, and let go while others keep it busy.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::await_some;
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

/// Something that takes a thread a moment.
fn work(client: &mut Client) {
    let one = ["BITCOUNT", "long"].map(|word| word.as_bytes().to_vec());
    client.pipeline(&vec![one.to_vec(); 64]);
}

#[test]
fn a_thread_is_let_go_while_its_core_is_busy() {
    let servers = ["auto", "yes"].map(|pin| {
        Server::start(Options { fsync: "no", ..Options::shards(1) }.with("pin-threads", pin))
    });
    let mut clients = servers.each_ref().map(Server::client);
    let core = cores(&servers[1]);
    let number: usize = core.parse().expect("one core");
    clients.iter_mut().for_each(|client| {
        client.words("SETRANGE long 1000000 x");
    });
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut set = CpuSet::new();
            set.set(number);
            sched_setaffinity(None, &set).expect("a core");
            while !over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        await_some("it is let go", || {
            clients.iter_mut().for_each(work);
            (!pinned(&mut clients[0])).then_some(())
        });
        over.store(true, Ordering::Relaxed);
    });
    assert!(pinned(&mut clients[1]) && cores(&servers[1]) == core, "it stays, come what may");
    await_some("it is tied again", || (cores(&servers[0]) == core).then_some(()));
    await_some("it tells so", || pinned(&mut clients[0]).then_some(()));
}
