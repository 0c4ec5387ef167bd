//! GPUs through Vulkan, Metal and DirectX 12.

use std::sync::{Mutex, PoisonError};

use burn_tensor::{
    Device,
    wgpu::{WgpuInitError, wgpu::DeviceType},
};

use crate::ModelError;

use super::BurnDevice;

/// Returns the device of the adapter that the system prefers; a driver that imitates a GPU where there is no other.
///
/// # Errors
/// When there is no adapter, or it cannot be started.
pub(super) fn open() -> Result<BurnDevice, ModelError> {
    // A process starts the adapter once; what has been started is taken again.
    static STARTED: Mutex<Option<BurnDevice>> = Mutex::new(None);
    // The device is stored in one step, so a thread that panicked while it held the lock has broken nothing.
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = started.as_ref() {
        return Ok(device.clone());
    }
    let (device, setup) = Device::wgpu_options().init_with_setup().map_err(refused)?;
    let adapter = setup.adapter.get_info();
    let device = BurnDevice {
        device,
        name: format!("burn wgpu, {}, {}", adapter.name, adapter.backend),
        is_gpu: adapter.device_type != DeviceType::Cpu,
    };
    Ok(started.insert(device).clone())
}

fn refused(error: WgpuInitError) -> ModelError {
    match error {
        WgpuInitError::AdapterUnavailable { message, .. } => ModelError::mismatch(
            "device wgpu",
            "an adapter of Vulkan, Metal or DirectX 12",
            format!("none ({message})"),
        ),
        error => ModelError::mismatch("device wgpu", "an adapter that starts", error),
    }
}
