use std::path::Path;
use std::sync::atomic::AtomicBool;

use cameras::{Frame, FrameId, PixelFormat, Size, decode_file};
use serde_json::Value;

use super::*;
use crate::{
    decoder::{
        Activations, Input, TextDecoder,
        ort::{GraphPlace, OrtDecoder, OrtDecoderOptions},
    },
    generate::{FrameFeatures, GenerateOptions, Stop},
    ort_engine::SessionConfig,
    smolvlm::{
        Checkpoint, Content, Role, Tensors as _, VlmConfig,
        reference::{Engines, Reference, full_sized, opened, tiny, tiny_pair},
        text,
    },
};

/// Logits of the tiny checkpoint spread over 8; sums are taken in another order than in the reference.
const LOGIT_TOLERANCE: f32 = 1e-3;

/// Features spread over 4.
const FEATURE_TOLERANCE: f32 = 5e-4;

pub(in crate::smolvlm) fn best(logits: &[f32]) -> u32 {
    (0..).zip(logits).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
}

/// Returns the cosine of the angle between two vectors.
pub(in crate::smolvlm) fn cosine(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    (dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()) as f32
}

pub(in crate::smolvlm) fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

/// Returns the reference's prompt with the features that `vision` makes of its frames.
pub(in crate::smolvlm) fn reading(reference: &Reference, config: &VlmConfig, vision: &mut VisionEncoder) -> Reading {
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
    let (config, checkpoint) = (VlmConfig::read(&tiny()).unwrap(), Checkpoint::open(&tiny()).unwrap());
    let reference = Reference::read(&tiny().join("reference.safetensors"));
    let weights = text::weights(&checkpoint, &config.text).unwrap();
    for (name, engine) in Engines::find().each() {
        let mut vision = VisionEncoder::open(engine, (&checkpoint, &config), 1).unwrap();
        let reading = reading(&reference, &config, &mut vision);
        let options = DecoderOptions { capacity: 64, ..DecoderOptions::default() };
        let decoder = engine.decoder((&weights, config.text.clone()), options).unwrap();
        assert_continues(name, decoder, &reading, &reference);
        let Engine::Ort { engine, graphs, .. } = engine else { continue };
        let place = GraphPlace { folder: graphs, fingerprint: &checkpoint.fingerprint().unwrap() };
        let options =
            OrtDecoderOptions { capacity: 64, activations: Activations::Exact, session: SessionConfig::default() };
        let graph = OrtDecoder::open(engine, (&weights, config.text.clone()), place, options).unwrap();
        assert_continues("decoder on onnx runtime", graph, &reading, &reference);
    }
}

/// The same from the pair of GGUF files, whose matrices of 16 bits hold the checkpoint's own numbers but for the smallest.
#[test]
fn answers_from_a_pair_as_the_reference_does() {
    let engines = Engines::find();
    for (kind, (name, engine)) in ["f32", "f16"].into_iter().flat_map(|kind| engines.each().map(move |it| (kind, it))) {
        let Opened { config, weights, .. } = opened(&tiny_pair(kind)).unwrap();
        let reference = Reference::read(&tiny().join("reference.safetensors"));
        let mut vision = VisionEncoder::open(engine, (weights.vision(), &config), 1).unwrap();
        let features = vision.encode(&reference.frames()).unwrap();
        let difference = worst(&features, &reference.floats("image_features"));
        assert!(difference <= FEATURE_TOLERANCE, "{name}, {kind}: features differ by {difference}");
        let reading = reading(&reference, &config, &mut vision);
        let options = DecoderOptions { capacity: 64, ..DecoderOptions::default() };
        let decoder = engine.decoder((&weights.decoder(&config.text).unwrap(), config.text.clone()), options).unwrap();
        assert_continues(name, decoder, &reading, &reference);
    }
}

/// The files of one pair state the length of the longer side, two tiles; for the other four are taken.
#[test]
fn opens_a_pair_with_its_tokenizer_and_processor() {
    for (kind, frames) in [("f32", 2 * 2 + 1), ("f16", 4 * 4 + 1)] {
        let mut model = open(&tiny_pair(kind), Engine::Integer, 128);
        let id = FrameId { source: "test".into(), seq: 0 };
        let picture = Frame::new(id, Size::new(40, 40), PixelFormat::Grey8, vec![7; 1600]).unwrap();
        assert_eq!(model.processor().frames(&picture).unwrap().iter().len(), frames);
        let picture = model.processor().guided(&picture, &[]).unwrap();
        let content = [Content::Image, Content::Text("why")];
        let reading = model.read(&[Turn { role: Role::User, content: &content }], &[picture]).unwrap();
        let ids = reading.ids();
        assert_eq!((ids[0], ids.iter().filter(|&&id| id == 90).count()), (1, 4));
        let options = GenerateOptions::greedy(4);
        let generation = model.generator.generate(&reading, None, options, &mut &AtomicBool::new(false)).unwrap();
        assert!((1..=4).contains(&generation.ids.len()), "{generation:?}");
    }
}

fn assert_continues(name: &str, mut decoder: impl TextDecoder, reading: &Reading, reference: &Reference) {
    let rows = reading.embeddings(0, &decoder).unwrap();
    let mut logits = decoder.extend(Input::Embeddings(&rows)).unwrap().to_vec();
    let difference = worst(&logits, &reference.floats("logits_last"));
    assert!(difference <= LOGIT_TOLERANCE, "{name}: logits differ by {difference}");
    for (step, expected) in reference.ids("generated_ids").into_iter().enumerate() {
        assert_eq!(best(&logits), expected, "{name}, step {step}");
        logits = decoder.extend(Input::Tokens(&[expected])).unwrap().to_vec();
    }
}

fn open(files: &ModelFiles, engine: Engine<'_>, capacity: usize) -> SmolVlm {
    let decoder = DecoderOptions { capacity, ..DecoderOptions::default() };
    SmolVlm::open(files, engine, SmolVlmOptions { decoder, longest_edge_px: None }).unwrap()
}

/// A checkpoint of full size with its own tokenizer and processor: every stage, through the same calls as a user's.
#[test]
fn answers_as_a_full_sized_reference_does() {
    let Some(folder) = full_sized() else { return };
    assert_answers(&folder, &ModelFiles::Folder(folder.clone()), 5e-3);
}

/// The same from the checkpoint as GGUF files of 16 bits, where they lie in the folder too.
#[test]
fn answers_from_a_full_sized_pair_as_the_reference_does() {
    let Some(folder) = full_sized() else { return };
    let [text, mmproj] = ["text-f16.gguf", "mmproj-f16.gguf"].map(|name| folder.join(name));
    if text.exists() {
        assert_answers(&folder, &ModelFiles::Pair { text, mmproj }, 0.05);
    }
}

fn assert_answers(folder: &Path, files: &ModelFiles, tolerance: f32) {
    for (name, engine) in Engines::find().each() {
        assert_model_answers((name, open(files, engine, 2048)), folder, tolerance);
    }
}

fn assert_model_answers((name, mut model): (&str, SmolVlm), folder: &Path, tolerance: f32) {
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
        assert!(difference < tolerance, "{name}: logits differ by {difference}");
        let expected = reference.ids("generated_ids");
        let options = GenerateOptions::greedy(expected.len());
        let generation = model.generator.generate(&reading, None, options, &mut &AtomicBool::new(false)).unwrap();
        assert_eq!((generation.ids, generation.stop), (expected, Stop::Budget), "{name}");
        assert_eq!(generation.reused_tokens, reading.len() - 1);
    }
}
