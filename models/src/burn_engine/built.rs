use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use burn_tensor::Device;

use crate::{
    ModelError,
    decoder::{BurnDecoder, DecoderConfig, DecoderOptions, DecoderWeights, TextDecoder},
    encoder::Weights,
    smolvlm::{BurnVision, FrameEncoder, Tensors, VlmConfig},
    tuning::{BurnTail, Tail},
    visual_tuning::{BurnPupil, Pupil},
};

use super::{BurnBackend, layers};

/// A device that burn computes on. Copies refer to the same device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BurnDevice {
    pub(super) device: Device,
    pub(super) name: String,
    pub(super) is_gpu: bool,
}

impl BurnDevice {
    /// Returns the first device of `backend`, after a trial.
    ///
    /// # Errors
    /// When this build lacks the backend, the machine has no device for it, or the device fails the trial.
    pub fn open(backend: BurnBackend) -> Result<Self, ModelError> {
        let device = match backend {
            #[cfg(feature = "burn-cpu")]
            BurnBackend::Cpu => {
                Self { device: Device::flex(), name: "burn on the processor".to_owned(), is_gpu: false }
            }
            #[cfg(feature = "burn-wgpu")]
            BurnBackend::Wgpu => super::wgpu::open()?,
            #[cfg(feature = "burn-cuda")]
            BurnBackend::Cuda => super::cuda::open()?,
            #[cfg(not(all(feature = "burn-cpu", feature = "burn-wgpu", feature = "burn-cuda")))]
            _ => return Err(super::not_built(backend)),
        };
        device.try_out(backend)?;
        Ok(device)
    }

    /// Returns what the device is called: backend, model of the GPU, and how it is reached.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the device is a GPU.
    pub fn is_gpu(&self) -> bool {
        self.is_gpu
    }

    /// Multiplies two small matrices. Drivers and compilers are loaded when the first kernel runs, and burn panics where one
    /// of them is missing.
    fn try_out(&self, backend: BurnBackend) -> Result<(), ModelError> {
        let what = format!("device {backend}, {}", self.name);
        let product = catch_unwind(AssertUnwindSafe(|| {
            let matrix = || layers::tensor(vec![1.0, 2.0, 3.0, 4.0], [2, 2], &self.device);
            layers::read(matrix().matmul(matrix()), "trying the device")
        }));
        match product {
            Ok(Ok(values)) if values == [7.0, 10.0, 15.0, 22.0] => Ok(()),
            Ok(Ok(values)) => Err(ModelError::mismatch(what, "the product of two matrices", format!("{values:?}"))),
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(ModelError::mismatch(what, "to start", message(panic.as_ref()))),
        }
    }

    /// Returns the vision encoder of a model.
    pub(crate) fn vision(&self, model: (&dyn Tensors, &VlmConfig)) -> Result<Box<dyn FrameEncoder>, ModelError> {
        Ok(Box::new(BurnVision::new(&self.device, model)?))
    }

    /// Returns the network from block `first_block` on, and a head, to be trained.
    pub(crate) fn tail(&self, weights: &Weights, first_block: usize, classes: usize) -> Box<dyn Tail> {
        Box::new(BurnTail::new(&self.device, weights, first_block, classes))
    }

    /// Returns the decoder of a model with nothing to be trained yet; it reads up to `capacity` tokens at once.
    pub(crate) fn pupil(
        &self,
        model: (&DecoderWeights<'_>, DecoderConfig),
        capacity: usize,
    ) -> Result<Box<dyn Pupil>, ModelError> {
        Ok(Box::new(BurnPupil::new((&self.device, self.is_gpu), model, capacity)?))
    }

    /// Returns the decoder of a model. Every core works on it, whatever `options` say.
    pub(crate) fn decoder(
        &self,
        model: (&DecoderWeights<'_>, DecoderConfig),
        options: DecoderOptions,
    ) -> Result<Box<dyn TextDecoder>, ModelError> {
        Ok(Box::new(BurnDecoder::new(&self.device, model, options)?))
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}
