//! How a kernel runs: on how many threads, at which instruction-set level, and how it is interrupted.
//!
//! A kernel cuts its output into tasks, each owning what it writes (`chunks_mut`), and hands an iterator of them to
//! [`Exec::for_each`]. Threads pull the next task under a lock. Since a task never depends on the thread that runs it, results have the
//! same bits for every number of threads. The calling thread takes part and between tasks asks `poll` whether to stop.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::lanes::{self, Level, Task};
use crate::pool;
use crate::real::Real;

pub use crate::buffer::{Buffer, zeros};

/// Work in nanoseconds that is worth waking a thread for, and the least that a task should last.
const GRAIN: usize = 20_000;

/// Zeros that are made between two polls.
const ZEROS: usize = 1 << 22;

/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Clone, Copy)]
pub struct Exec<'a> {
    threads: usize,
    level: Level,
    poll: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Exec<'a> {
    /// `poll` is called on the calling thread before every task; `true` stops the kernel with [`Error::Interrupted`].
    pub fn new(threads: usize, level: Level, poll: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { threads: threads.max(1), level, poll }
    }

    pub fn level(&self) -> Level {
        self.level
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs vector code at this level, on this thread.
    #[inline]
    pub fn run<K: Task>(&self, task: K) -> K::Out {
        self.level.run(task)
    }

    /// [`zeros`] of which there may be very many: making them can be interrupted. For the calling thread.
    pub fn zeros<T: Real>(&self, len: usize) -> Result<Buffer<T>, Error> {
        let mut buffer = Buffer::reserved(len)?;
        while !buffer.grow(ZEROS) {
            if (self.poll)() {
                return Err(Error::Interrupted);
            }
        }
        Ok(buffer)
    }

    /// How many items of `cost_each` nanoseconds one task should take, at least one.
    pub fn batch(cost_each: usize) -> usize {
        (GRAIN / cost_each.max(1)).max(1)
    }

    /// Calls `work` on every task. `cost` estimates the whole work in nanoseconds of one thread: little work wakes no thread.
    pub fn for_each<I, W>(&self, cost: usize, tasks: I, work: W) -> Result<(), Error>
    where
        I: Iterator + Send,
        I::Item: Send,
        W: Fn(I::Item) + Sync,
    {
        self.for_each_with(cost, tasks, || Ok(()), |(), task| work(task))
    }

    /// The same with work space: each thread that gets a task makes its own `scratch`, once.
    pub fn for_each_with<I, S, M, W>(&self, cost: usize, tasks: I, scratch: M, work: W) -> Result<(), Error>
    where
        I: Iterator + Send,
        I::Item: Send,
        M: Fn() -> Result<S, Error> + Sync,
        W: Fn(&mut S, I::Item) + Sync,
    {
        self.try_for_each_with(cost, tasks, scratch, |scratch, task| {
            work(scratch, task);
            Ok(())
        })
    }

    /// The same with work that may fail, which stops all of it.
    pub fn try_for_each_with<I, S, M, W>(&self, cost: usize, tasks: I, scratch: M, work: W) -> Result<(), Error>
    where
        I: Iterator + Send,
        I::Item: Send,
        M: Fn() -> Result<S, Error> + Sync,
        W: Fn(&mut S, I::Item) -> Result<(), Error> + Sync,
    {
        let queue = Mutex::new(tasks.fuse());
        self.on_threads(cost, &|stop, poll| drain(&queue, stop, poll, &scratch, &work))
    }

    /// Runs `drain` on as many threads as `cost` is worth; the first error stops them all. Compiled once, not for every kernel.
    fn on_threads(&self, cost: usize, drain: &Drain) -> Result<(), Error> {
        let (stop, failure) = (AtomicBool::new(false), Mutex::new(None));
        let drain = |poll: Option<&dyn Fn() -> bool>| {
            let outcome = catch_unwind(AssertUnwindSafe(|| drain(&stop, poll)));
            lanes::settle();
            if let Err(error) = outcome.unwrap_or_else(|payload| Err(Error::Panic(message(payload)))) {
                stop.store(true, Ordering::Relaxed);
                lock(&failure).get_or_insert(error);
            }
        };
        let helpers = (self.threads - 1).min(cost / GRAIN);
        match pool::with_threads(helpers) {
            Some(pool) => {
                let at_work = AtomicUsize::new(helpers);
                pool.in_place_scope(|scope| {
                    for _ in 0..helpers {
                        scope.spawn(|_| {
                            drain(None);
                            pool::linger();
                            at_work.fetch_sub(1, Ordering::Release);
                        });
                    }
                    drain(Some(&self.poll));
                    pool::wait_a_little(|| at_work.load(Ordering::Acquire) == 0);
                });
            }
            None => drain(Some(&self.poll)),
        }
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

/// Takes tasks until none is left, somebody asked to stop, or the poll says so.
type Drain<'a> = dyn Fn(&AtomicBool, Option<&dyn Fn() -> bool>) -> Result<(), Error> + Sync + 'a;

/// One thread's part: takes tasks until none is left or somebody asked to stop.
fn drain<I: Iterator, S>(
    queue: &Mutex<I>,
    stop: &AtomicBool,
    poll: Option<&dyn Fn() -> bool>,
    make: &impl Fn() -> Result<S, Error>,
    work: &impl Fn(&mut S, I::Item) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut scratch = None;
    while !stop.load(Ordering::Relaxed) {
        if poll.is_some_and(|poll| poll()) {
            return Err(Error::Interrupted);
        }
        let Some(task) = lock(queue).next() else { break };
        let scratch = match &mut scratch {
            Some(scratch) => scratch,
            none => none.insert(make()?),
        };
        work(scratch, task)?;
    }
    Ok(())
}

/// A panic while the lock was held is reported on its own; the data behind it stay usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A poll that asks `poll` now and then, however short the kernels are that a call is made of.
pub fn paced(poll: impl Fn() -> bool + Sync) -> impl Fn() -> bool + Sync {
    let last = Mutex::new(Instant::now());
    move || {
        let due = lock(&last).elapsed() >= POLL_INTERVAL;
        if due {
            *lock(&last) = Instant::now();
        }
        due && poll()
    }
}

/// The text of a panic.
pub fn message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().copied().unwrap_or("panic without a message").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUCH: usize = 1 << 30;

    fn exec(threads: usize) -> Exec<'static> {
        Exec::new(threads, Level::PORTABLE, &|| false)
    }

    #[test]
    fn every_task_runs_once() {
        for (threads, tasks) in [(1, 5), (2, 0), (3, 1), (8, 100), (2, 7)] {
            let mut seen = vec![0; tasks];
            exec(threads).for_each(MUCH, seen.iter_mut().enumerate(), |(k, y)| *y += k + 1).unwrap();
            assert!(seen.iter().enumerate().all(|(k, &y)| y == k + 1), "{threads} threads {seen:?}");
        }
    }

    #[test]
    fn scratch_is_made_once_per_thread_that_works() {
        let made = AtomicUsize::new(0);
        let make = || {
            made.fetch_add(1, Ordering::Relaxed);
            zeros::<f64>(3)
        };
        exec(4).for_each_with(MUCH, 0..0, make, |_, _| ()).unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 0);
        exec(4).for_each_with(MUCH, 0..1000, make, |_, _| ()).unwrap();
        assert!((1..=4).contains(&made.load(Ordering::Relaxed)));
    }

    #[test]
    fn missing_scratch_is_an_error() {
        let result = exec(3).for_each_with(MUCH, 0..9, || zeros::<f32>(usize::MAX), |_, _| ());
        assert_eq!(result, Err(Error::OutOfMemory));
    }

    #[test]
    fn work_that_fails_stops_the_rest() {
        for threads in [1, 3] {
            let done = AtomicUsize::new(0);
            let result = exec(threads).try_for_each_with(
                MUCH,
                0..50_000_000,
                || Ok(()),
                |(), k| {
                    done.fetch_add(1, Ordering::Relaxed);
                    if k == 57 { Err(Error::OutOfMemory) } else { Ok(()) }
                },
            );
            assert_eq!(result, Err(Error::OutOfMemory));
            assert!((58..50_000_000).contains(&done.into_inner()));
        }
    }

    #[test]
    fn interruption_drops_the_remaining_tasks() {
        for threads in [1, 3] {
            let done = AtomicUsize::new(0);
            let start = Instant::now();
            let result = Exec::new(threads, Level::PORTABLE, &|| true).for_each(MUCH, 0..10_000, |_| {
                std::thread::sleep(Duration::from_millis(1));
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(result, Err(Error::Interrupted));
            assert!(start.elapsed() < Duration::from_secs(2) && done.load(Ordering::Relaxed) < 10_000);
        }
    }

    #[test]
    fn many_short_kernels_are_interrupted() {
        let (start, poll) = (Instant::now(), paced(|| true));
        let exec = Exec::new(1, Level::PORTABLE, &poll);
        let kernel = || exec.for_each(MUCH, 0..3, |_| std::thread::sleep(Duration::from_millis(1)));
        assert_eq!(kernel(), Ok(()));
        assert!((0..1000).any(|_| kernel() == Err(Error::Interrupted)) && start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_panic_becomes_an_error_and_the_pool_stays_usable() {
        for threads in [1, 3, 3] {
            let result = exec(threads).for_each(MUCH, 0..100, |k| assert!(k != 57, "task {k} failed"));
            assert_eq!(result, Err(Error::Panic("task 57 failed".to_owned())));
            assert_eq!(exec(threads).for_each(MUCH, 0..100, |_| ()), Ok(()));
        }
    }

    #[test]
    fn tasks_may_run_tasks() {
        let total = AtomicUsize::new(0);
        let add = |k: usize| _ = total.fetch_add(k, Ordering::Relaxed);
        exec(3).for_each(MUCH, 0..10, |_| exec(3).for_each(MUCH, 0..10, add).unwrap()).unwrap();
        assert_eq!(total.into_inner(), 450);
    }
}
