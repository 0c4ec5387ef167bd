//! Capture: grabs frames of one source and counts them into the ledger.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use cameras::{CameraError, FrameSource, Grab};

use crate::{
    inspection::{Captured, Inspection, Picture, StationInfo},
    ledger::{DropReason, Ledger},
    queue::{Sender, Sent},
    stage::Stop,
};

/// How soon a capture thread notices that it should stop.
const GRAB_TIMEOUT: Duration = Duration::from_millis(50);

/// Tells the deadline stage about a captured frame.
pub(crate) type Watch = crossbeam_channel::Sender<Weak<Captured>>;

/// What the capture thread of one station works with.
pub(crate) struct Capture {
    pub(crate) station: Arc<StationInfo>,
    pub(crate) source: Box<dyn FrameSource>,
    pub(crate) ledger: Ledger,
    pub(crate) stop: Stop,
    pub(crate) output: Sender<Inspection>,
    /// Who watches deadlines; `None` where no station has one.
    pub(crate) deadlines: Option<Watch>,
}

impl Capture {
    /// Captures until the source ends, the run is stopped or nobody takes the frames.
    ///
    /// # Errors
    /// When the source is lost.
    pub(crate) fn run(mut self) -> Result<(), CameraError> {
        while !self.stop.is_stopping() {
            let picture = match self.source.grab(GRAB_TIMEOUT)? {
                Grab::Frame(frame) => Picture::Readable(frame),
                Grab::Broken(broken) => Picture::Broken(broken),
                Grab::Idle => continue,
                Grab::Ended => break,
            };
            let inspection = Inspection::new(Arc::clone(&self.station), self.ledger.capture(), picture);
            self.watch(&inspection);
            if hand_over(&self.output, inspection).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn watch(&self, inspection: &Inspection) {
        let watched = self.deadlines.as_ref().filter(|_| inspection.captured.due().is_some());
        let sent = watched.map(|watch| watch.try_send(Arc::downgrade(&inspection.captured)));
        if let Some(Err(_unsent)) = sent {
            // The frame is checked against its deadline once more when it is decided.
            tracing::warn!(station = %self.station.name, "too many frames wait for their deadline to be watched");
        }
    }
}

/// The next stage is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// Sends `inspection` on and counts the one that it replaced, if any.
pub(crate) fn hand_over(output: &Sender<Inspection>, inspection: Inspection) -> Result<(), Gone> {
    match output.send(inspection) {
        Ok(Sent::Kept) => Ok(()),
        Ok(Sent::Replaced(older)) => {
            older.captured.give_up(DropReason::OverloadFreshest);
            Ok(())
        }
        Err(_unsent) => Err(Gone),
    }
}
