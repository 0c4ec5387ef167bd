//! Trained eyes as a person uses them: `loupe inspect` without a station, with a domain and with a head of one's own.

use std::io::Cursor;

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
        assert!(report["reason"].as_str().unwrap().starts_with("looks like nothing that "), "{report}");
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
