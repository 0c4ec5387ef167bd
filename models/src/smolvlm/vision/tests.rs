use super::*;
use crate::{
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
