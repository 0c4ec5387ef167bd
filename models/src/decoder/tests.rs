use super::*;
use crate::{
    bundle::{Bundle, DEFAULT_BUNDLE, Role},
    cache::Cache,
    gguf::Gguf,
    matrix::{Format, Matrix},
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

/// Returns the decoder where the model file is there.
fn decoder(capacity: usize) -> Option<LlamaDecoder> {
    // One thread: tests run side by side.
    let options = DecoderOptions { capacity, threads: 1, ..DecoderOptions::default() };
    Some(LlamaDecoder::from_gguf(&model_file()?, options).unwrap())
}

#[derive(serde::Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

/// A prompt and the reference implementation's greedy answer, with the margin between the two best logits at each step.
#[derive(serde::Deserialize)]
pub(super) struct Case {
    prompt_ids: Vec<u32>,
    pub(super) greedy_ids: Vec<u32>,
    margins: Vec<f32>,
    first_top5: Vec<(u32, f32)>,
}

pub(super) fn reference() -> Vec<Case> {
    let text = include_str!("../../tests/fixtures/decoder_reference.json");
    serde_json::from_str::<Reference>(text).unwrap().cases
}

fn best(logits: &[f32]) -> u32 {
    logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u32
}

/// Feeds the reference's own tokens, so that one near-tie does not hide what follows. Returns the steps at which the
/// decoder prefers another token, each with how much the reference preferred its own.
pub(super) fn flips(decoder: &mut impl TextDecoder, case: &Case) -> Vec<(usize, f32)> {
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

/// Both compute in f32 with the same weights and differ by the order of additions, which moves logits (whose spread is 15 to
/// 25) by less than 1e-3. So every step must agree but one: there the reference is undecided by 1e-4, and another processor may
/// fall to the other side.
#[test]
fn writes_what_the_reference_implementation_writes() {
    const UNDECIDED: f32 = 1e-3;
    let Some(mut decoder) = decoder(256) else { return };
    let (mut steps, mut undecided) = (0, 0);
    for (index, case) in reference().iter().enumerate() {
        let mut flips = flips(&mut decoder, case);
        flips.retain(|(_, margin)| *margin >= UNDECIDED);
        assert!(flips.is_empty(), "prompt {index}, (step, margin): {flips:?}");
        steps += case.greedy_ids.len();
        undecided += case.margins.iter().filter(|margin| **margin < UNDECIDED).count();
    }
    assert_eq!((steps, undecided), (270, 1));
}

/// Prompts that are read with rounded activations leave keys and values a little off, so near-ties may fall the other way; logits
/// spread over 15 to 25.
#[test]
fn rounding_activations_decides_only_what_was_nearly_undecided() {
    const NEARLY: f32 = 0.5;
    let Some(file) = model_file() else { return };
    let options =
        DecoderOptions { capacity: 256, threads: 1, activations: Activations::Rounded, ..DecoderOptions::default() };
    let mut decoder = LlamaDecoder::from_gguf(&file, options).unwrap();
    let mut all = Vec::new();
    for case in &reference() {
        all.extend(flips(&mut decoder, case).into_iter().map(|(_, margin)| margin));
    }
    assert!(
        all.len() <= 8 && all.iter().all(|margin| *margin < NEARLY),
        "margins of {} of 270 steps: {all:?}",
        all.len()
    );
}

#[test]
fn gives_the_reference_logits_within_rounding() {
    let Some(mut decoder) = decoder(256) else { return };
    for (index, case) in reference().iter().enumerate() {
        decoder.truncate(0);
        let logits = decoder.extend(Input::Tokens(&case.prompt_ids)).unwrap();
        for &(id, expected) in &case.first_top5 {
            let found = logits[id as usize];
            assert!((found - expected).abs() < 1e-3, "prompt {index}, token {id}: {found} is not {expected}");
        }
    }
}

#[test]
fn says_the_same_with_any_number_of_threads() {
    let Some(file) = model_file() else { return };
    let ids = &reference()[0].prompt_ids;
    let logits = |threads| {
        let options = DecoderOptions { capacity: 64, threads, ..DecoderOptions::default() };
        LlamaDecoder::from_gguf(&file, options).unwrap().extend(Input::Tokens(ids)).unwrap().to_vec()
    };
    assert!(logits(1) == logits(3));
}

/// Reading in one go, in pieces, and again after forgetting must be the same: positions, rotation and cache line up.
#[test]
fn gives_the_same_logits_however_the_text_is_cut() {
    let Some(mut decoder) = decoder(256) else { return };
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
        assert!(worst < 1e-3, "{name}: logits differ by {worst}");
    }
    assert_eq!(decoder.position(), ids.len());
}

#[test]
fn refuses_what_does_not_fit_and_keeps_its_place() {
    let Some(mut decoder) = decoder(8) else { return };
    decoder.extend(Input::Tokens(&[1, 2, 3])).unwrap();
    let cases = [
        (Input::Tokens(&[]), "decoder input: expected rows of 576 values, found 0"),
        (Input::Tokens(&[49152]), "token id: expected an id below 49152, found 49152"),
        (Input::Tokens(&[5; 6]), "sequence: expected at most 8 tokens, found 9"),
        (Input::Embeddings(&[0.0; 577]), "decoder input: expected rows of 576 values, found 577"),
        (Input::Embeddings(&[f32::NAN; 576]), "decoder input: expected finite values, found NaN"),
    ];
    for (input, expected) in cases {
        assert_eq!(decoder.extend(input).unwrap_err().to_string(), expected);
        assert_eq!(decoder.position(), 3);
    }
}

/// One token at a time is read exactly in either way, so that only the screen of the head approximates.
#[test]
fn computes_unlikely_logits_again_where_they_are_asked_for() {
    let Some(file) = model_file() else { return };
    let logits = |activations| {
        let options = DecoderOptions { capacity: 4, threads: 1, activations, ..DecoderOptions::default() };
        let mut decoder = LlamaDecoder::from_gguf(&file, options).unwrap();
        (decoder.extend(Input::Tokens(&[500])).unwrap().to_vec(), decoder)
    };
    let ((exact, _), (mut screened, decoder)) = (logits(Activations::Exact), logits(Activations::Rounded));
    let mut ids: Vec<usize> = (0..exact.len()).collect();
    ids.sort_by(|&first, &second| exact[first].total_cmp(&exact[second]));
    let (unlikely, others) = ids.split_at(20);
    assert!(unlikely.iter().all(|&id| exact[id].to_bits() != screened[id].to_bits()), "approximated");
    for &id in others {
        screened[id] = f32::NEG_INFINITY;
    }
    decoder.sharpen(&mut screened);
    assert!(unlikely.iter().all(|&id| exact[id].to_bits() == screened[id].to_bits()), "computed again");
    assert!(others.iter().all(|&id| screened[id] == f32::NEG_INFINITY), "left out");
}

/// A decoder of one block, 32 wide, whose weights are all 0.25; `key_rows` is right with 16.
fn tiny(key_rows: usize, config: DecoderConfig) -> Result<LlamaDecoder, ModelError> {
    let data: Vec<u8> = [0.25_f32; 64 * 32].iter().flat_map(|value| value.to_le_bytes()).collect();
    let matrix = |rows: usize| Matrix { rows, row_len: 32, format: Format::F32, data: &data[..rows * 32 * 4] };
    let layer = LayerWeights {
        attention_norm: vec![1.0; 32],
        query: matrix(32),
        key: matrix(key_rows),
        value: matrix(16),
        attention_output: matrix(32),
        feed_forward_norm: vec![1.0; 32],
        gate: matrix(32),
        up: matrix(32),
        down: matrix(32),
        extras: LayerExtras::default(),
    };
    let weights = DecoderWeights { embedding: matrix(64), layers: vec![layer], norm: vec![1.0; 32], head: None };
    LlamaDecoder::new(config, &weights, DecoderOptions { capacity: 8, ..DecoderOptions::default() })
}

pub(super) fn tiny_config() -> DecoderConfig {
    DecoderConfig {
        layers: 1,
        hidden: 32,
        feed_forward: 32,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        vocabulary: 64,
        context: 16,
        rope_base: 10_000.0,
        norm_epsilon: 1e-5,
        rotary: Rotary::Halves,
        variant: Variant::default(),
    }
}

#[test]
fn reads_heads_smaller_than_a_vector() {
    let logits = tiny(16, tiny_config()).unwrap().extend(Input::Tokens(&[1, 2, 3])).unwrap().to_vec();
    // Equal weights make every value of the last row equal, so that its norm is 1 and a logit is 32 * 0.25.
    assert!(logits.iter().all(|logit| (logit - 8.0).abs() < 1e-3), "{logits:?}");
}

#[test]
fn refuses_sizes_that_do_not_fit() {
    let cases = [
        (24, tiny_config(), "key of block 0: expected [16, 32], found [24, 32]"),
        (16, DecoderConfig { layers: 2, ..tiny_config() }, "transformer blocks: expected [2], found [1]"),
        (16, DecoderConfig { kv_heads: 0, ..tiny_config() }, "decoder sizes (kv_heads): expected a divisor of heads"),
        (16, DecoderConfig { context: 4, ..tiny_config() }, "decoder capacity: expected 1 to 4 tokens, found 8"),
    ];
    let biases = Biases { query_key_value: true, ..Biases::default() };
    let soft_caps = SoftCaps { scores: Some(0.0), logits: None };
    let multipliers = Multipliers { logits: f32::INFINITY, ..Multipliers::default() };
    let variants = [
        (
            Variant { biases, ..Variant::default() },
            "query, key and value bias of block 0: expected 64 finite weights, found 0",
        ),
        (Variant { norms: Norms::Around, ..Variant::default() }, "norm after attention of block 0: expected 32 finite"),
        (Variant { soft_caps, ..Variant::default() }, "decoder sizes (soft_caps): expected above 0"),
        (Variant { multipliers, ..Variant::default() }, "decoder sizes (multipliers): expected finite"),
        (Variant { rotary_dim: Some(10), ..Variant::default() }, "decoder sizes (rotary_dim): expected even"),
    ];
    let variants = variants.map(|(variant, expected)| (16, DecoderConfig { variant, ..tiny_config() }, expected));
    for (key_rows, config, expected) in cases.into_iter().chain(variants) {
        let error = tiny(key_rows, config).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
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
