use super::*;
use crate::{
    matrix::Format,
    ort_engine,
    smolvlm::{
        Checkpoint,
        reference::{Reference, tiny},
    },
};

/// The reference computes in f32 in another order of additions, and keeps the normalisation of pixels apart.
const TOLERANCE: f32 = 2e-4;

/// Returns the encoder in `folder`, on ONNX Runtime.
fn encoder(folder: &Path) -> Option<(VisionEncoder, tempfile::TempDir)> {
    let engine = ort_engine::tests::engine()?;
    let graphs = tempfile::tempdir().unwrap();
    let vision = VisionEngine::Ort { engine: &engine, graphs: graphs.path() };
    Some((open(folder, vision), graphs))
}

fn open(folder: &Path, engine: VisionEngine<'_>) -> VisionEncoder {
    let (config, weights) = (VlmConfig::read(folder).unwrap(), Checkpoint::open(folder).unwrap());
    VisionEncoder::open(engine, (&weights, &config), 2).unwrap()
}

fn assert_parity(folder: &Path, tolerance: f32) {
    let Some((mut encoder, _graphs)) = encoder(folder) else { return };
    let reference = Reference::read(&folder.join("reference.safetensors"));
    let features = encoder.encode(&reference.frames()).unwrap();
    let expected = reference.floats("image_features");
    assert_eq!(features.len(), expected.len());
    let worst = features.iter().zip(&expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "features differ by {worst}");
}

#[test]
fn gives_the_image_features_of_the_reference() {
    assert_parity(&tiny(), TOLERANCE);
}

/// The same with a checkpoint of full size, where somebody has one with reference outputs beside it.
#[test]
fn gives_the_image_features_of_a_full_sized_reference() {
    let Some(folder) = crate::smolvlm::reference::full_sized() else { return };
    assert_parity(&folder, 2e-3);
}

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

fn assert_close_in_8_bits(folder: &Path) {
    let mut encoder = open(folder, VisionEngine::Integer);
    let reference = Reference::read(&folder.join("reference.safetensors"));
    let features = encoder.encode(&reference.frames()).unwrap();
    let cosine = cosine(&features, &reference.floats("image_features"));
    assert!((0.999..0.999_999).contains(&cosine), "cosine {cosine}");
}

#[test]
fn stays_close_to_the_reference_in_8_bits() {
    assert_close_in_8_bits(&tiny());
}

#[test]
fn stays_close_to_a_full_sized_reference_in_8_bits() {
    let Some(folder) = crate::smolvlm::reference::full_sized() else { return };
    assert_close_in_8_bits(&folder);
}

#[test]
fn refuses_half_a_frame() {
    let Some((mut encoder, _graphs)) = encoder(&tiny()) else { return };
    for len in [0, 100, 32 * 32 * 3 + 1] {
        let error = encoder.encode(&vec![0; len]).unwrap_err().to_string();
        assert_eq!(error, format!("frames: expected whole frames of 3072 bytes, found {len} bytes"));
    }
}

#[test]
fn names_a_tensor_of_the_wrong_shape() {
    let Some(engine) = ort_engine::tests::engine() else { return };
    let (mut config, weights) = (VlmConfig::read(&tiny()).unwrap(), Checkpoint::open(&tiny()).unwrap());
    config.vision.feed_forward = 128;
    let graphs = tempfile::tempdir().unwrap();
    let vision = VisionEngine::Ort { engine: &engine, graphs: graphs.path() };
    let error = VisionEncoder::open(vision, (&weights, &config), 1).unwrap_err();
    let expected = "tensor model.vision_model.encoder.layers.0.mlp.fc1.bias of shape [128], found [64]";
    assert!(error.to_string().ends_with(expected), "{error}");
    assert_eq!(std::fs::read_dir(graphs.path()).unwrap().count(), 0, "a draft stays behind");
}

/// Tensors of any name and shape, small random numbers.
#[derive(Debug)]
struct Random(Vec<u8>);

impl Random {
    fn new() -> Self {
        let mut state = 1_u32;
        let numbers = (0..100_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 25) as f32 - 0.2
        });
        Self(numbers.flat_map(f32::to_le_bytes).collect())
    }
}

impl Tensors for Random {
    fn locate(&self, name: &str, dims: &[usize]) -> Result<(Format, &[u8]), ModelError> {
        let start = 4 * name.bytes().fold(0, |hash, byte| (hash * 31 + usize::from(byte)) % 50_000);
        Ok((Format::F32, &self.0[start..start + 4 * dims.iter().product::<usize>()]))
    }

    fn flaw(&self, name: &str, expected: &str, found: &str) -> ModelError {
        ModelError::mismatch(name, expected, found)
    }

    fn fingerprint(&self) -> Result<String, ModelError> {
        Ok("random-numbers-of-this-test".to_owned())
    }
}

/// More patches than a block of keys or one thread's share, and sizes that fill no word, no tile and no panel.
#[test]
fn any_sizes_and_any_number_of_threads_see_the_same() {
    let Some(engine) = ort_engine::tests::engine() else { return };
    let mut config = VlmConfig::read(&tiny()).unwrap();
    (config.vision.image_px, config.vision.patch_px, config.shuffle) = (14 * 12 + 5, 14, 3);
    (config.vision.hidden, config.vision.heads, config.vision.feed_forward) = (54, 3, 98);
    let (weights, graphs) = (Random::new(), tempfile::tempdir().unwrap());
    let frame: Vec<u8> = (0..config.vision.image_px.pow(2) * 3).map(|at| (at * at / 7 % 253) as u8).collect();
    let features = |engine: VisionEngine<'_>, threads: usize| {
        VisionEncoder::open(engine, (&weights, &config), threads).unwrap().encode(&frame).unwrap()
    };
    let expected = features(VisionEngine::Ort { engine: &engine, graphs: graphs.path() }, 1);
    let found = features(VisionEngine::Integer, 1);
    assert!(cosine(&found, &expected) > 0.999, "cosine {}", cosine(&found, &expected));
    for threads in [2, 3, 7] {
        assert!(features(VisionEngine::Integer, threads) == found, "{threads} threads");
    }
}
