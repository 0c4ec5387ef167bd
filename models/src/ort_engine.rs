//! ONNX Runtime: finds the shared library, starts it once, and makes sessions from graphs.

mod foreign;
mod provider;

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use ort::{
    environment::Environment,
    ep::ExecutionProviderDispatch,
    logging::LogLevel,
    session::{
        Session,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
};

use crate::{
    ModelError,
    bundle::{Bundle, Role},
    cache::Cache,
};

pub(crate) use foreign::{Floats, ForeignGraph, Port};
pub use provider::Provider;

/// Names a library file that is used instead of the one in Loupe's cache.
const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";
/// Set when a run ends, so that worker threads do not burn the cores while other stages work.
const STOP_SPINNING_AFTER_RUN: &str = "session.force_spinning_stop";
/// Set to 1, products of signed and unsigned bytes become products of unsigned ones. Processors without VNNI need it, where sums of the
/// former overflow; with VNNI the latter take 1.7 times as long.
const EXACT_BYTES: &str = "session.x64quantprecision";

/// The one ONNX Runtime of this process. Copies refer to the same runtime.
#[derive(Debug, Clone)]
pub struct OrtEngine {
    environment: Environment,
    library: PathBuf,
}

/// How a session uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionConfig {
    /// Threads that work on one operator, the caller included; at least 1.
    pub threads: usize,
    /// What idle worker threads do between operators.
    pub waiting: Waiting,
    /// Whether memory of finished runs is kept for the next one.
    pub memory: Memory,
    /// What computes.
    pub provider: Provider,
}

/// What idle worker threads do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Spin while a run lasts, sleep between runs: for graphs of many small operators.
    SpinDuringRun,
    /// Sleep at once: for graphs of few large operators, and when cores are shared.
    Sleep,
}

/// What becomes of the memory of a run's intermediate tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It is kept for the next run: faster, and resident memory stays at its peak.
    Arena,
    /// It goes back to the allocator after each operator: slower, smaller.
    Release,
}

impl Default for SessionConfig {
    /// Returns two threads on the CPU that sleep between runs and keep their memory.
    fn default() -> Self {
        Self { threads: 2, waiting: Waiting::SpinDuringRun, memory: Memory::Arena, provider: Provider::Cpu }
    }
}

impl OrtEngine {
    /// Returns the engine, loading the library at the first call: the file that `ORT_DYLIB_PATH` names, else `library`.
    ///
    /// # Errors
    /// When there is no such file, it is not an ONNX Runtime that Loupe can use, or another library is already loaded
    /// (one process holds one runtime).
    pub fn load(library: &Path) -> Result<Self, ModelError> {
        static ENGINE: OnceLock<OrtEngine> = OnceLock::new();
        static LOADING: Mutex<()> = Mutex::new(());
        let path = chosen_library(library)?;
        // The guard protects no data, so a thread that panicked while it held the lock has broken nothing.
        let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        match ENGINE.get() {
            Some(engine) if engine.library == path => Ok(engine.clone()),
            Some(engine) => Err(ModelError::Mismatch {
                what: "onnx runtime library".to_owned(),
                expected: format!("{}, which this process has loaded", engine.library.display()),
                found: path.display().to_string(),
            }),
            None => {
                let environment = start(&path)?;
                Ok(ENGINE.get_or_init(|| OrtEngine { environment, library: path }).clone())
            }
        }
    }

    /// Returns the engine that `ORT_DYLIB_PATH` names, else that of `bundle` in `cache`.
    ///
    /// # Errors
    /// As [`Self::load`], and when no library is named and the cache lacks that of the bundle.
    pub fn of(bundle: &Bundle, cache: &Cache) -> Result<Self, ModelError> {
        match named_library() {
            Some(library) => Self::load(&library),
            None => Self::load(&cache.require(bundle, Role::RuntimeLibrary)?),
        }
    }

    /// Returns version, build and compiler flags in the library's own words.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    /// Returns a session for the graph in `model`, whose constants are all inside.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the graph.
    pub fn session_from_bytes(&self, model: &[u8], config: SessionConfig) -> Result<Session, ModelError> {
        self.builder(config)?.commit_from_memory(model).map_err(runtime("building a session"))
    }

    /// Returns a session for the graph in the file `model`; constants in a data file beside it are mapped into memory.
    ///
    /// # Errors
    /// When the file cannot be read or ONNX Runtime refuses the graph.
    pub fn session_from_file(&self, model: &Path, config: SessionConfig) -> Result<Session, ModelError> {
        let doing = format!("building a session from {}", model.display());
        self.builder(config)?.commit_from_file(model).map_err(runtime(&doing))
    }

    fn builder(&self, config: SessionConfig) -> Result<SessionBuilder, ModelError> {
        let providers = provider::dispatch(config, &self.library)?;
        let doing = format!("setting session options for {}", config.provider);
        configure(&self.environment, &providers, config).map_err(runtime(&doing))
    }

    /// Returns the provider for a neural processor that the library has.
    ///
    /// # Errors
    /// When it has none.
    pub fn neural_provider(&self) -> Result<Provider, ModelError> {
        provider::neural(&self.library)
    }
}

/// Returns a closure that wraps what ONNX Runtime said with what Loupe was doing.
pub(crate) fn runtime(doing: &str) -> impl FnOnce(ort::Error) -> ModelError {
    move |source| ModelError::Runtime { doing: doing.to_owned(), source }
}

fn named_library() -> Option<PathBuf> {
    env::var_os(LIBRARY_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn chosen_library(library: &Path) -> Result<PathBuf, ModelError> {
    let path = named_library().unwrap_or_else(|| library.to_owned());
    if path.is_file() {
        return Ok(path);
    }
    Err(ModelError::MissingLibrary { path, variable: LIBRARY_VARIABLE })
}

fn start(library: &Path) -> Result<Environment, ModelError> {
    let builder = ort::init_from(library)
        .map_err(|source| ModelError::UnusableLibrary { path: library.to_owned(), source: Box::new(source) })?;
    let environment = builder
        .with_name("loupe")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(runtime("starting"))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}

fn log(level: LogLevel, _category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Error | LogLevel::Fatal => tracing::error!(location, detail = message, "onnx runtime"),
        LogLevel::Warning => tracing::warn!(location, detail = message, "onnx runtime"),
        LogLevel::Info | LogLevel::Verbose => tracing::debug!(location, detail = message, "onnx runtime"),
    }
}

fn configure(
    environment: &Environment,
    providers: &[ExecutionProviderDispatch],
    config: SessionConfig,
) -> Result<SessionBuilder, ort::Error> {
    let builder = Session::builder(environment)?
        .with_execution_providers(providers)?
        .with_intra_threads(config.threads.max(1))?
        .with_inter_threads(1)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        // Another provider has threads of its own, which spinning ones would disturb.
        .with_intra_op_spinning(config.waiting == Waiting::SpinDuringRun && config.provider == Provider::Cpu)?
        .with_config_entry(STOP_SPINNING_AFTER_RUN, "1")?
        .with_config_entry(EXACT_BYTES, if sums_bytes_exactly() { "0" } else { "1" })?;
    Ok(builder)
}

#[cfg(target_arch = "x86_64")]
fn sums_bytes_exactly() -> bool {
    is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni")
}

#[cfg(not(target_arch = "x86_64"))]
const fn sums_bytes_exactly() -> bool {
    true
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        bundle::{Bundle, DEFAULT_BUNDLE, Role},
        cache::Cache,
        onnx::{Dim, Element, GraphBuilder, Node},
    };
    use ort::value::Tensor;

    /// Returns the engine where the cache has the library or `ORT_DYLIB_PATH` names one; prints why not otherwise.
    pub(crate) fn engine() -> Option<OrtEngine> {
        let bundle = Bundle::open(DEFAULT_BUNDLE).unwrap();
        let cached = Cache::locate().and_then(|cache| cache.require(&bundle, Role::RuntimeLibrary));
        let loaded = OrtEngine::load(&cached.unwrap_or_else(|_| PathBuf::from("libonnxruntime.so")));
        #[expect(clippy::print_stderr, reason = "a skipped test says why")]
        if let Err(error) = &loaded {
            eprintln!("skipped: {error}");
        }
        loaded.ok()
    }

    /// Names the provider that tests of sessions cover, if it is not the CPU.
    const PROVIDER_VARIABLE: &str = "LOUPE_TEST_PROVIDER";

    /// Returns the provider that tests cover: the one that the environment names.
    pub(crate) fn provider() -> Provider {
        let name = env::var(PROVIDER_VARIABLE).unwrap_or_default();
        let chosen = Provider::ALL.into_iter().find(|provider| provider.name() == name);
        assert!(chosen.is_some() || name.is_empty(), "{PROVIDER_VARIABLE}: {name} is no provider");
        chosen.unwrap_or_default()
    }

    /// A provider that the library has computes, or says what it lacks: a graphics card, a driver.
    #[test]
    fn runs_a_graph_that_loupe_builds() {
        let Some(engine) = engine() else { return };
        for provider in Provider::ALL.into_iter().filter(|provider| provider::is_there(*provider)) {
            match run_a_graph(&engine, provider) {
                Ok(values) => assert_eq!(values, [11.0, 22.0], "{provider}"),
                Err(error) => {
                    assert!(![Provider::Cpu, self::provider()].contains(&provider), "{error}");
                    assert!(error.to_string().contains(provider.name()), "{error}");
                }
            }
        }
    }

    fn run_a_graph(engine: &OrtEngine, provider: Provider) -> Result<Vec<f32>, ModelError> {
        let mut graph = GraphBuilder::inline("sum");
        graph.input("x", Element::F32, &[Dim::Named("rows"), Dim::Fixed(2)]);
        graph.output("y", Element::F32, &[Dim::Named("rows"), Dim::Fixed(2)]);
        graph.constant_f32("offset", &[2], &[1.0, 2.0]).unwrap();
        graph.node(Node::new("Add", &["x", "offset"], &["y"]));
        let model = graph.into_bytes().unwrap();
        let mut session = engine.session_from_bytes(&model, SessionConfig { provider, ..SessionConfig::default() })?;
        let input = Tensor::from_array(([1_usize, 2], vec![10.0_f32, 20.0])).unwrap();
        let outputs = session.run(ort::inputs!["x" => input]).unwrap();
        Ok(outputs["y"].try_extract_tensor::<f32>().unwrap().1.to_vec())
    }

    #[test]
    fn names_what_a_broken_graph_lacks() {
        let Some(engine) = engine() else { return };
        let mut graph = GraphBuilder::inline("broken");
        graph.output("y", Element::F32, &[Dim::Fixed(1)]);
        graph.node(Node::new("Relu", &["absent"], &["y"]));
        let error = engine.session_from_bytes(&graph.into_bytes().unwrap(), SessionConfig::default()).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn says_how_to_get_a_missing_library() {
        let missing = ModelError::MissingLibrary { path: PathBuf::from("/cache/lib.so"), variable: LIBRARY_VARIABLE };
        assert_eq!(
            missing.to_string(),
            "onnx runtime library: no file at /cache/lib.so; run `loupe models pull` or set ORT_DYLIB_PATH"
        );
    }
}
