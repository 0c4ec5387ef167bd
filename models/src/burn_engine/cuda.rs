//! GPUs through CUDA.

use burn_tensor::{Device, DeviceType};

use crate::ModelError;

use super::BurnDevice;

/// Returns the first GPU that CUDA names.
///
/// # Errors
/// When there is no driver or no GPU.
pub(super) fn open() -> Result<BurnDevice, ModelError> {
    // Enumerating looks for the driver first, where starting a device would panic without it.
    if Device::enumerate(DeviceType::Cuda).is_empty() {
        return Err(ModelError::mismatch("device cuda", "a GPU of NVIDIA with its driver", "none"));
    }
    Ok(BurnDevice { device: Device::cuda(0_usize), name: "burn cuda, first GPU".to_owned(), is_gpu: true })
}
