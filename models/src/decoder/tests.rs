use super::*;
use crate::{
    bundle::{Bundle, DEFAULT_BUNDLE, Role},
    cache::Cache,
    ort_engine,
};

/// Returns the language model of the default bundle where the cache has it; prints why not otherwise.
pub(crate) fn model_file() -> Option<Gguf> {
    let bundle = Bundle::open(DEFAULT_BUNDLE).unwrap();
    let path = Cache::locate().and_then(|cache| cache.require(&bundle, Role::LanguageModel));
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    if let Err(error) = &path {
        eprintln!("skipped: {error}");
    }
    Some(Gguf::open(&path.ok()?).unwrap())
}

/// Returns the decoder where the model file and ONNX Runtime are there.
fn decoder(capacity: usize) -> Option<(OrtDecoder, tempfile::TempDir)> {
    let engine = ort_engine::tests::engine()?;
    let graphs = tempfile::tempdir().unwrap();
    let file = Arc::new(model_file()?);
    let files = DecoderFiles { sha256: "test", graphs: graphs.path() };
    // One thread: tests run side by side.
    let session = SessionConfig { threads: 1, ..SessionConfig::default() };
    let options = DecoderOptions { capacity, session };
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

/// Feeds the reference's own tokens, so that one near-tie does not hide what follows. Returns the steps at which the
/// decoder prefers another token, each with how much the reference preferred its own.
fn flips(decoder: &mut OrtDecoder, case: &Case) -> Vec<(usize, f32)> {
    decoder.truncate(0);
    let mut logits = decoder.extend(Input::Tokens(&case.prompt_ids)).unwrap();
    let mut flips = Vec::new();
    for (step, (&expected, &margin)) in case.greedy_ids.iter().zip(&case.margins).enumerate() {
        if best(logits) != expected {
            flips.push((step, margin));
        }
        logits = decoder.extend(Input::Tokens(&[expected])).unwrap();
    }
    flips
}

/// The reference computes in f32 throughout; here activations are rounded to 8 bits a block of 32 before each product. That
/// moves logits (whose spread is 15 to 25) by up to half a unit, so a step may flip where two tokens are nearly equal.
/// Measured: 8 flips in 270 steps, the clearest of them at a margin of 0.15; bounds are about twice that.
#[test]
fn agrees_with_the_reference_implementation_on_every_clear_step() {
    const MARGIN_MAX: f32 = 0.3;
    const FLIPS_MAX: usize = 16;
    let Some((mut decoder, _graphs)) = decoder(256) else { return };
    let (mut total, mut unclear) = (0, Vec::new());
    for (index, case) in reference().iter().enumerate() {
        let flips = flips(&mut decoder, case);
        let clear: Vec<_> = flips.iter().filter(|(_, margin)| *margin > MARGIN_MAX).collect();
        assert!(clear.is_empty(), "prompt {index}: {clear:?}");
        total += case.greedy_ids.len();
        unclear.extend(flips);
    }
    assert!(unclear.len() <= FLIPS_MAX && total > 200, "{} of {total} steps: {unclear:?}", unclear.len());
}

#[test]
fn gives_the_reference_logits_within_rounding() {
    let Some((mut decoder, _graphs)) = decoder(256) else { return };
    for (index, case) in reference().iter().enumerate() {
        decoder.truncate(0);
        let logits = decoder.extend(Input::Tokens(&case.prompt_ids)).unwrap();
        for &(id, expected) in &case.first_top5 {
            let found = logits[id as usize];
            assert!((found - expected).abs() < 0.75, "prompt {index}, token {id}: {found} is not {expected}");
        }
    }
}

/// Reading in one go, in pieces, and again after forgetting must be the same: positions, rotation and cache line up.
#[test]
fn gives_the_same_logits_however_the_text_is_cut() {
    let Some((mut decoder, _graphs)) = decoder(256) else { return };
    let ids = &reference()[0].prompt_ids;
    let whole = decoder.extend(Input::Tokens(ids)).unwrap().to_vec();
    let rows = decoder.embed(&ids[3..]).unwrap();
    decoder.truncate(3);
    let again = decoder.extend(Input::Embeddings(&rows)).unwrap().to_vec();
    decoder.truncate(0);
    let mut pieces = Vec::new();
    for piece in ids.chunks(7) {
        pieces = decoder.extend(Input::Tokens(piece)).unwrap().to_vec();
    }
    for (name, other) in [("after truncation", again), ("in pieces", pieces)] {
        let worst = whole.iter().zip(&other).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-2, "{name}: logits differ by {worst}");
    }
    assert_eq!(decoder.position(), ids.len());
}

#[test]
fn refuses_what_does_not_fit_and_keeps_its_place() {
    let Some((mut decoder, _graphs)) = decoder(8) else { return };
    decoder.extend(Input::Tokens(&[1, 2, 3])).unwrap();
    let cases = [
        (Input::Tokens(&[]), "decoder input: expected rows of 576 values, found 0"),
        (Input::Tokens(&[49152]), "token id: expected an id below 49152, found 49152"),
        (Input::Tokens(&[5; 6]), "sequence: expected at most 8 tokens, found 9"),
        (Input::Embeddings(&[0.0; 577]), "decoder input: expected rows of 576 values, found 577"),
    ];
    for (input, expected) in cases {
        assert_eq!(decoder.extend(input).unwrap_err().to_string(), expected);
        assert_eq!(decoder.position(), 3);
    }
}

#[test]
fn refuses_a_model_file_without_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.gguf");
    std::fs::write(&path, crate::gguf::tests::sample()).unwrap();
    let error = DecoderConfig::from_gguf(&Gguf::open(&path).unwrap()).unwrap_err().to_string();
    assert!(error.ends_with("expected llama.embedding_length to be a count, found no such key"), "{error}");
}
