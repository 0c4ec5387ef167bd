//! Deadline: a frame that is still on its way when its verdict is due gets the fail-safe of its station at that moment,
//! however long the stage that holds it takes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::decide::{Decided, RunFacts};
use crate::{
    inspection::{Captured, Inspection},
    stage::Stop,
};

/// How soon the thread notices, after the last capture, that no frame is on its way any more.
const POLL: Duration = Duration::from_millis(20);

/// Frames by the time at which they are due, told apart by a number.
type Waiting = BTreeMap<(Instant, u64), Weak<Captured>>;

/// Watches every frame of `input` until no more can come and all have a report.
pub(crate) fn run(stop: &Stop, facts: &RunFacts, input: &Receiver<Weak<Captured>>, output: &Sender<Decided>) {
    let mut waiting = Waiting::new();
    let mut number = 0;
    while !stop.is_aborting() {
        match next(input, &waiting) {
            Ok(captured) => {
                if let Some(due) = captured.upgrade().and_then(|captured| captured.due()) {
                    waiting.insert((due, number), captured);
                    number += 1;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                waiting.retain(|_, captured| captured.strong_count() > 0);
                if waiting.is_empty() {
                    return;
                }
                thread::sleep(POLL);
            }
        }
        if report_due(&mut waiting, facts, output).is_err() {
            return;
        }
    }
}

/// Waits for the next frame, at most until the first is due.
fn next(input: &Receiver<Weak<Captured>>, waiting: &Waiting) -> Result<Weak<Captured>, RecvTimeoutError> {
    let first_due = waiting.first_key_value().map(|((due, _), _)| *due);
    // Short enough to notice an abort.
    input.recv_deadline(first_due.unwrap_or_else(|| Instant::now() + POLL).min(Instant::now() + POLL))
}

/// The record stage is gone.
struct Gone;

fn report_due(waiting: &mut Waiting, facts: &RunFacts, output: &Sender<Decided>) -> Result<(), Gone> {
    while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= Instant::now()) {
        let Some(captured) = first.remove().upgrade() else { continue };
        let Some(ticket) = captured.claim() else { continue };
        tracing::warn!(station = %captured.station.name, "a verdict was due and not there, the fail-safe holds");
        let decided = Decided::new(Inspection::of(Arc::clone(&captured)), ticket, facts);
        output.send(decided).map_err(|_unsent| Gone)?;
    }
    Ok(())
}
