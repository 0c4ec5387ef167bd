use std::path::PathBuf;

use super::*;
use crate::{
    decoder::{
        Activation, Biases, DecoderOptions, Input, Llama3Scaling, LlamaDecoder, LongRope, Norms, RopeScaling,
        TextDecoder, Variant,
    },
    smolvlm::reference::Reference,
};

/// The committed checkpoints, each with its number of reference prompts.
const FOLDERS: [(&str, usize); 7] =
    [("smollm2", 1), ("llama3", 1), ("mistral", 1), ("granite", 1), ("qwen2", 1), ("phi3", 2), ("gemma2", 1)];
/// Logits spread over 5 to 20; sums are taken in another order than in the reference.
const LOGIT_TOLERANCE: f32 = 1e-4;
/// By how much some logit differs at least when a number of the configuration is not taken into account.
const CLEAR_DIFFERENCE: f32 = 0.1;

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decoders_tiny").join(name)
}

fn reference(name: &str) -> Reference {
    Reference::read(&path(name).join("reference.safetensors"))
}

fn decoder(folder: &TextFolder, capacity: usize) -> LlamaDecoder {
    // One thread: tests run side by side.
    let options = DecoderOptions { capacity, threads: 1, ..DecoderOptions::default() };
    LlamaDecoder::new(folder.config.clone(), &folder.weights().unwrap(), options).unwrap()
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

fn read(decoder: &mut impl TextDecoder, ids: &[u32]) -> Vec<f32> {
    decoder.extend(Input::Tokens(ids)).unwrap().to_vec()
}

/// Feeds the prompts of a folder and the reference's continuations to `decoder` and compares logits and choice of every step.
pub(crate) fn assert_continues(decoder: &mut impl TextDecoder, (name, prompts): (&str, usize)) {
    let reference = reference(name);
    for prompt in 0..prompts {
        decoder.truncate(0);
        let generated = reference.ids(&format!("generated_ids.{prompt}"));
        let logits = reference.floats(&format!("logits.{prompt}"));
        assert_eq!(generated.len(), 24);
        let mut ids = reference.ids(&format!("prompt_ids.{prompt}"));
        for ((step, id), expected) in generated.into_iter().enumerate().zip(logits.chunks_exact(64)) {
            let found = decoder.extend(Input::Tokens(&ids)).unwrap();
            let difference = worst(found, expected);
            assert!(difference <= LOGIT_TOLERANCE, "{name} {prompt}, step {step}: logits differ by {difference}");
            let best = (0..).zip(found).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            assert_eq!(best, id, "{name} {prompt}, step {step}");
            ids = vec![id];
        }
    }
}

/// The first prompt of phi3 grows out of its original context, so that all positions change their rotation on the way; the
/// second is beyond it from the start.
#[test]
fn continues_as_the_reference_does() {
    for (name, prompts) in FOLDERS {
        let options = DecoderOptions { capacity: 96, threads: 1, ..DecoderOptions::default() };
        assert_continues(&mut LlamaDecoder::from_folder(&path(name), options).unwrap(), (name, prompts));
    }
}

/// Reading in one go, in pieces, token by token and again after forgetting must be the same: positions, windows, rotation and
/// cache line up, across chunks and across the original context of phi3.
#[test]
fn gives_the_same_logits_however_the_text_is_cut() {
    for (name, _) in FOLDERS {
        let folder = TextFolder::open(&path(name)).unwrap();
        assert_same_however_cut((name, &folder.config), |capacity| decoder(&folder, capacity));
    }
}

/// Checks that the decoder of a capacity that `open` returns, of the model `name`, computes the same however its text is cut.
pub(crate) fn assert_same_however_cut<D: TextDecoder>(
    (name, config): (&str, &DecoderConfig),
    open: impl Fn(usize) -> D,
) {
    let len = config.context.min(300);
    let ids: Vec<u32> = (0..len as u32).map(|at| 3 + (at * at + at / 5) % 61).collect();
    let whole = read(&mut open(len), &ids);
    let short = read(&mut open(len), &ids[..30]);
    let assert_same = |how: &str, found: &[f32], expected: &[f32]| {
        let difference = worst(found, expected);
        assert!(difference <= LOGIT_TOLERANCE, "{name} {how}: logits differ by {difference}");
    };
    for piece in [1, 7, 37] {
        let mut decoder = open(len);
        let pieces: Vec<_> = ids.chunks(piece).map(|piece| read(&mut decoder, piece)).collect();
        assert_same(&format!("in pieces of {piece}"), pieces.last().unwrap(), &whole);
    }
    let mut decoder = open(len);
    read(&mut decoder, &ids);
    for kept in [len - 1, len - 20, 0] {
        decoder.truncate(kept);
        assert_same(&format!("again from {kept}"), &read(&mut decoder, &ids[kept..]), &whole);
    }
    decoder.truncate(11);
    assert_same("short after long", &read(&mut decoder, &ids[11..30]), &short);
    assert_same("long after short", &read(&mut decoder, &ids[30..]), &whole);
    decoder.truncate(5);
    let rows = decoder.embed(&ids[5..]).unwrap();
    assert_same("as embeddings", decoder.extend(Input::Embeddings(&rows)).unwrap(), &whole);
    assert_eq!(decoder.position(), len);
}

/// Checks the decoders that `open` returns, on an engine that covers Llama alone: they continue as the reference does, or name
/// what is not covered.
pub(crate) fn assert_covers_llama<D: TextDecoder>(engine: &str, open: impl Fn(&TextFolder) -> Result<D, ModelError>) {
    let open = |name: &str| open(&TextFolder::open(&path(name)).unwrap());
    for name in ["smollm2", "llama3"] {
        assert_continues(&mut open(name).unwrap(), (name, 1));
    }
    let cases = [
        ("mistral", "windows"),
        ("granite", "multipliers"),
        ("qwen2", "windows"),
        ("phi3", "rope_scaling"),
        ("gemma2", "multipliers"),
    ];
    for (name, field) in cases {
        let error = open(name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field} of a decoder on {engine}")), "{name}: {error}");
    }
}

type Change = fn(&mut Variant);

/// What each checkpoint has that Llama does not: each change takes one number away.
const CHANGES: [(&str, &[(&str, Change)]); 6] = [
    (
        "llama3",
        &[
            ("rope_scaling", |it| it.rope_scaling = RopeScaling::None),
            ("factor", |it| change_llama3(it, |it| it.factor = 3.0)),
            ("low", |it| change_llama3(it, |it| it.low = 3.0)),
            ("high", |it| change_llama3(it, |it| it.high = 2.0)),
            ("original context", |it| change_llama3(it, |it| it.original_context = 24)),
        ],
    ),
    ("mistral", &[("windows", |it| it.windows.clear())]),
    (
        "granite",
        &[
            ("input multiplier", |it| it.multipliers.input = 1.0),
            ("score multiplier", |it| it.multipliers.scores = None),
            ("branch multiplier", |it| it.multipliers.branches = 1.0),
            ("logit multiplier", |it| it.multipliers.logits = 1.0),
            ("query, key and value bias", |it| it.biases.query_key_value = false),
            ("attention output bias", |it| it.biases.attention_output = false),
            ("feed-forward bias", |it| it.biases.feed_forward = false),
        ],
    ),
    (
        "qwen2",
        &[
            ("biases", |it| it.biases = Biases::default()),
            ("windows", |it| it.windows.clear()),
            ("one window", |it| {
                it.windows.reverse();
            }),
        ],
    ),
    (
        "phi3",
        &[
            ("windows", |it| it.windows.clear()),
            ("rope_scaling", |it| it.rope_scaling = RopeScaling::None),
            ("short factors", |it| change_longrope(it, |it| it.short_factors.fill(1.0))),
            ("long factors", |it| change_longrope(it, |it| it.long_factors.clone_from(&it.short_factors))),
            ("original context", |it| change_longrope(it, |it| it.original_context = 160)),
            ("amplitude", |it| change_longrope(it, |it| it.amplitude = 1.0)),
            ("rotary_dim", |it| {
                it.rotary_dim = None;
                change_longrope(it, |it| [&mut it.short_factors, &mut it.long_factors].map(|it| it.resize(8, 1.0)));
            }),
        ],
    ),
    (
        "gemma2",
        &[
            ("embedding multiplier", |it| it.multipliers.embeddings = 1.0),
            ("score multiplier", |it| it.multipliers.scores = None),
            ("score cap", |it| it.soft_caps.scores = None),
            ("logit cap", |it| it.soft_caps.logits = None),
            ("norms", |it| it.norms = Norms::Before),
            ("norm_offset", |it| it.norm_offset = 0.0),
            ("activation", |it| it.activation = Activation::Silu),
            ("windows", |it| it.windows.clear()),
            ("one window", |it| it.windows.reverse()),
        ],
    ),
];

fn change_llama3(variant: &mut Variant, change: impl FnOnce(&mut Llama3Scaling)) {
    let RopeScaling::Llama3(scaling) = &mut variant.rope_scaling else { panic!("not scaled so: {variant:?}") };
    change(scaling);
}

fn change_longrope<T>(variant: &mut Variant, change: impl FnOnce(&mut LongRope) -> T) {
    let RopeScaling::LongRope(scaling) = &mut variant.rope_scaling else { panic!("not scaled so: {variant:?}") };
    change(scaling);
}

/// Without this, agreement with the reference would say nothing about a number that makes no difference.
#[test]
fn every_number_of_a_configuration_matters() {
    for (name, changes) in CHANGES {
        let reference = reference(name);
        let prompts = FOLDERS.iter().find(|(folder, _)| *folder == name).unwrap().1;
        let logits = |folder: &TextFolder| -> Vec<f32> {
            let prompts = (0..prompts).map(|prompt| reference.ids(&format!("prompt_ids.{prompt}")));
            prompts.flat_map(|ids| read(&mut decoder(folder, 96), &ids)).collect()
        };
        let mut folder = TextFolder::open(&path(name)).unwrap();
        let (variant, expected) = (folder.config.variant.clone(), logits(&folder));
        for (number, change) in changes {
            change(&mut folder.config.variant);
            assert_ne!(folder.config.variant, variant, "{name}, {number}");
            let difference = worst(&logits(&folder), &expected);
            assert!(difference > CLEAR_DIFFERENCE, "{name}, {number}: logits differ by {difference}");
            folder.config.variant.clone_from(&variant);
        }
    }
}
