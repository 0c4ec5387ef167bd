use std::path::PathBuf;

use serde_json::{Value, json};

use super::{
    super::{Biases, Llama3Scaling, LongRope, Multipliers, Norms, RopeScaling, SoftCaps},
    *,
};

/// The sizes of Llama 3.2 1B as its file states them, with the keys of `model`, a JSON object, instead of its own.
fn file(model: &Value) -> Value {
    let mut value = json!({
        "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 4,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256, "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "hidden_act": "silu",
    });
    value.as_object_mut().unwrap().extend(model.as_object().unwrap().clone());
    value
}

fn parse(model: &Value) -> Result<TextFile, Flaw> {
    TextFile::parse(&file(model))
}

fn variant(model: &Value) -> Variant {
    parse(model).unwrap().config.variant
}

/// The keys of published files, older and newer ones.
#[test]
fn reads_what_sets_the_families_apart() {
    let llama3 = json!({"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"});
    let stretched = RopeScaling::Llama3(Llama3Scaling { factor: 32.0, low: 1.0, high: 4.0, original_context: 8192 });
    let qkv = Biases { query_key_value: true, ..Biases::default() };
    let attention = Biases { attention_output: true, ..qkv };
    let [none, some] = [None, Some(512)];
    let cases = [
        (json!({}), Variant::default()),
        (json!({"rope_scaling": null, "rope_parameters": {"rope_type": "default"}}), Variant::default()),
        (json!({"rope_scaling": llama3}), Variant { rope_scaling: stretched, ..Variant::default() }),
        (json!({"attention_bias": true}), Variant { biases: attention, ..Variant::default() }),
        (json!({"model_type": "mistral", "sliding_window": 512}), windows([some; 4])),
        (json!({"model_type": "mistral", "sliding_window": null}), windows([none; 4])),
        (json!({"model_type": "mistral"}), windows([Some(4096); 4])),
        (json!({"model_type": "phi3"}), windows([none; 4])),
        (json!({"model_type": "phi3", "sliding_window": 512}), windows([some; 4])),
        (json!({"model_type": "qwen2", "sliding_window": 512}), Variant { biases: qkv, ..windows([none; 4]) }),
        (
            json!({"model_type": "qwen2", "sliding_window": 512, "use_sliding_window": true, "max_window_layers": 3}),
            Variant { biases: qkv, ..windows([none, none, none, some]) },
        ),
    ];
    for (model, expected) in cases {
        assert_eq!(variant(&model), expected, "{model}");
    }
}

fn windows(windows: [Option<usize>; 4]) -> Variant {
    Variant { windows: windows.to_vec(), ..Variant::default() }
}

#[test]
fn reads_the_multipliers_of_granite() {
    let mut granite = json!({"model_type": "granite", "embedding_multiplier": 12.0, "attention_multiplier": 0.015_625,
        "residual_multiplier": 0.22, "logits_scaling": 8.0, "mlp_bias": true});
    let multipliers =
        Multipliers { input: 12.0, scores: Some(0.015_625), branches: 0.22, logits: 0.125, ..Multipliers::default() };
    let biases = Biases { feed_forward: true, ..Biases::default() };
    assert_eq!(variant(&granite), Variant { multipliers, biases, ..Variant::default() });
    for key in ["embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"] {
        let old = granite.as_object_mut().unwrap().remove(key).unwrap();
        assert_eq!(parse(&granite).unwrap_err(), (key.to_owned(), "no such key".to_owned()));
        granite[key] = old;
    }
}

#[test]
fn reads_what_gemma_has_of_its_own() {
    let gemma = json!({"model_type": "gemma2", "hidden_size": 2304, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 256, "query_pre_attn_scalar": 256, "hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": null, "sliding_window": 512});
    let multipliers = Multipliers { embeddings: 48.0, scores: Some(0.0625), ..Multipliers::default() };
    let expected = Variant {
        multipliers,
        soft_caps: SoftCaps { scores: None, logits: Some(30.0) },
        norms: Norms::Around,
        norm_offset: 1.0,
        activation: Activation::GeluTanh,
        ..windows([Some(512), None, Some(512), None])
    };
    let file = parse(&gemma).unwrap();
    assert_eq!((file.config.variant, file.config.head_dim, file.ties_head), (expected, 256, true));
}

/// Phi-3-mini-128k as first published, and with the keys that transformers 5 writes.
#[test]
fn reads_the_factors_of_longrope() {
    let factors = |factor: f32| vec![factor; 24];
    let sizes = json!({"model_type": "phi3", "hidden_size": 2048, "original_max_position_embeddings": 4096});
    let [mut old, mut new] = [file(&sizes), file(&sizes)];
    old["rope_scaling"] = json!({"type": "su", "short_factor": factors(1.5), "long_factor": factors(9.0)});
    old["partial_rotary_factor"] = json!(0.75);
    new["rope_parameters"] = json!({"rope_type": "longrope", "short_factor": factors(1.5), "long_factor": factors(9.0),
        "partial_rotary_factor": 0.75, "rope_theta": 10_000.0, "original_max_position_embeddings": 4096});
    new["rope_theta"] = Value::Null;
    for value in [old, new] {
        let variant = TextFile::parse(&value).unwrap().config.variant;
        let RopeScaling::LongRope(scaling) = variant.rope_scaling else { panic!("{:?}", variant.rope_scaling) };
        let LongRope { short_factors, long_factors, original_context, amplitude } = scaling;
        assert_eq!((short_factors, long_factors, original_context), (factors(1.5), factors(9.0), 4096));
        assert_eq!(variant.rotary_dim, Some(48));
        // sqrt(1 + ln(32) / ln(4096)), with 32 times the context.
        assert!((amplitude - 1.190_238).abs() < 1e-6, "{amplitude}");
    }
}

#[test]
fn names_the_key_that_does_not_fit() {
    let longrope = json!({"type": "longrope", "short_factor": [1.0], "long_factor": [1.0],
        "original_max_position_embeddings": 4096});
    let cases = [
        (json!({"model_type": "mamba"}), "model_type to be gemma2, granite, llama, mistral, phi3 or qwen2", "mamba"),
        (json!({"model_type": null}), "model_type to be of its type", "null"),
        (json!({"rope_theta": null}), "rope_theta or rope_parameters.rope_theta", "neither"),
        (json!({"rope_theta": 0.0}), "rope_base to be above 0", "0"),
        (json!({"rope_scaling": {"type": "yarn"}}), "rope_type to be default, llama3, longrope or su", "yarn"),
        (json!({"rope_scaling": {"type": "llama3", "factor": 8.0}}), "rope_scaling.low_freq_factor", "no such key"),
        (json!({"rope_scaling": longrope}), "rope_scaling to be a factor for every pair of values", "[1.0]"),
        (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor to be 1", "32 of 64 values"),
        (json!({"hidden_act": "relu"}), "hidden_act to be silu or gelu_pytorch_tanh", "relu"),
        (json!({"num_attention_heads": 0}), "num_attention_heads to be above 0", "0"),
        (json!({"hidden_size": 2000}), "hidden to be a multiple of 32", "2000"),
        (json!({"head_dim": 3}), "head_dim to be even", "3"),
        (json!({"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 34}), "heads to be", "3 heads of 34"),
        (json!({"intermediate_size": u64::MAX / 32 * 32}), "feed_forward to be a multiple of 32", "18"),
        (
            json!({"num_attention_heads": u64::MAX, "head_dim": 32}),
            "kv_heads to be a divisor of heads",
            "for 18446744073709551615 heads",
        ),
        (json!({"num_attention_heads": 1_u64 << 58, "head_dim": 32}), "heads to be", " heads of 32"),
        (json!({"vocab_size": 0}), "vocabulary to be 1 to 2^24", "0"),
        (
            json!({"num_hidden_layers": 1_000_000_000_000_u64, "model_type": "mistral"}),
            "layers to be 1 to 1024",
            "1000000000000",
        ),
        (json!({"hidden_size": "many"}), "hidden_size to be of its type", "string \"many\", expected usize"),
        (json!({"model_type": "phi3", "sliding_window": 0}), "windows to be above 0", "0"),
        (json!({"model_type": "phi3", "sliding_window": -1}), "sliding_window", "-1"),
        (
            json!({"model_type": "qwen2", "layer_types": ["full_attention"]}),
            "windows to be one for each block",
            "1 for ",
        ),
        (
            json!({"model_type": "qwen2", "layer_types": ["chunked_attention"]}),
            "layer_types to be sliding_attention or full_attention",
            "chunked_attention",
        ),
        (json!({"model_type": "gemma2"}), "query_pre_attn_scalar", "no such key"),
        (json!({"model_type": "gemma2", "use_bidirectional_attention": true}), "use_bidirectional_attention", "true"),
    ];
    for (model, expected, found) in cases {
        let flaw = parse(&model).unwrap_err();
        assert!(flaw.0.starts_with(expected) && flaw.1.contains(found), "{model}: {flaw:?}");
    }
    let error = TextFile::open(&PathBuf::from("nowhere")).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}
