//! burn: the engine for GPUs of every make. Its backend on the processor is the reference of the others.
//!
//! Everything is computed in 32-bit floats. `smolvlm` and `decoder` have their networks on it; here are the devices and the
//! layers that networks are made of.

#[cfg(feature = "burn")]
mod built;
#[cfg(feature = "burn-cuda")]
mod cuda;
#[cfg(feature = "burn")]
pub(crate) mod layers;
#[cfg(not(feature = "burn"))]
mod not_built;
#[cfg(feature = "burn")]
pub(crate) mod parameters;
#[cfg(feature = "burn-wgpu")]
mod wgpu;

use std::fmt;

use crate::ModelError;

#[cfg(feature = "burn")]
pub use built::BurnDevice;
#[cfg(not(feature = "burn"))]
pub use not_built::BurnDevice;

/// What burn computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BurnBackend {
    /// The processor, every core of it.
    Cpu,
    /// A GPU through Vulkan, Metal or DirectX 12, or a driver that imitates one.
    Wgpu,
    /// A GPU through CUDA.
    Cuda,
}

impl BurnBackend {
    /// Every backend.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Wgpu, Self::Cuda];

    /// Returns the feature of the crate that the backend is built with.
    pub const fn feature(self) -> &'static str {
        match self {
            Self::Cpu => "burn-cpu",
            Self::Wgpu => "burn-wgpu",
            Self::Cuda => "burn-cuda",
        }
    }

    /// Returns whether this build has the backend.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Cpu => cfg!(feature = "burn-cpu"),
            Self::Wgpu => cfg!(feature = "burn-wgpu"),
            Self::Cuda => cfg!(feature = "burn-cuda"),
        }
    }
}

impl fmt::Display for BurnBackend {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cpu => "burn-cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        })
    }
}

impl BurnDevice {
    /// Returns the first GPU that a backend of this build finds; CUDA is asked first. A driver that imitates a GPU on the
    /// processor is none: [`Self::open`] with [`BurnBackend::Wgpu`] takes it.
    ///
    /// # Errors
    /// When this build has no backend for GPUs, or none of them finds one.
    pub fn gpu() -> Result<Self, ModelError> {
        const DEVICE: &str = "device gpu";
        let mut built =
            [BurnBackend::Cuda, BurnBackend::Wgpu].into_iter().filter(|backend| backend.is_built()).peekable();
        if built.peek().is_none() {
            let features = format!("{} or {}", BurnBackend::Wgpu.feature(), BurnBackend::Cuda.feature());
            return Err(ModelError::BackendNotBuilt { device: "gpu".to_owned(), features });
        }
        let mut found = Vec::new();
        for backend in built {
            match Self::open(backend) {
                Ok(device) if device.is_gpu() => return Ok(device),
                Ok(device) => found.push(format!("{} without a GPU; --device {backend} takes it", device.name())),
                Err(error) => found.push(error.to_string()),
            }
        }
        Err(ModelError::mismatch(DEVICE, "a GPU", found.join("; ")))
    }
}

/// Returns the error that says how to get `backend`.
fn not_built(backend: BurnBackend) -> ModelError {
    ModelError::BackendNotBuilt { device: backend.to_string(), features: backend.feature().to_owned() }
}

#[cfg(test)]
pub(crate) mod tests;
