//! `loupe demo` as a newcomer runs it, shorter.

use std::fs;

use serde_json::Value;

use crate::binary::Bench;

/// What was found; `None` where a model file is missing.
fn shown(bench: &Bench, frames: &str) -> Option<Value> {
    let arguments = ["demo", "--frames", frames, "--golden", "8", "--no-text", "--json", "--output", "demo"];
    let done = bench.with_models(&arguments, &["language-model"])?.output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    Some(serde_json::from_slice(&done.stdout).unwrap())
}

#[test]
fn defects_are_rejected_located_and_named_and_the_eyes_are_taught_once() {
    let bench = Bench::new();
    let Some(found) = shown(&bench, "16") else { return };
    let sums =
        found["kinds"].as_object().unwrap().values().fold([0; 4], |sums: [u64; 4], row| {
            std::array::from_fn(|column| sums[column] + row[column].as_u64().unwrap())
        });
    let [boards, rejected, located, named] = sums;
    assert!(boards > 3 && rejected == boards && located == boards, "{found}");
    // Twelve pictures of each kind teach names, not certainty.
    assert!(2 * named > boards, "{found}");
    assert!(found["good"].as_u64().unwrap() > 3, "{found}");

    let taught = || fs::metadata(bench.path("demo/eyes-7/head.safetensors")).unwrap().modified().unwrap();
    let before = taught();
    assert!(shown(&bench, "1").is_some());
    assert_eq!(taught(), before);
}
