use std::path::Path;

use super::*;
use crate::{
    matrix::Format,
    smolvlm::{
        Checkpoint,
        engine::tests::cosine,
        reference::{Engines, Reference, tiny},
    },
};

/// The reference computes in f32 in another order of additions, and keeps the normalisation of pixels apart.
const TOLERANCE: f32 = 2e-4;

fn open(folder: &Path, engine: Engine<'_>) -> VisionEncoder {
    let (config, weights) = (VlmConfig::read(folder).unwrap(), Checkpoint::open(folder).unwrap());
    VisionEncoder::open(engine, (&weights, &config), 2).unwrap()
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

fn assert_parity(folder: &Path, tolerance: f32) {
    let reference = Reference::read(&folder.join("reference.safetensors"));
    for (name, engine) in Engines::find().each() {
        let features = open(folder, engine).encode(&reference.frames()).unwrap();
        let worst = worst(&features, &reference.floats("image_features"));
        assert!(worst <= tolerance, "{name}: features differ by {worst}");
    }
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

fn assert_close_in_8_bits(folder: &Path) {
    let mut encoder = open(folder, Engine::Integer);
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
    let mut encoder = open(&tiny(), Engine::Integer);
    for len in [0, 100, 32 * 32 * 3 + 1] {
        let error = encoder.encode(&vec![0; len]).unwrap_err().to_string();
        assert_eq!(error, format!("frames: expected whole frames of 3072 bytes, found {len} bytes"));
    }
}

#[test]
fn names_a_tensor_of_the_wrong_shape() {
    let (mut config, weights) = (VlmConfig::read(&tiny()).unwrap(), Checkpoint::open(&tiny()).unwrap());
    config.vision.feed_forward = 128;
    let engines = Engines::find();
    for (name, engine) in engines.each() {
        let error = VisionEncoder::open(engine, (&weights, &config), 1).unwrap_err().to_string();
        let expected = "tensor model.vision_model.encoder.layers.0.mlp.fc1.bias of shape [128], found [64]";
        assert!(error.ends_with(expected), "{name}: {error}");
    }
    assert_eq!(std::fs::read_dir(engines.graphs()).unwrap().count(), 0, "a draft stays behind");
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
    fn has(&self, _: &str) -> bool {
        false
    }

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

/// More patches than a block of keys or one thread's share, and sizes that fill no word, no tile and no panel; more frames than
/// a batch.
#[test]
fn any_sizes_and_any_number_of_threads_see_the_same() {
    let mut config = VlmConfig::read(&tiny()).unwrap();
    (config.vision.image_px, config.vision.patch_px, config.shuffle) = (14 * 12 + 5, 14, 3);
    (config.vision.hidden, config.vision.heads, config.vision.feed_forward) = (54, 3, 98);
    let (weights, engines) = (Random::new(), Engines::find());
    let frames: Vec<u8> = (0..5 * config.vision.image_px.pow(2) * 3).map(|at| (at * at / 7 % 253) as u8).collect();
    let features = |engine: Engine<'_>, threads: usize| {
        VisionEncoder::open(engine, (&weights, &config), threads).unwrap().encode(&frames).unwrap()
    };
    let found = features(Engine::Integer, 1);
    for threads in [2, 3, 7] {
        assert!(features(Engine::Integer, threads) == found, "{threads} threads");
    }
    let mut exact = engines.each().map(|(name, engine)| (name, features(engine, 1)));
    let Some((_, expected)) = exact.next() else { return };
    assert!(cosine(&found, &expected) > 0.999, "cosine {}", cosine(&found, &expected));
    for (name, found) in exact {
        let worst = worst(&found, &expected);
        assert!(worst <= TOLERANCE, "{name}: features differ by {worst}");
    }
}
