//! Bounded hand-over between two stages, with the overload policy built in.
//!
//! Both kinds end in a `crossbeam` receiver, so that one stage can wait for many of them at once. `freshest` keeps its value
//! in a slot beside a channel of capacity one, the bell, that says "something new".

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver as Bell, Select, SendError, Sender as BellRope, TrySendError, bounded};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to frames that come faster than they can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overload {
    /// The source waits: no frame is lost. Right for files.
    #[default]
    EveryFrame,
    /// The newest frame replaces the one that still waits, which is counted as dropped. Right for live cameras.
    Freshest,
}

/// What became of a value that was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent<T> {
    /// It waits for its receiver, and so does everything before it.
    Kept,
    /// It took the place of this older value.
    Replaced(T),
}

/// The sending end.
#[derive(Debug)]
pub struct Sender<T> {
    kind: SenderKind<T>,
}

#[derive(Debug)]
enum SenderKind<T> {
    Every(BellRope<T>),
    Freshest { slot: Arc<Mutex<Option<T>>>, bell: BellRope<()> },
}

/// The receiving end; there is one.
#[derive(Debug)]
pub struct Receiver<T> {
    kind: ReceiverKind<T>,
}

#[derive(Debug)]
enum ReceiverKind<T> {
    Every(Bell<T>),
    Freshest { slot: Arc<Mutex<Option<T>>>, bell: Bell<()> },
}

/// Returns the two ends of a queue; `capacity` holds for [`Overload::EveryFrame`], [`Overload::Freshest`] keeps one value.
pub fn queue<T>(overload: Overload, capacity: usize) -> (Sender<T>, Receiver<T>) {
    match overload {
        Overload::EveryFrame => {
            let (sender, receiver) = bounded(capacity);
            (Sender { kind: SenderKind::Every(sender) }, Receiver { kind: ReceiverKind::Every(receiver) })
        }
        Overload::Freshest => {
            let slot = Arc::new(Mutex::new(None));
            let (rope, bell) = bounded(1);
            let sender = Sender { kind: SenderKind::Freshest { slot: Arc::clone(&slot), bell: rope } };
            (sender, Receiver { kind: ReceiverKind::Freshest { slot, bell } })
        }
    }
}

impl<T> Sender<T> {
    /// Hands over `value`: waits for room under [`Overload::EveryFrame`], returns at once under [`Overload::Freshest`].
    ///
    /// # Errors
    /// Gives `value` back when the receiver is gone.
    pub fn send(&self, value: T) -> Result<Sent<T>, SendError<T>> {
        match &self.kind {
            SenderKind::Every(sender) => sender.send(value).map(|()| Sent::Kept),
            SenderKind::Freshest { slot, bell } => {
                let older = replace(slot, Some(value));
                match bell.try_send(()) {
                    Ok(()) | Err(TrySendError::Full(())) => Ok(older.map_or(Sent::Kept, Sent::Replaced)),
                    // The older value, if any, is let go here; its ticket says so to the ledger.
                    Err(TrySendError::Disconnected(())) => match replace(slot, None) {
                        Some(value) => Err(SendError(value)),
                        None => Ok(Sent::Kept),
                    },
                }
            }
        }
    }
}

fn replace<T>(slot: &Mutex<Option<T>>, value: Option<T>) -> Option<T> {
    std::mem::replace(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner), value)
}

impl<T> Receiver<T> {
    /// Returns the next value, waiting for it; `None` when every sender is gone and nothing is left.
    pub fn recv(&self) -> Option<T> {
        match &self.kind {
            ReceiverKind::Every(receiver) => receiver.recv().ok(),
            // A bell without a value means that the value was taken at an earlier bell: wait for the next.
            ReceiverKind::Freshest { slot, bell } => loop {
                bell.recv().ok()?;
                if let Some(value) = replace(slot, None) {
                    return Some(value);
                }
            },
        }
    }
}

/// Many queues that end in one stage; chosen at random among those that are ready, so that none starves.
#[derive(Debug)]
pub struct Lanes<T> {
    receivers: Vec<Receiver<T>>,
}

impl<T> Lanes<T> {
    /// Returns the ends of `receivers` as one.
    pub const fn new(receivers: Vec<Receiver<T>>) -> Self {
        Self { receivers }
    }

    /// Returns the next value of any lane, waiting for it; `None` when every sender of every lane is gone.
    pub fn recv(&mut self) -> Option<T> {
        loop {
            if let [only] = self.receivers.as_slice() {
                return only.recv();
            }
            if self.receivers.is_empty() {
                return None;
            }
            let (lane, received) = self.select();
            match received {
                Ok(Some(value)) => return Some(value),
                Ok(None) => {}
                Err(Gone) => drop(self.receivers.swap_remove(lane)),
            }
        }
    }

    fn select(&self) -> (usize, Result<Option<T>, Gone>) {
        let mut select = Select::new();
        for receiver in &self.receivers {
            match &receiver.kind {
                ReceiverKind::Every(receiver) => select.recv(receiver),
                ReceiverKind::Freshest { bell, .. } => select.recv(bell),
            };
        }
        let ready = select.select();
        let lane = ready.index();
        let received = match &self.receivers[lane].kind {
            ReceiverKind::Every(receiver) => ready.recv(receiver).map(Some),
            ReceiverKind::Freshest { slot, bell } => ready.recv(bell).map(|()| replace(slot, None)),
        };
        (lane, received.map_err(|_closed| Gone))
    }
}

/// Every sender of a lane is gone.
struct Gone;

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn every_frame_waits_and_keeps_the_order() {
        let (sender, receiver) = queue(Overload::EveryFrame, 2);
        thread::scope(|scope| {
            scope.spawn(move || (0..100).for_each(|value| assert_eq!(sender.send(value), Ok(Sent::Kept))));
            thread::sleep(Duration::from_millis(5));
            let received: Vec<i32> = std::iter::from_fn(|| receiver.recv()).collect();
            assert_eq!(received, (0..100).collect::<Vec<_>>());
        });
    }

    #[test]
    fn freshest_keeps_the_newest_and_gives_the_older_back() {
        let (sender, receiver) = queue(Overload::Freshest, 8);
        assert_eq!(sender.send(1), Ok(Sent::Kept));
        assert_eq!(sender.send(2), Ok(Sent::Replaced(1)));
        assert_eq!(receiver.recv(), Some(2));
        assert_eq!(sender.send(3), Ok(Sent::Kept));
        drop(sender);
        assert_eq!(receiver.recv(), Some(3));
        assert_eq!(receiver.recv(), None);
    }

    #[test]
    fn a_value_for_nobody_comes_back() {
        for overload in [Overload::EveryFrame, Overload::Freshest] {
            let (sender, receiver) = queue(overload, 1);
            drop(receiver);
            assert_eq!(sender.send(7), Err(SendError(7)), "{overload:?}");
        }
    }

    #[test]
    fn lanes_bring_everything_of_every_kind_and_then_end() {
        let (every, first) = queue(Overload::EveryFrame, 1);
        let (freshest, second) = queue(Overload::Freshest, 1);
        let mut lanes = Lanes::new(vec![first, second]);
        let given_back = thread::scope(|scope| {
            scope.spawn(move || (0..500).for_each(|_| assert_eq!(every.send(1), Ok(Sent::Kept))));
            let counter =
                scope.spawn(move || (0..500).filter(|_| freshest.send(1_000) == Ok(Sent::Replaced(1_000))).count());
            let received: Vec<i32> = std::iter::from_fn(|| lanes.recv()).collect();
            assert_eq!(received.iter().filter(|value| **value == 1).count(), 500);
            let fresh = received.iter().filter(|value| **value == 1_000).count();
            (counter.join().unwrap(), fresh)
        });
        assert_eq!(given_back.0 + given_back.1, 500);
    }
}
