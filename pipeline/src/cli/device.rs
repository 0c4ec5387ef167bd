use clap::ValueEnum;
use models::{
    ModelError,
    burn_engine::{BurnBackend, BurnDevice},
    ort_engine::{OrtEngine, Provider},
};

/// What computes: `--device`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Device {
    #[value(help = "The processor, on kernels of Loupe's own")]
    #[default]
    Cpu,
    #[value(help = "burn on the first GPU that is found, through CUDA or wgpu")]
    Gpu,
    #[value(help = "ONNX Runtime with the first provider of neural processors that it was built with")]
    Npu,
    #[value(help = "burn on a GPU through Vulkan, Metal or DirectX 12, or a driver that imitates one")]
    Wgpu,
    #[value(help = "burn on a GPU of NVIDIA through CUDA")]
    Cuda,
    #[value(help = "burn on the processor, the reference of its other backends")]
    BurnCpu,
    #[value(help = "ONNX Runtime with Intel's OpenVINO on the processor")]
    Openvino,
    #[value(help = "ONNX Runtime with Intel's OpenVINO on its graphics")]
    OpenvinoGpu,
    #[value(help = "ONNX Runtime with Intel's OpenVINO on its neural processor")]
    OpenvinoNpu,
    #[value(help = "ONNX Runtime with NVIDIA's CUDA")]
    OrtCuda,
    #[value(help = "ONNX Runtime with NVIDIA's TensorRT")]
    Tensorrt,
    #[value(help = "ONNX Runtime with Qualcomm's QNN")]
    Qnn,
    #[value(help = "ONNX Runtime with Apple's Core ML")]
    Coreml,
    #[value(help = "ONNX Runtime with Microsoft's DirectML")]
    Directml,
}

impl Device {
    /// Returns whether burn computes all of the model there.
    pub(super) const fn is_burn(self) -> bool {
        matches!(self, Self::Gpu | Self::Wgpu | Self::Cuda | Self::BurnCpu)
    }

    /// Returns the device of burn that is asked for, `None` where none is.
    ///
    /// # Errors
    /// When this build or this machine has no such device.
    pub(super) fn burn(self) -> Result<Option<BurnDevice>, ModelError> {
        let backend = match self {
            Self::Gpu => return BurnDevice::gpu().map(Some),
            Self::Wgpu => BurnBackend::Wgpu,
            Self::Cuda => BurnBackend::Cuda,
            Self::BurnCpu => BurnBackend::Cpu,
            _ => return Ok(None),
        };
        BurnDevice::open(backend).map(Some)
    }

    /// Returns the provider of `engine` for the device: the processor's for those of burn.
    ///
    /// # Errors
    /// When any neural processor would do and `engine` has a provider for none.
    pub(super) fn provider(self, engine: &OrtEngine) -> Result<Provider, ModelError> {
        Ok(match self {
            Self::Cpu | Self::Gpu | Self::Wgpu | Self::Cuda | Self::BurnCpu => Provider::Cpu,
            Self::Npu => engine.neural_provider()?,
            Self::Openvino => Provider::OpenVino,
            Self::OpenvinoGpu => Provider::OpenVinoGpu,
            Self::OpenvinoNpu => Provider::OpenVinoNpu,
            Self::OrtCuda => Provider::Cuda,
            Self::Tensorrt => Provider::TensorRt,
            Self::Qnn => Provider::Qnn,
            Self::Coreml => Provider::CoreMl,
            Self::Directml => Provider::DirectMl,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_device_or_says_what_is_missing() {
        assert_eq!(Device::Cpu.burn().unwrap(), None);
        for (device, name) in [(Device::Gpu, "gpu"), (Device::Wgpu, "wgpu"), (Device::Cuda, "cuda")] {
            assert!(device.is_burn());
            match device.burn() {
                Ok(found) => assert!(found.is_some(), "{name}"),
                Err(error) => assert!(error.to_string().starts_with(&format!("device {name}: expected a")), "{error}"),
            }
        }
    }
}
