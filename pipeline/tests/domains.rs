//! Trained eyes as a person uses them: `loupe inspect` without a station, with a domain and with a head of one's own.

use std::io::{BufRead as _, Cursor};

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;

use crate::binary::{Bench, one_line};

/// A picture of text-like black bars on white paper: no leaf and no part.
fn page() -> Vec<u8> {
    let picture = RgbImage::from_fn(240, 200, |x, y| {
        let is_ink = y % 12 < 6 && (x / 5 + y / 12 * 7) % 4 != 0;
        Rgb(if is_ink { [20, 20, 24] } else { [250, 250, 245] })
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn eyes_leave_what_they_have_never_seen_to_a_person() {
    let bench = Bench::new();
    bench.write("page.png", page());
    for arguments in [&["inspect", "page.png", "--json"][..], &["inspect", "page.png", "--json", "--domain", "crops"]] {
        let Some(mut command) = bench.with_models(arguments, &[]) else { return };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["verdict"], &report["decided_by"]), (&"review".into(), &"head".into()), "{report}");
        assert!(report["reason"].as_str().unwrap().contains("(familiarity 0.0"), "{report}");
        let diagnosis = &report["diagnosis"];
        assert!(diagnosis["familiarity"].as_f64().unwrap() < 0.01, "{diagnosis}");
        assert!(report["timing_ms"]["diagnose"].as_f64().unwrap() > 0.0);
        assert!(report["models"].as_array().unwrap().iter().any(|model| model["role"] == "head"), "{report}");
        // About a stranger nothing is said: no name by the language model, no advice.
        assert_eq!((&diagnosis["language_model"], &report["description"]), (&Value::Null, &Value::Null), "{report}");
    }
}

#[test]
fn without_model_files_every_picture_goes_to_a_person() {
    let bench = Bench::new();
    bench.write("page.png", page());
    let output = bench.run(&["inspect", "page.png", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["verdict"], &report["diagnosis"]), (&"review".into(), &Value::Null));
}

#[test]
fn folders_in_which_there_are_only_folders_are_named() {
    let bench = Bench::new();
    bench.write("page.png", page());
    bench.write("deep/down/page.png", page());
    let output = bench.run(&["inspect", "deep", "page.png", "--json"]);
    assert_eq!((output.status.code(), output.stdout.lines().count()), (Some(0), 1));
    assert_eq!(one_line(&output), "loupe: deep: no picture but in folders in it, which --recursive looks into");
    let output = bench.run(&["inspect", "deep", "--json"]);
    assert!(one_line(&output).ends_with("found none; folders in it are looked into with --recursive"), "{output:?}");
}

#[test]
fn eyes_that_were_asked_for_and_are_not_there_are_an_error() {
    let bench = Bench::new();
    bench.write("page.png", page());
    bench.write("broken.safetensors", b"no tensors");
    for (arguments, expected) in [
        (["--domain", "gremlins"], "gremlins"),
        (["--domain", "broken.safetensors"], "broken.safetensors: expected safetensors with a loupe.domain/1 header"),
        (["--head", "nowhere"], "nowhere"),
    ] {
        let Some(mut command) = bench.with_models(&[&["inspect", "page.png"][..], &arguments].concat(), &[]) else {
            return;
        };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(one_line(&output).contains(expected), "{}", one_line(&output));
    }
}

#[test]
fn a_station_that_eyes_judge_for_is_not_called_unjudged() {
    let bench = Bench::new();
    bench.write("page.png", page());
    bench.write(
        "line.toml",
        "[data]\nfolder = \"data\"\n[cameras.a]\ntype = \"folder\"\npaths = [\"page.png\"]\nmode = \"once\"\n\
         [stations.leaf]\ncamera = \"a\"\n[stations.leaf.eyes]\ndomain = \"crops\"\n",
    );
    let run = ["run", "--config", "line.toml", "--json"];
    let Some(mut command) = bench.with_models(&run, &[]) else { return };
    let output = command.env("LOUPE_LOG", "warn").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("nothing enrolled"), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["decided_by"], "head", "{report}");
}

/// A picture of stripes, no two alike.
fn stripes(number: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(200, 160, |x, y| {
        let wave = (x * (number + 2) + y * 3 + (x * y) % (number + 5)) % 255;
        Rgb([wave as u8, (wave * 3 % 255) as u8, 80 + (y % 100) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn a_domain_in_8_bits_is_written_with_its_card_and_looks() {
    let bench = Bench::new();
    for number in 0..4 {
        bench.write(&format!("parts/{number}.png"), stripes(number));
    }
    bench.write("parts/5.png", b"no picture");
    bench.write("page.png", page());
    let quantize = ["models", "quantize", "crops", "--output", "small.safetensors", "--calibrate", "parts", "--json"];
    let Some(mut command) = bench.with_models(&quantize, &[]) else { return };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(comparison["cosine_min"].as_f64() > Some(0.99), "{comparison}");
    assert!(comparison["bytes_after"].as_u64() < comparison["bytes_before"].as_u64(), "{comparison}");
    assert_eq!((&comparison["pictures"], &comparison["precision"]), (&4.into(), &"int8".into()));
    let card = std::fs::read_to_string(bench.path("small.md")).unwrap();
    assert!(card.contains("## Loss against f32") && card.contains(comparison["sha256"].as_str().unwrap()), "{card}");

    let looks = ["inspect", "page.png", "--json", "--domain", "small.safetensors"];
    let output = bench.with_models(&looks, &[]).unwrap().output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let head = report["models"].as_array().unwrap().iter().find(|model| model["role"] == "head").unwrap();
    assert_eq!((&head["precision"], &head["sha256"]), (&"int8".into(), &comparison["sha256"]));
    assert!(report["reason"].as_str().unwrap().contains("(familiarity 0.0"), "{report}");

    refuses_to_quantize(&bench);
    refuses_damaged_bytes(&bench);
}

fn refuses_to_quantize(bench: &Bench) {
    bench.write("empty/notes.txt", b"none");
    bench.write("crops/notes.txt", b"none");
    bench.write("locked", b"a file where a folder should be");
    let cases: [(&[&str], &str); 9] = [
        (
            &["crops", "--output", "small.safetensors", "--calibrate", "parts"],
            "small.safetensors: expected a file that",
        ),
        (&["crops", "--output", "new.safetensors", "--calibrate", "empty"], "empty: expected pictures, found none"),
        (
            &["crops", "--output", "new.safetensors"],
            "--calibrate: expected pictures like those of the line, found none",
        ),
        (
            &["page.png", "--output", "new.safetensors", "--text", "q8"],
            "page.png: expected safetensors with a loupe.domain",
        ),
        (&["crops/", "--output", "new"], "crops/config.json"),
        (&["small.safetensors", "--output", "new.safetensors", "--calibrate", "parts"], "expected a domain in floats"),
        (
            &["gremlins", "--output", "new.safetensors", "--calibrate", "parts"],
            "or one of crops, factory, found nothing",
        ),
        (&["factory", "--output", "locked/new.safetensors", "--calibrate", "parts"], "locked"),
        (
            &["factory", "--output", "new.safetensors", "--calibrate", "parts", "--text", "q8"],
            "--text: expected a Smol",
        ),
    ];
    for (arguments, expected) in cases {
        let arguments = [&["models", "quantize"], arguments].concat();
        let output = bench.with_models(&arguments, &[]).unwrap().output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        // A picture that cannot be read is left out with a warning, which the log level of these tests hides.
        assert!(one_line(&output).contains(expected), "{arguments:?}: {}", one_line(&output));
        assert!(!bench.path("new.safetensors").exists() && !bench.path("new.md").exists(), "{arguments:?}");
    }
}

fn refuses_damaged_bytes(bench: &Bench) {
    let whole = std::fs::read(bench.path("small.safetensors")).unwrap();
    let place = |text: &[u8]| whole.windows(text.len()).position(|window| window == text).unwrap();
    let mut other = whole.clone();
    other[place(b"int8") + 3] = b'9';
    let mut shifted = whole.clone();
    shifted[place(b"_blocks.9.sum.range") + 8] = b'8';
    for (bytes, expected) in [
        (whole[..whole.len() / 2].to_vec(), "damaged.safetensors: expected safetensors with a loupe.domain/1 header"),
        (other, "unknown variant `int9`"),
        (shifted, "damaged.safetensors: expected"),
    ] {
        bench.write("damaged.safetensors", bytes);
        let looks = ["inspect", "page.png", "--domain", "damaged.safetensors"];
        let output = bench.with_models(&looks, &[]).unwrap().output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{expected}");
        assert!(one_line(&output).contains(expected), "{}", one_line(&output));
    }
}
