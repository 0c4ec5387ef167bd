//! `loupe generate` and `loupe bench` as a person runs them, on the committed model of a few thousand weights.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use cameras::Rect;
use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::{Value, json};

use crate::{
    bad_input::enrolled,
    binary::{Bench, one_line, skip},
};

/// The arguments that name the two GGUF files of the model.
fn model() -> [String; 4] {
    let file = |name: &str| tiny().join(name).to_str().unwrap().to_owned();
    ["--model".to_owned(), file("text-f32.gguf"), "--mmproj".to_owned(), file("mmproj-f32.gguf")]
}

fn tiny() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../models/tests/fixtures/smolvlm_tiny"].iter().collect()
}

fn with_picture() -> Bench {
    let bench = Bench::new();
    let picture = RgbImage::from_fn(40, 30, |x, y| Rgb([(6 * x) as u8, (8 * y) as u8, (x * y) as u8]));
    picture.save(bench.path("part.png")).unwrap();
    bench
}

fn run(bench: &Bench, command: &str, model: &[String], rest: &[&str]) -> Output {
    let arguments: Vec<&str> =
        [command].into_iter().chain(model.iter().map(String::as_str)).chain(rest.iter().copied()).collect();
    bench.run(&arguments)
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn answers_about_a_picture_and_the_same_again() {
    let bench = with_picture();
    let question =
        ["--image", "part.png", "--prompt", "Is it good?", "--context", "128", "--max-new-tokens", "8", "--json"];
    let [first, second] = [0, 1].map(|_| json(&run(&bench, "generate", &model(), &question)));
    assert_eq!(first["generated_ids"], second["generated_ids"]);
    assert!(!first["generated_ids"].as_array().unwrap().is_empty() && first["frames"].as_u64() > Some(0), "{first}");
    for step in ["load", "preprocess", "vision", "prefill", "decode"] {
        assert!(first["timings_ms"][step].is_f64(), "{step}: {first}");
    }
}

#[test]
fn looks_closer_where_a_station_asks_for_it() {
    let bench = enrolled();
    let mut flawed = image::open(bench.path("good/0.png")).unwrap().into_luma8();
    let flaw = Rect { x: 60, y: 20, width: 8, height: 8 };
    image::imageops::replace(&mut flawed, &GrayImage::from_pixel(flaw.width, flaw.height, Luma([0])), 60, 20);
    flawed.save(bench.path("flawed.png")).unwrap();
    let guided = ["--prompt", "Good?", "--context", "128", "--max-new-tokens", "2", "--tiling", "guided"];
    let crops = |picture: &str, max_tiles: &str| {
        let rest = ["--station", "lid", "--image", picture, "--max-tiles", max_tiles, "--json"];
        let answer = json(&run(&bench, "generate", &model(), &[&guided[..], &rest].concat()));
        let crops: Vec<Vec<Rect>> = serde_json::from_value(answer["crops"].clone()).unwrap();
        assert_eq!(answer["frames"].as_u64(), Some(crops[0].len() as u64 + 1), "{answer}");
        crops[0].clone()
    };
    let shown = crops("flawed.png", "3");
    let [crop] = shown[..] else { panic!("{shown:?}") };
    assert!(crop.x <= flaw.x && crop.x + crop.width >= flaw.x + flaw.width && crop.width < 96, "{crop:?}");
    assert!(crop.y <= flaw.y && crop.y + crop.height >= flaw.y + flaw.height, "{crop:?}");
    assert_eq!(crops("flawed.png", "1"), []);
    assert_eq!(crops("good/1.png", "3"), []);
    for (option, value) in [("--station", "lid"), ("--crop", "0,0,9,9")] {
        let output = run(&bench, "generate", &model(), &["--prompt", "Good?", option, value]);
        assert_eq!(one_line(&output), format!("loupe: {option}: expected --tiling guided with it, found none"));
    }
}

#[test]
fn bad_input_is_one_line_that_names_it() {
    let bench = with_picture();
    bench.write("broken.png", "no picture");
    bench.write("broken.json", "{");
    // The small model's tokenizer has no braces.
    bench.write("object.json", r#"{"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"]}"#);
    fs::create_dir(bench.path("empty")).unwrap();
    let cut = fs::read(tiny().join("text-f32.gguf")).unwrap();
    bench.write("cut.gguf", &cut[..cut.len() / 2]);
    let other = fs::read(tiny().join("mmproj-f32.gguf")).unwrap();
    bench.write("pair/a.gguf", &other);
    bench.write("pair/b.gguf", &other);
    let mmproj = tiny().join("mmproj-f32.gguf");
    let mmproj = mmproj.to_str().unwrap();
    let whole: Vec<String> = model().to_vec();
    let named = |name: &str| vec!["--model".to_owned(), name.to_owned()];
    let cut = [named("cut.gguf"), vec!["--mmproj".to_owned(), mmproj.to_owned()]].concat();
    let text = tiny().join("text-f32.gguf").to_str().unwrap().to_owned();
    let swapped = vec!["--model".to_owned(), mmproj.to_owned(), "--mmproj".to_owned(), text];
    let cases: [(&[String], &[&str], &[&str]); 11] = [
        (&named("absent"), &[], &["absent: No such file"]),
        (&named("empty"), &[], &["empty: expected config.json", "found no config.json, 0 and 0"]),
        (&named("pair"), &[], &["pair: expected config.json", "0 and 2"]),
        (&cut, &[], &["cut.gguf: expected", "for tensor"]),
        (&swapped, &[], &["text-f32.gguf: expected general.architecture to be clip, found llama"]),
        (&whole, &["--image", "broken.png"], &["broken.png: expected a JPEG"]),
        (&whole, &["--image", "absent.png"], &["absent.png: cannot be read"]),
        (&whole, &["--schema", "broken.json"], &["broken.json: expected a JSON Schema"]),
        (
            &whole,
            &["--schema", "object.json"],
            &["ending a text: ", "doesn't satisfy the grammar; forced bytes: got '{'"],
        ),
        (&whole, &["--image", "part.png", "--context", "8"], &["expected at most 8 tokens"]),
        (&whole, &["--context", "100000"], &["expected 1 to 128 tokens, found 100000"]),
    ];
    for (model, options, expected) in cases {
        let context: &[&str] = if options.contains(&"--context") { &[] } else { &["--context", "128"] };
        let output = run(&bench, "generate", model, &[&["--prompt", "Good?"], context, options].concat());
        assert_eq!(output.status.code(), Some(1), "{model:?} {options:?}: {output:?}");
        let line = one_line(&output);
        assert!(line.starts_with("loupe: ") && expected.iter().all(|part| line.contains(part)), "{line}");
    }
}

/// Makes of the small checkpoint a folder as models are published in, with `change` made to it.
fn published(bench: &Bench, name: &str, change: impl FnOnce(&Path)) -> Vec<String> {
    let folder = bench.path(name);
    fs::create_dir(&folder).unwrap();
    for file in ["config.json", "preprocessor_config.json", "tokenizer.json"] {
        fs::copy(tiny().with_file_name("smolvlm_tiny_onnx").join(file), folder.join(file)).unwrap();
    }
    fs::copy(tiny().join("model.safetensors"), folder.join("model.safetensors")).unwrap();
    change(&folder);
    vec!["--model".to_owned(), name.to_owned()]
}

/// Returns what changes a JSON file of a folder.
fn edited(file: &'static str, edit: impl FnOnce(&mut Value)) -> impl FnOnce(&Path) {
    move |folder| {
        let path = folder.join(file);
        let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }
}

#[test]
fn a_damaged_folder_is_one_line_that_names_the_file_and_what_it_lacks() {
    let bench = Bench::new();
    let text =
        |key: &'static str, value: Value| edited("config.json", move |config| config["text_config"][key] = value);
    let cut = |folder: &Path| {
        let weights = fs::read(folder.join("model.safetensors")).unwrap();
        fs::write(folder.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    };
    let no_image = |tokenizer: &mut Value| {
        tokenizer["added_tokens"].as_array_mut().unwrap().retain(|token| token["content"] != "<image>");
    };
    let processor = |file: &mut Value| file["image_processor_type"] = json!("CLIPImageProcessor");
    let cases = [
        (published(&bench, "cut", cut), "cut/model.safetensors: expected a whole safetensors file"),
        (
            published(&bench, "other", edited("config.json", |config| config["model_type"] = json!("llava"))),
            "other/config.json: expected model_type to be idefics3 or smolvlm, found llava",
        ),
        (
            published(&bench, "rope", text("rope_parameters", Value::Null)),
            "rope/config.json: expected text_config.rope_theta or rope_parameters.rope_theta, found neither",
        ),
        (
            published(&bench, "narrow", text("hidden_size", json!(40))),
            "narrow/config.json: expected text_config.hidden to be a multiple of 32 up to 2^24, found 40",
        ),
        (
            published(&bench, "huge", text("vocab_size", json!(1_000_000_000_000_u64))),
            "huge/config.json: expected text_config.vocabulary to be 1 to 2^24, found 1000000000000",
        ),
        (
            published(&bench, "deep", text("num_hidden_layers", json!(3))),
            "deep/model.safetensors: expected tensor model.text_model.layers.2.input_layernorm.weight of shape [32]",
        ),
        (
            published(&bench, "blind", edited("tokenizer.json", no_image)),
            "blind/tokenizer.json: expected tokenizer with <image>, found no such special token",
        ),
        (
            published(&bench, "processor", edited("preprocessor_config.json", processor)),
            "processor/preprocessor_config.json: expected image_processor_type: Idefics3ImageProcessor or",
        ),
    ];
    let whole = published(&bench, "whole", |_| {});
    let question = ["--prompt", "Good?", "--context", "128", "--max-new-tokens", "2"];
    assert_eq!(run(&bench, "generate", &whole, &question).status.code(), Some(0));
    for (model, expected) in cases {
        let output = run(&bench, "generate", &model, &question);
        assert_eq!(output.status.code(), Some(1), "{model:?}: {output:?}");
        let line = one_line(&output);
        assert!(line.starts_with("loupe: ") && line.contains(expected), "{line}");
    }
}

#[test]
fn a_benchmark_has_every_measurement() {
    let bench = Bench::new();
    bench.write("word.json", r#"{"type": "string", "pattern": "^[a-z]{9}$"}"#);
    let small = ["--rounds", "2", "--prompt-tokens", "32", "--new-tokens", "8", "--context", "128"];
    let measured = json(&run(&bench, "bench", &model(), &[&small[..], &["--schema", "word.json", "--json"]].concat()));
    for name in ["load_ms", "tile_ms", "prefill_tokens_per_s", "decode_tokens_per_s", "answer_ms"] {
        let samples = measured["loupe"][name]["samples"].as_array().unwrap();
        assert!(samples.len() == 2 && samples.iter().all(|value| value.as_f64() > Some(0.0)), "{name}: {measured}");
    }
}

#[test]
fn a_benchmark_names_what_the_other_engine_lacks() {
    let bench = Bench::new();
    let output = run(&bench, "bench", &model(), &["--against", "llama.cpp=nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output).ends_with("nowhere/llama-bench: expected a file, found none"), "{output:?}");
}

#[test]
fn a_copy_keeps_the_ranges_of_a_calibration_and_answers() {
    let bench = with_picture();
    published(&bench, "full", |_| ());
    // The original is asked too, on the ONNX Runtime of the real cache.
    let quantize = |output: &str, calibrate: &[&str]| {
        let arguments = ["models", "quantize", "full", "--output", output, "--image", "part.png", "--json"];
        bench.loupe(&[&arguments[..], calibrate].concat()).env_remove("LOUPE_CACHE").output().unwrap()
    };
    let bytes = |output: &str, calibrate: &[&str]| {
        let comparison = json(&quantize(output, calibrate));
        assert!(comparison["cosine_min"].as_f64() > Some(0.98), "{output}: {comparison}");
        fs::metadata(bench.path(output).join("model.safetensors")).unwrap().len()
    };
    let error = one_line(&quantize("other", &["--calibrate", "nowhere"]));
    if error.contains("run `loupe models pull`") {
        return skip(&error);
    }
    assert!(error.contains("nowhere") && !bench.path("other").exists(), "{error}");
    let (dynamic, fixed) = (bytes("dynamic", &[]), bytes("static", &["--calibrate", "part.png"]));
    assert!(fixed > dynamic, "{fixed} bytes with ranges, {dynamic} without");
    let model = ["--model".to_owned(), "static".to_owned()];
    let question =
        ["--image", "part.png", "--prompt", "Is it good?", "--context", "128", "--max-new-tokens", "4", "--json"];
    assert!(json(&run(&bench, "generate", &model, &question))["frames"].as_u64() > Some(0));
}
