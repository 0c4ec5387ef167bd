//! Execution providers: what computes the operators of a graph.

use std::{fmt, path::Path};

use ort::ep::{self, ExecutionProviderDispatch};

use crate::ModelError;

use super::{LIBRARY_VARIABLE, Memory, SessionConfig, runtime};

/// What computes the operators of a graph. Those that a provider does not know are computed by the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// ONNX Runtime's own kernels.
    #[default]
    Cpu,
    /// Intel's `OpenVINO` on the CPU.
    OpenVino,
    /// Intel's `OpenVINO` on its graphics.
    OpenVinoGpu,
    /// Intel's `OpenVINO` on its neural processor.
    OpenVinoNpu,
    /// NVIDIA's CUDA.
    Cuda,
    /// NVIDIA's `TensorRT`.
    TensorRt,
    /// Qualcomm's QNN.
    Qnn,
    /// Apple's Core ML.
    CoreMl,
    /// Microsoft's `DirectML`.
    DirectMl,
}

/// Neural processors, in the order in which one is looked for.
const NEURAL: [Provider; 3] = [Provider::OpenVinoNpu, Provider::Qnn, Provider::CoreMl];

impl Provider {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Cpu,
        Self::OpenVino,
        Self::OpenVinoGpu,
        Self::OpenVinoNpu,
        Self::Cuda,
        Self::TensorRt,
        Self::Qnn,
        Self::CoreMl,
        Self::DirectMl,
    ];

    /// Returns the name by which it is chosen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
            Self::OpenVinoGpu => "openvino-gpu",
            Self::OpenVinoNpu => "openvino-npu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::Qnn => "qnn",
            Self::CoreMl => "coreml",
            Self::DirectMl => "directml",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A provider as this build of Loupe knows it: whether the loaded library has it, and what makes a session use it.
struct Known {
    is_there: ort::Result<bool>,
    dispatch: ExecutionProviderDispatch,
}

fn known<P: ep::ExecutionProvider + Into<ExecutionProviderDispatch>>(provider: P) -> Known {
    Known { is_there: P::is_available(), dispatch: provider.into() }
}

/// Returns the providers that Loupe was built with.
fn all_known(config: SessionConfig) -> Vec<(Provider, Known)> {
    #[cfg(feature = "openvino")]
    let openvino = |device: &str| ep::OpenVINO::default().with_device_type(device);
    Vec::from([
        (Provider::Cpu, known(cpu(config))),
        #[cfg(feature = "openvino")]
        (Provider::OpenVino, known(openvino("CPU").with_num_threads(config.threads.max(1)))),
        #[cfg(feature = "openvino")]
        (Provider::OpenVinoGpu, known(openvino("GPU"))),
        #[cfg(feature = "openvino")]
        (Provider::OpenVinoNpu, known(openvino("NPU"))),
        #[cfg(feature = "cuda")]
        (Provider::Cuda, known(ep::CUDA::default())),
        #[cfg(feature = "tensorrt")]
        (Provider::TensorRt, known(ep::TensorRT::default())),
        #[cfg(feature = "qnn")]
        (Provider::Qnn, known(ep::QNN::default())),
        #[cfg(feature = "coreml")]
        (Provider::CoreMl, known(ep::CoreML::default())),
        #[cfg(feature = "directml")]
        (Provider::DirectMl, known(ep::DirectML::default())),
    ])
}

/// Returns a provider, `None` where Loupe was built without its feature.
fn find(provider: Provider, config: SessionConfig) -> Option<Known> {
    all_known(config).into_iter().find(|(known, _)| *known == provider).map(|(_, known)| known)
}

fn cpu(config: SessionConfig) -> ep::CPU {
    ep::CPU::default().with_arena_allocator(config.memory == Memory::Arena)
}

/// Returns what makes a session use the provider of `config`, and the CPU for what that does not know.
///
/// # Errors
/// When Loupe was built without the provider, or the library at `library`, which is loaded, was.
pub(super) fn dispatch(config: SessionConfig, library: &Path) -> Result<Vec<ExecutionProviderDispatch>, ModelError> {
    let Some(Known { is_there, dispatch }) = find(config.provider, config) else {
        let feature = config.provider.name().split('-').next().unwrap_or_default();
        let expected = format!("Loupe built with its feature {feature}");
        return Err(ModelError::mismatch(format!("device {}", config.provider), expected, "it without"));
    };
    if !is_there.map_err(runtime("listing providers"))? {
        return Err(missing(config.provider, library));
    }
    let mut chosen = vec![dispatch.error_on_failure()];
    if config.provider != Provider::Cpu {
        chosen.push(cpu(config).build().error_on_failure());
    }
    Ok(chosen)
}

/// Returns the first provider for a neural processor that the library at `library`, which is loaded, was built with.
///
/// # Errors
/// When it was built with none.
pub(super) fn neural(library: &Path) -> Result<Provider, ModelError> {
    NEURAL.into_iter().find(|provider| is_there(*provider)).ok_or_else(|| missing(NEURAL[0], library))
}

/// Returns whether the loaded library was built with `provider`.
pub(super) fn is_there(provider: Provider) -> bool {
    find(provider, SessionConfig::default()).is_some_and(|known| known.is_there.unwrap_or(false))
}

fn missing(provider: Provider, library: &Path) -> ModelError {
    let has: Vec<&str> = Provider::ALL.into_iter().filter(|provider| is_there(*provider)).map(Provider::name).collect();
    ModelError::MissingProvider {
        provider: provider.name(),
        library: library.to_owned(),
        has: has.join(", "),
        variable: LIBRARY_VARIABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ort_engine::tests::engine;

    #[test]
    fn names_what_a_provider_lacks() {
        let Some(engine) = engine() else { return };
        let library = engine.library.display();
        for provider in Provider::ALL {
            let config = SessionConfig { provider, ..SessionConfig::default() };
            let Err(error) = dispatch(config, &engine.library) else {
                assert!(is_there(provider), "{provider}");
                continue;
            };
            let expected = format!("onnx runtime library {library}: expected one built with {provider}, found cpu");
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert!(error.to_string().contains("ORT_DYLIB_PATH"), "{error}");
        }
        assert!(is_there(Provider::Cpu));
        let neural = neural(&engine.library);
        assert_eq!(neural.is_ok(), NEURAL.into_iter().any(is_there), "{neural:?}");
    }
}
