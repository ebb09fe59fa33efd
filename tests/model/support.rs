//! Running a model under both schedulers, and what models share.

use std::panic::{AssertUnwindSafe, catch_unwind};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{Config, FailurePersistence, Runner};

/// Schedules per check and scheduler when the environment does not say.
const ITERATIONS: usize = 1_000;
/// Schedules within which a planted fault must show.
const FAULT_ITERATIONS: usize = 100_000;
/// How many preemptions PCT places.
const DEPTHS: [usize; 2] = [2, 4];

fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

fn run(scheduler: impl Scheduler + 'static, quiet: bool, model: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.silence_warnings = true;
    config.stack_size = 1 << 17;
    if quiet {
        config.failure_persistence = FailurePersistence::None;
    }
    Runner::new(scheduler, config).run(model);
}

/// Checks that `model` holds under every schedule tried.
pub fn holds(model: impl Fn() + Clone + Send + Sync + 'static) {
    let seed = number("MODEL_SEED", 1) as u64;
    let iterations = number("MODEL_ITERATIONS", ITERATIONS);
    run(RandomScheduler::new_from_seed(seed, iterations), false, model.clone());
    for depth in DEPTHS {
        let scheduler = PctScheduler::new_from_seed(seed, depth, iterations / DEPTHS.len());
        run(scheduler, false, model.clone());
    }
}

/// Checks that `model`, which has a fault, fails with `text` under some schedule.
pub fn fails(text: &str, model: impl Fn() + Clone + Send + Sync + 'static) {
    let seed = number("MODEL_SEED", 1) as u64;
    // In turns, so that whichever scheduler is better at it decides how long it takes.
    let (rounds, each) = (20, FAULT_ITERATIONS / 60);
    for round in 0..rounds {
        let seed = seed + round;
        let model = model.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run(RandomScheduler::new_from_seed(seed, each), true, model.clone());
            for depth in DEPTHS {
                run(PctScheduler::new_from_seed(seed, depth, each), true, model.clone());
            }
        }));
        if let Err(panic) = outcome {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let said = said.unwrap_or_default();
            assert!(said.contains(text), "failed, but not with {text:?}: {said}");
            return;
        }
    }
    panic!("the planted fault was not seen");
}

/// What a blocked shard thread waits for: its eventfd and its sockets, as one.
#[derive(Default)]
pub struct Event {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Event {
    /// Ends the wait of today or of tomorrow.
    pub fn wake(&self) {
        *self.set.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// Waits for a wake and takes it.
    pub fn wait(&self) {
        let mut set = self.set.lock().unwrap();
        while !*set {
            set = self.changed.wait(set).unwrap();
        }
        *set = false;
    }
}

/// A draw below `bound`, part of the schedule.
pub fn draw(bound: usize) -> usize {
    use shuttle::rand::Rng;
    shuttle::rand::thread_rng().gen_range(0..bound)
}
