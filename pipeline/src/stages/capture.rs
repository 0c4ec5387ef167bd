//! Capture: grabs frames of one source and counts them into the ledger.

use std::{sync::Arc, time::Duration};

use cameras::{CameraError, FrameSource, Grab};

use crate::{
    inspection::{Inspection, Picture, StationInfo},
    ledger::{DropReason, Ledger},
    queue::{Sender, Sent},
    stage::Stop,
};

/// How soon a capture thread notices that it should stop.
const GRAB_TIMEOUT: Duration = Duration::from_millis(50);

/// What the capture thread of one station works with.
pub(crate) struct Capture {
    pub(crate) station: Arc<StationInfo>,
    pub(crate) source: Box<dyn FrameSource>,
    pub(crate) ledger: Ledger,
    pub(crate) stop: Stop,
    pub(crate) output: Sender<Inspection>,
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
            if hand_over(&self.output, inspection).is_err() {
                break;
            }
        }
        Ok(())
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
            older.ticket.dropped(DropReason::OverloadFreshest);
            Ok(())
        }
        Err(_unsent) => Err(Gone),
    }
}
