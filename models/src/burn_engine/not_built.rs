//! What stands in where no backend of burn is built: no such device can be had.

use crate::{
    ModelError,
    decoder::{DecoderConfig, DecoderOptions, DecoderWeights, TextDecoder},
    encoder::Weights,
    smolvlm::{FrameEncoder, Tensors, VlmConfig},
    tuning::Tail,
    visual_tuning::Pupil,
};

use super::{BurnBackend, not_built};

/// A device that burn computes on. This build has no backend of burn, so there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BurnDevice {}

impl BurnDevice {
    /// Returns no device.
    ///
    /// # Errors
    /// Always, naming the feature that `backend` is built with.
    pub fn open(backend: BurnBackend) -> Result<Self, ModelError> {
        Err(not_built(backend))
    }

    /// Returns what the device is called.
    pub fn name(&self) -> &str {
        match *self {}
    }

    /// Returns whether the device is a GPU.
    pub fn is_gpu(&self) -> bool {
        match *self {}
    }

    pub(crate) fn vision(&self, _model: (&dyn Tensors, &VlmConfig)) -> Result<Box<dyn FrameEncoder>, ModelError> {
        match *self {}
    }

    pub(crate) fn tail(&self, _weights: &Weights, _first_block: usize, _classes: usize) -> Box<dyn Tail> {
        match *self {}
    }

    pub(crate) fn pupil(
        &self,
        _model: (&DecoderWeights<'_>, DecoderConfig),
        _capacity: usize,
    ) -> Result<Box<dyn Pupil>, ModelError> {
        match *self {}
    }

    pub(crate) fn decoder(
        &self,
        _model: (&DecoderWeights<'_>, DecoderConfig),
        _options: DecoderOptions,
    ) -> Result<Box<dyn TextDecoder>, ModelError> {
        match *self {}
    }
}
