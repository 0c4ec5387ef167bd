use std::path::PathBuf;

use super::*;
use crate::ort_engine;

/// Returns the decoder where `LOUPE_TEST_GGUF` names the model and `ORT_DYLIB_PATH` the runtime; prints why not otherwise.
fn decoder(capacity: usize) -> Option<(OrtDecoder, tempfile::TempDir)> {
    let engine = ort_engine::tests::engine()?;
    let path = PathBuf::from(std::env::var_os("LOUPE_TEST_GGUF")?);
    let graphs = tempfile::tempdir().unwrap();
    let file = Arc::new(Gguf::open(&path).unwrap());
    let files = DecoderFiles { sha256: "test", graphs: graphs.path() };
    let options = DecoderOptions { capacity, ..DecoderOptions::default() };
    Some((OrtDecoder::open(&engine, file, files, options).unwrap(), graphs))
}

#[derive(serde::Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

/// A prompt and the reference implementation's greedy answer, with the margin between the two best logits at each step.
#[derive(serde::Deserialize)]
struct Case {
    prompt_ids: Vec<u32>,
    greedy_ids: Vec<u32>,
    margins: Vec<f32>,
    first_top5: Vec<(u32, f32)>,
}

fn reference() -> Vec<Case> {
    let text = include_str!("../../tests/fixtures/decoder_reference.json");
    serde_json::from_str::<Reference>(text).unwrap().cases
}

fn best(logits: &[f32]) -> u32 {
    logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u32
}

/// Feeds the reference's own tokens, so that one near-tie does not hide what follows; returns how many steps agree, and
/// the reference's margin wherever they do not.
fn follow(decoder: &mut OrtDecoder, case: &Case) -> (usize, Vec<f32>) {
    decoder.truncate(0);
    let mut logits = decoder.extend(Input::Tokens(&case.prompt_ids)).unwrap();
    let (mut agreed, mut flipped) = (0, Vec::new());
    for (&expected, &margin) in case.greedy_ids.iter().zip(&case.margins) {
        if best(logits) == expected {
            agreed += 1
        } else {
            flipped.push(margin)
        }
        logits = decoder.extend(Input::Tokens(&[expected])).unwrap();
    }
    (agreed, flipped)
}

#[test]
fn agrees_with_the_reference_implementation() {
    let Some((mut decoder, _graphs)) = decoder(256) else { return };
    for case in reference() {
        let (agreed, flipped) = follow(&mut decoder, &case);
        decoder.truncate(0);
        let logits = decoder.extend(Input::Tokens(&case.prompt_ids)).unwrap();
        let errors: Vec<_> = case.first_top5.iter().map(|&(id, value)| logits[id as usize] - value).collect();
        eprintln!("{agreed}/{} flipped {flipped:?} errors {errors:?}", case.greedy_ids.len());
    }
}
