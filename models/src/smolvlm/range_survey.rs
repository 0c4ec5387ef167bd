use std::path::Path;

use cameras::Frame;

use crate::ModelError;

use super::{ActivationRanges, Checkpoint, FrameEncoder as _, Processor, files::Opened, vision::IntegerVision};

/// Finds the ranges of a vision encoder's activations on pictures, for [`super::quantize`]. Owned by one thread.
#[derive(Debug)]
pub struct RangeSurvey {
    processor: Processor,
    encoder: IntegerVision,
}

impl RangeSurvey {
    /// Returns the survey of the model in `folder`, whose vision encoder computes in 8-bit integers with a range for each row,
    /// on `threads`.
    ///
    /// # Errors
    /// When a file is absent or malformed, or files disagree with each other.
    pub fn open(folder: &Path, threads: usize) -> Result<Self, ModelError> {
        let Opened { settings, config, weights, .. } = Opened::folder(folder, Checkpoint::open(folder)?)?;
        let encoder = IntegerVision::calibrating((&weights, &config), threads)?;
        Ok(Self { processor: Processor::new(settings)?, encoder })
    }

    /// Looks at a picture: at all of its tiles, and at the whole of it.
    ///
    /// # Errors
    /// When a side of the picture is 0.
    pub fn see(&mut self, picture: &Frame) -> Result<(), ModelError> {
        self.processor.frames(picture)?.iter().try_for_each(|frame| self.encoder.encode(frame, &mut Vec::new()))
    }

    /// Returns the least and the greatest of all activations so far.
    ///
    /// # Errors
    /// When no picture has been seen, or an activation is not finite.
    pub fn ranges(&self) -> Result<ActivationRanges, ModelError> {
        self.encoder.ranges().ok_or_else(|| ModelError::mismatch("ranges of activations", "finite ones", "none"))
    }
}
