//! Checkpoints with the outputs of the reference implementation, for parity tests.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use safetensors::SafeTensors;

use super::{Engine, ModelFiles, files::Opened};
use crate::{
    ModelError,
    burn_engine::{self, BurnDevice},
    ort_engine::{self, OrtEngine},
};

/// Names a folder with a checkpoint of full size and `reference.safetensors`, made with transformers' Pillow processor
/// (`Idefics3ImageProcessorPil`): the torchvision one differs from it by up to two levels in some pixels.
const FULL_SIZED_VARIABLE: &str = "LOUPE_SMOLVLM_REFERENCE";

/// Returns the folder of the committed checkpoint.
pub(crate) fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/smolvlm_tiny")
}

/// Returns the same checkpoint as a pair of GGUF files with matrices of type `kind`, f32 or f16.
pub(crate) fn tiny_pair(kind: &str) -> ModelFiles {
    let file = |part: &str| tiny().join(format!("{part}-{kind}.gguf"));
    ModelFiles::Pair { text: file("text"), mmproj: file("mmproj") }
}

/// Returns the folder of the same checkpoint as published graphs.
pub(crate) fn tiny_graphs() -> PathBuf {
    tiny().with_file_name("smolvlm_tiny_onnx")
}

/// Opens a pair of GGUF files.
pub(super) fn opened(files: &ModelFiles) -> Result<Opened, ModelError> {
    let ModelFiles::Pair { text, mmproj } = files else { unreachable!("{files:?} is no pair") };
    Opened::pair(text, mmproj)
}

/// Returns the folder of a checkpoint of full size where the environment names one; prints why not otherwise.
pub(crate) fn full_sized() -> Option<PathBuf> {
    let folder = env::var_os(FULL_SIZED_VARIABLE).map(PathBuf::from);
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    if folder.is_none() {
        eprintln!("skipped: {FULL_SIZED_VARIABLE} names no folder");
    }
    folder
}

/// The engines that compute as the reference does and that this build and machine have.
pub(crate) struct Engines {
    ort: Option<OrtEngine>,
    graphs: tempfile::TempDir,
    burn: Vec<BurnDevice>,
}

impl Engines {
    /// Finds them; prints why where one is missing.
    pub(crate) fn find() -> Self {
        let graphs = tempfile::tempdir().unwrap();
        Self { ort: ort_engine::tests::engine(), graphs, burn: burn_engine::tests::devices() }
    }

    /// Returns each with its name, the reference of the others first.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&str, Engine<'_>)> {
        let graphs = self.graphs.path();
        let ort = self.ort.iter().map(move |engine| {
            ("onnx runtime", Engine::Ort { engine, provider: ort_engine::tests::provider(), graphs })
        });
        ort.chain(self.burn.iter().map(|device| (device.name(), Engine::Burn(device))))
    }

    /// Returns the folder of the graphs that have been written.
    pub(crate) fn graphs(&self) -> &Path {
        self.graphs.path()
    }
}

/// What the reference implementation computed from a checkpoint.
pub(crate) struct Reference(Vec<u8>);

impl Reference {
    pub(crate) fn read(path: &Path) -> Self {
        Self(fs::read(path).unwrap())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data().to_vec()
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name).as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        self.bytes(name).as_chunks::<8>().0.iter().map(|value| i64::from_le_bytes(*value) as u32).collect()
    }

    /// Returns the frames as bytes, `[frames, side, side, 3]`: stored, or taken back from normalised pixels
    /// `[frames, 3, side, side]`.
    pub(crate) fn frames(&self) -> Vec<u8> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        if let Ok(frames) = tensors.tensor("frames") {
            return frames.data().to_vec();
        }
        let area = tensors.tensor("pixel_values").unwrap().shape()[2..].iter().product::<usize>();
        let byte = |value: f32| ((value + 1.0) * 127.5).round() as u8;
        let planes = self.floats("pixel_values");
        planes
            .chunks_exact(3 * area)
            .flat_map(|frame| (0..3 * area).map(move |index| byte(frame[index % 3 * area + index / 3])))
            .collect()
    }
}
