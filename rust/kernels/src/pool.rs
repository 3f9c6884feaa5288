//! The threads behind [`crate::exec`]: one pool per process, which grows to the largest size asked for.
//!
//! A forked child inherits the pool object but none of its threads, so the pool remembers its process and a child builds its own.
//! The parent's object is leaked there: dropping it would wake threads that do not exist.
//!
//! To wake a thread costs 20 to 100 microseconds, and the system may put it behind the thread that woke it: then it begins when that one
//! has done all the work. So a thread of the pool [lingers](linger) after its work, and the next kernel finds it awake.

use std::cell::Cell;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder, Yield};

/// How long a thread looks for work before it sleeps: longer than what lies between the kernels of a network.
const LINGER: Duration = Duration::from_micros(500);

/// How long a caller looks whether the others are done before it sleeps: about what it takes to wake it.
const PATIENCE: Duration = Duration::from_micros(100);

thread_local! {
    /// Whether this thread of the pool already runs [`look_for_work`].
    static LINGERS: Cell<bool> = const { Cell::new(false) };
}

/// Keeps this thread of the pool awake for a while after what it does now.
pub fn linger() {
    if !LINGERS.get() {
        rayon::spawn(look_for_work);
    }
}

fn look_for_work() {
    if LINGERS.replace(true) {
        return;
    }
    let mut idle = Instant::now();
    while idle.elapsed() < LINGER {
        match rayon::yield_now() {
            Some(Yield::Executed) => idle = Instant::now(),
            _ => std::thread::yield_now(), // to other programs
        }
    }
    LINGERS.set(false);
}

/// Returns when `done` says so, or after a while.
pub fn wait_a_little(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() && start.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
}

struct Owned {
    process: u32,
    pool: Arc<ThreadPool>,
}

static POOL: Mutex<Option<Owned>> = Mutex::new(None);

/// A pool of at least that many threads. `None` for no threads, or if the system gives none: the caller then works alone.
pub fn with_threads(threads: usize) -> Option<Arc<ThreadPool>> {
    if threads == 0 {
        return None;
    }
    let process = std::process::id();
    let usable = |owned: &&mut Owned| owned.process == process && owned.pool.current_num_threads() >= threads;
    if let Some(owned) = locked(|slot| slot.as_mut().filter(usable).map(|owned| owned.pool.clone()))? {
        return Some(owned);
    }
    // Built outside the lock, which is therefore only ever held for an instant.
    let pool = Arc::new(
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("pyhybrid-{index}"))
            .stack_size(1 << 20)
            .build()
            .ok()?,
    );
    locked(|slot| {
        let owned = Owned { process, pool: pool.clone() };
        if let Some(parents) = slot.replace(owned).filter(|previous| previous.process != process) {
            std::mem::forget(parents);
        }
    })?;
    Some(pool)
}

/// Runs `f` under the lock. `None` if the lock stays taken: another thread held it when this process was forked, and will never
/// release it here.
fn locked<R>(f: impl FnOnce(&mut Option<Owned>) -> R) -> Option<R> {
    for _ in 0..1000 {
        match POOL.try_lock() {
            Ok(mut slot) => return Some(f(&mut slot)),
            Err(TryLockError::Poisoned(poisoned)) => return Some(f(&mut poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}
