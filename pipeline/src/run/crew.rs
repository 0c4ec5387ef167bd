//! The threads of a run: started by name, joined when they are done.

use std::{
    any::Any,
    thread,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::{error::PipelineError, stage::Stop};

/// How often the joining thread looks whether the run is to be aborted.
const POLL: Duration = Duration::from_millis(50);
/// How long an aborted stage may take to notice; after that it is left behind.
const ABORT_GRACE: Duration = Duration::from_millis(500);

type Outcome = Result<(), PipelineError>;

/// Threads at work.
#[derive(Debug)]
pub(super) struct Crew {
    members: Vec<Option<(String, JoinHandle<Outcome>)>>,
    done: (Sender<usize>, Receiver<usize>),
}

/// Says that a thread is done, also when it panics.
struct SayDone {
    member: usize,
    done: Sender<usize>,
}

impl Drop for SayDone {
    fn drop(&mut self) {
        // The channel holds a place for every member, and nobody listens any more only after an abort.
        self.done.try_send(self.member).ok();
    }
}

impl Crew {
    /// Returns a crew that can grow to `most` members.
    pub(super) fn new(most: usize) -> Self {
        Self { members: Vec::with_capacity(most), done: bounded(most) }
    }

    /// Starts `work` on a thread called `name`.
    pub(super) fn start(&mut self, name: String, work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
        let say_done = SayDone { member: self.members.len(), done: self.done.0.clone() };
        let started = thread::Builder::new().name(name.clone()).spawn(move || {
            let _say_done = say_done;
            work()
        });
        match started {
            Ok(handle) => {
                self.members.push(Some((name, handle)));
                Ok(())
            }
            Err(source) => Err(PipelineError::ThreadNotStarted { stage: name, source }),
        }
    }

    /// Waits for all and returns the first error. A member that fails makes the others drain; when the run is aborted, members
    /// that do not come back soon are left behind.
    pub(super) fn join(mut self, stop: &Stop) -> Outcome {
        let mut first = Ok(());
        let mut give_up_at = None;
        let mut working = self.members.len();
        while working > 0 {
            match self.done.1.recv_timeout(POLL) {
                Ok(member) => {
                    working -= 1;
                    let outcome = self.members[member].take().map_or(Ok(()), join);
                    if outcome.is_err() {
                        stop.drain();
                        first = first.and(outcome);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let now = Instant::now();
                    if stop.is_aborting() && now > *give_up_at.get_or_insert(now + ABORT_GRACE) {
                        break;
                    }
                }
            }
        }
        first
    }
}

fn join((stage, handle): (String, JoinHandle<Outcome>)) -> Outcome {
    handle
        .join()
        .unwrap_or_else(|panic| Err(PipelineError::StagePanicked { stage, message: panic_message(panic.as_ref()) }))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
