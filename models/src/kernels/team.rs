//! A few threads that work on one thing together, with hand-overs far shorter than a millisecond.
//!
//! A step of the language model on one token is some 150 pieces of work of 10 to 100 microseconds each. Waking a sleeping thread
//! takes as long as such a piece, so the threads of a team wait actively between pieces, and sleep when nothing has come for a while:
//! another program has their core then, or there is nothing to do. They never yield: where other programs work, the system takes
//! that for a wish to wait for milliseconds.

use std::{
    hint, mem,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle, Thread},
};

/// Rounds of active waiting before a thread sleeps, up to a millisecond: waking up costs a tenth of that on a virtual machine, and
/// what one thread does alone between two pieces takes no longer.
const SPINS_MAX: u32 = 20_000;

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// A task, and the thread that waits for it to be done.
#[derive(Clone)]
struct Given {
    task: &'static Task<'static>,
    caller: Thread,
}

/// Threads that share work; the caller is one of them.
#[derive(Debug)]
pub(crate) struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    task: Mutex<Option<Given>>,
    /// Counts the tasks that were given out.
    round: AtomicU64,
    /// Workers that have not finished the current task.
    busy: AtomicUsize,
    panicked: AtomicBool,
    closing: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("round", &self.round).finish_non_exhaustive()
    }
}

impl Team {
    /// Returns a team of `threads`, the caller included; of fewer where the system refuses to start one.
    pub(crate) fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let workers = (1..threads)
            .map_while(|number| {
                let shared = Arc::clone(&shared);
                let builder = thread::Builder::new().name(format!("kernel-{number}"));
                builder.spawn(move || shared.work(number)).ok()
            })
            .collect();
        Self { shared, workers }
    }

    /// Returns the number of threads, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work` once for each of `parts` with its index, each in a thread of its own, and returns when all are done. There are
    /// at most as many parts as threads.
    ///
    /// # Panics
    /// When `work` panics.
    pub(crate) fn run<T: Send>(&mut self, parts: &mut [T], work: impl Fn(usize, &mut T) + Sync) {
        debug_assert!(parts.len() <= self.threads(), "a part for each thread at most");
        if let [part] = parts {
            return work(0, part);
        }
        let parts: Vec<Mutex<&mut T>> = parts.iter_mut().map(Mutex::new).collect();
        self.broadcast(&|thread| {
            if let Some(part) = parts.get(thread) {
                work(thread, &mut part.lock().unwrap_or_else(PoisonError::into_inner));
            }
        });
    }

    /// Calls `task` in every thread with the thread's number and returns when all have returned.
    #[expect(unsafe_code, reason = "threads that outlive the call borrow from it")]
    fn broadcast(&mut self, task: &Task<'_>) {
        // SAFETY: the reference is used by workers only between the store of `round` below and the decrement of `busy` that
        // follows their call. This function returns, or unwinds, only after `busy` has come down to zero (own panics are
        // caught until then), so no use outlives `task`.
        let erased = unsafe { mem::transmute::<&Task<'_>, &'static Task<'static>>(task) };
        let Shared { task: slot, round, busy, panicked, .. } = &*self.shared;
        let given = Given { task: erased, caller: thread::current() };
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
        busy.store(self.workers.len(), Ordering::Relaxed);
        round.fetch_add(1, Ordering::Release);
        self.workers.iter().for_each(|worker| worker.thread().unpark());
        let own = panic::catch_unwind(AssertUnwindSafe(|| task(0)));
        wait_until(|| busy.load(Ordering::Acquire) == 0);
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(payload) = own {
            panic::resume_unwind(payload);
        }
        assert!(!panicked.swap(false, Ordering::Relaxed), "a thread of the team panicked; its message is above");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A panic of a worker has been reported by `broadcast`.
            drop(worker.join());
        }
    }
}

impl Shared {
    fn work(&self, number: usize) {
        for seen in 0.. {
            wait_until(|| self.round.load(Ordering::Acquire) != seen || self.closing.load(Ordering::Acquire));
            if self.round.load(Ordering::Acquire) == seen {
                return;
            }
            let given = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let done = panic::catch_unwind(AssertUnwindSafe(|| given.iter().for_each(|given| (given.task)(number))));
            if done.is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            if self.busy.fetch_sub(1, Ordering::Release) == 1
                && let Some(Given { caller, .. }) = &given
            {
                caller.unpark();
            }
        }
    }
}

/// Returns when `is_so` holds. Whoever makes it so unparks this thread.
fn wait_until(is_so: impl Fn() -> bool) {
    let mut spins = 0;
    while !is_so() {
        if spins < SPINS_MAX {
            spins += 1;
            hint::spin_loop();
        } else {
            // Returns at once if `unpark` was called since the last time.
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn does_every_part_in_every_round() {
        for threads in 1..=4 {
            let mut team = Team::new(threads);
            let offset = 3;
            let mut sums = vec![0; team.threads()];
            for round in 0..2000_usize {
                team.run(&mut sums, |index, sum| *sum += index + offset);
                if round == 1000 {
                    // Long enough for the workers to fall asleep.
                    thread::sleep(Duration::from_millis(20));
                }
            }
            let expected: Vec<usize> = (0..threads).map(|index| 2000 * (index + offset)).collect();
            assert_eq!(sums, expected);
        }
    }

    #[test]
    fn hands_on_panics_and_lives_on() {
        let mut team = Team::new(2);
        for guilty in 0..2 {
            let caught = panic::catch_unwind(AssertUnwindSafe(|| {
                team.run(&mut [0, 0], |index, _| assert_ne!(index, guilty, "on purpose"));
            }));
            assert!(caught.is_err());
            let mut parts = [0, 0];
            team.run(&mut parts, |index, part| *part = index + 1);
            assert_eq!(parts, [1, 2]);
        }
    }
}
