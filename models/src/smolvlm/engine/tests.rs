use std::sync::atomic::AtomicBool;

use cameras::{FrameId, decode_file};
use serde_json::Value;

use super::*;
use crate::{
    decoder::{
        Input, Storage, TextDecoder,
        ort::{Activations, GraphPlace, OrtDecoder, OrtDecoderOptions},
    },
    generate::{FrameFeatures, GenerateOptions, Stop},
    ort_engine,
    smolvlm::{
        Content, Role, Tensors as _,
        reference::{Reference, full_sized, tiny},
    },
};

/// Logits of the tiny checkpoint spread over 8; sums are taken in another order than in the reference.
const LOGIT_TOLERANCE: f32 = 1e-3;

fn best(logits: &[f32]) -> u32 {
    (0..).zip(logits).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

/// Returns the reference's prompt with the features that `vision` makes of its frames.
fn reading(reference: &Reference, config: &VlmConfig, vision: &mut VisionEncoder) -> Reading {
    let ids = reference.ids("input_ids");
    let features = vision.encode(&reference.frames()).unwrap();
    let per_frame = config.tokens_per_frame();
    let places: Vec<usize> = (0..ids.len()).filter(|&index| ids[index] == config.image_token).collect();
    let rows = features.chunks(per_frame * config.text.hidden);
    let images = places.chunks(per_frame).zip(rows).zip(0..).map(|((place, rows), key)| PlacedFeatures {
        at: place[0]..place[0] + per_frame,
        features: Arc::new(FrameFeatures { key, rows: rows.to_vec() }),
    });
    Reading::new(ids, images.collect()).unwrap()
}

/// Image features, merged prompt, logits and greedy continuation, from the committed checkpoint.
#[test]
fn answers_as_the_reference_does() {
    let Some(engine) = ort_engine::tests::engine() else { return };
    let (config, checkpoint) = (VlmConfig::read(&tiny()).unwrap(), Checkpoint::open(&tiny()).unwrap());
    let reference = Reference::read(&tiny().join("reference.safetensors"));
    let graphs = tempfile::tempdir().unwrap();
    let options = VisionOptions { precision: Precision::F32, session: SessionConfig::default() };
    let mut vision = VisionEncoder::open(&engine, (&checkpoint, &config), graphs.path(), options).unwrap();
    let reading = reading(&reference, &config, &mut vision);
    let weights = text::weights(&checkpoint, &config.text).unwrap();
    let options = DecoderOptions { capacity: 64, ..DecoderOptions::default() };
    let kernels = LlamaDecoder::new(config.text, &weights, options).unwrap();
    let place = GraphPlace { folder: graphs.path(), fingerprint: &checkpoint.fingerprint().unwrap() };
    let options =
        OrtDecoderOptions { capacity: 64, activations: Activations::Exact, session: SessionConfig::default() };
    let graph = OrtDecoder::open(&engine, (&weights, config.text), place, options).unwrap();
    assert_continues(kernels, &reading, &reference);
    assert_continues(graph, &reading, &reference);
}

fn assert_continues(mut decoder: impl TextDecoder, reading: &Reading, reference: &Reference) {
    let rows = reading.embeddings(0, &decoder).unwrap();
    let mut logits = decoder.extend(Input::Embeddings(&rows)).unwrap().to_vec();
    let difference = worst(&logits, &reference.floats("logits_last"));
    assert!(difference <= LOGIT_TOLERANCE, "logits differ by {difference}");
    for (step, expected) in reference.ids("generated_ids").into_iter().enumerate() {
        assert_eq!(best(&logits), expected, "step {step}");
        logits = decoder.extend(Input::Tokens(&[expected])).unwrap().to_vec();
    }
}

fn open(folder: &Path, vision: Precision, storage: Storage) -> Option<(SmolVlm, tempfile::TempDir)> {
    let engine = ort_engine::tests::engine()?;
    let graphs = tempfile::tempdir().unwrap();
    let decoder = DecoderOptions { capacity: 2048, storage, ..DecoderOptions::default() };
    let options = SmolVlmOptions { vision, decoder, longest_edge_px: None };
    Some((SmolVlm::open(&engine, folder, graphs.path(), options).unwrap(), graphs))
}

/// A checkpoint of full size with its own tokenizer and processor: every stage, through the same calls as a user's.
#[test]
fn answers_as_a_full_sized_reference_does() {
    let Some(folder) = full_sized() else { return };
    let Some((mut model, _graphs)) = open(&folder, Precision::F32, Storage::AsStored) else { return };
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("reference.json")).unwrap()).unwrap();
    for case in index.as_array().unwrap() {
        let reference = Reference::read(&folder.join(case["file"].as_str().unwrap()));
        let id = FrameId { source: "test".into(), seq: 0 };
        let picture = decode_file(&folder.join(case["image"].as_str().unwrap()), id).unwrap();
        let frames = model.processor().frames(&picture).unwrap();
        assert!(frames.pixels() == reference.frames(), "pixels differ");
        let normalised = model.processor().normalise(frames.pixels()).unwrap();
        assert!(normalised == reference.floats("pixel_values"), "normalised pixels differ");
        let content = [Content::Image, Content::Text(case["question"].as_str().unwrap())];
        let reading = model.read(&[Turn { role: Role::User, content: &content }], &[frames]).unwrap();
        assert_eq!(reading.ids(), reference.ids("input_ids"));
        let logits = model.generator.logits(&reading).unwrap().to_vec();
        let difference = worst(&logits, &reference.floats("logits_last"));
        assert!(difference < 5e-3, "logits differ by {difference}");
        let expected = reference.ids("generated_ids");
        let options = GenerateOptions::greedy(expected.len());
        let generation = model.generator.generate(&reading, None, options, &mut &AtomicBool::new(false)).unwrap();
        assert_eq!((generation.ids, generation.stop), (expected, Stop::Budget));
        assert_eq!(generation.reused_tokens, reading.len() - 1);
    }
}
