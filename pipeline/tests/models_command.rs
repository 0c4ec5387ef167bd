//! `loupe models` and `loupe doctor` as a person runs them.

use std::{fs, path::Path};

use serde_json::Value;

use crate::binary::{Bench, one_line};

#[test]
fn a_damaged_model_file_is_one_line_and_exit_code_1() {
    let bench = Bench::new();
    let listed: Value = serde_json::from_slice(&bench.run(&["models", "list", "--json"]).stdout).unwrap();
    let file = &listed["files"][0];
    let path = Path::new(file["path"].as_str().unwrap());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().set_len(file["bytes"].as_u64().unwrap()).unwrap();
    let verified = bench.run(&["models", "verify"]);
    assert_eq!(verified.status.code(), Some(1));
    let line = one_line(&verified);
    assert!(line.contains(path.to_str().unwrap()) && line.contains("expected SHA-256 "), "{line}");
    assert!(line.contains("expected the language model of bundle loupe-edge, found no file"), "{line}");
}

#[test]
fn bad_requests_are_one_line_each() {
    let bench = Bench::new();
    bench.write("broken/bundle.toml", "schema = \"loupe.bundle/1\"\nnmae = \"x\"\n");
    let cases: [(&[&str], &str); 3] = [
        (&["models", "list", "--bundle", "nope"], "expected loupe-edge or a folder with a bundle.toml, found nope"),
        (&["models", "list", "--bundle", "broken"], "found in line 2: unknown field `nmae`"),
        (&["models", "pull"], "expected python3 with pip as downloader, found no python3 on PATH"),
    ];
    for (args, expected) in cases {
        let output = bench.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let line = one_line(&output);
        assert!(line.starts_with("loupe: ") && line.contains(expected), "{line}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn doctor_prints_everything_before_it_complains() {
    let bench = Bench::new();
    let output = bench.run(&["doctor", "--json"]);
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), diagnosis["healthy"].as_bool()), (Some(1), Some(false)));
    let findings = diagnosis["findings"].as_array().unwrap();
    let runtime = findings.iter().find(|finding| finding["name"] == "onnx runtime").unwrap();
    assert_eq!(runtime["status"], "problem", "{runtime}");
    assert!(one_line(&output).starts_with("loupe: doctor: 1 of "), "{output:?}");
}
