//! `loupe train --head-only` and `loupe eval --head` as a person runs them, on pictures that are drawn here.

use std::{
    fs,
    io::Cursor,
    os::unix::process::ExitStatusExt as _,
    process::{Command, Output},
    thread,
    time::Duration,
};

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;

#[cfg(target_os = "linux")]
use crate::binary::mounting;
use crate::binary::{Bench, one_line, signal};

/// A ground plate of 96 x 96 pixels with grinding marks of its own; a dented one has a dark blot as well.
fn plate(number: u32, class: &str) -> Vec<u8> {
    let noise = |x: u32, y: u32| (x * 31 + y * 17 + number * 101).wrapping_mul(2_654_435_761) >> 28;
    let (left, top) = (20 + number * 7 % 40, 20 + number * 13 % 40);
    let picture = RgbImage::from_fn(96, 96, |x, y| {
        let is_dent = class == "dented" && x.abs_diff(left).pow(2) + y.abs_diff(top).pow(2) < 90;
        let light = if is_dent { 40 } else { 120 + (y + number) % 6 * 12 + noise(x, y / 3) };
        Rgb([light as u8, light as u8, (light + 8) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A bench with `count` plates of each class in `folder`, numbered from `first`.
fn draw(bench: &Bench, folder: &str, (first, count): (u32, u32)) {
    for class in ["dented", "plain"] {
        for number in first..first + count {
            bench.write(&format!("{folder}/{class}/{number:02}.png"), plate(number, class));
        }
    }
}

fn with_models(bench: &Bench, arguments: &[&str]) -> Option<Command> {
    bench.with_models(arguments, &["language_model"])
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const TRAIN: [&str; 7] = ["train", "--head-only", "--data", "data", "--output", "head", "--json"];

#[test]
fn a_head_is_learned_and_measured_on_what_it_has_not_seen() {
    let bench = Bench::new();
    draw(&bench, "data/train", (0, 15));
    draw(&bench, "data/test", (50, 8));
    bench.write("data/train/plain/copy.png", plate(50, "plain"));
    bench.write("data/train/plain/torn.png", &plate(90, "plain")[..200]);
    let Some(mut train) = with_models(&bench, &[&TRAIN[..], &["--licence", "CC0-1.0", "--seed", "3"]].concat()) else {
        return;
    };
    let output = train.output().unwrap();
    let trained = json(&output);
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert!(warnings.contains("copy.png: left out, leakage: the same file is data/test/plain/50.png"), "{warnings}");
    assert!(warnings.contains("left out: data/train/plain/torn.png: ") && warnings.lines().count() == 2, "{warnings}");
    assert_eq!((&trained["labels"], &trained["seed"]), (&serde_json::json!(["dented", "plain"]), &3.into()));
    // The torn picture may be of either part.
    let sum = |key: &str| trained[key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("n_train") + sum("n_validation"), trained["n_test_unused"].as_u64()), (30, Some(16)));
    let card = fs::read_to_string(bench.path("head/MODEL_CARD.md")).unwrap();
    for part in [
        "CC0-1.0",
        "data/train/plain/copy.png",
        "| dented |",
        "`calibration_error`",
        trained["head_sha256"].as_str().unwrap(),
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    let mut files: Vec<_> = fs::read_dir(bench.path("head")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["MODEL_CARD.md", "confusion.svg", "head.json", "head.safetensors", "loss.svg"]);

    let named = ["classify", "--head", "head", "data/test/dented", "data/train/plain/torn.png", "--json"];
    let output = with_models(&bench, &named).unwrap().output().unwrap();
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((output.status.code(), lines.len()), (Some(0), 9));
    assert!(lines[..8].iter().filter(|line| line["class"] == "dented").count() >= 7, "{lines:?}");
    assert!(lines[8]["error"].as_str().unwrap().starts_with("data/train/plain/torn.png: "), "{}", lines[8]);

    bench.write("data/test/dented/seen.png", plate(4, "dented"));
    let evaluated = with_models(&bench, &["eval", "data", "--head", "head", "--output", "out", "--json"])
        .unwrap()
        .output()
        .unwrap();
    let warning = one_line(&evaluated);
    assert!(warning.ends_with("seen.png: left out, leakage: the head has learned from the same file"), "{warning}");
    let metrics = json(&evaluated);
    assert_eq!((metrics["n_images"].as_u64(), metrics["part"].as_str()), (Some(16), Some("test")));
    // A dent is twenty times as large as what the encoder can tell; chance is a half.
    assert!(
        metrics["accuracy"].as_f64().unwrap() > 0.9 && metrics["image_auroc"].as_f64().unwrap() > 0.95,
        "{metrics}"
    );
    let predictions = fs::read_to_string(bench.path("out/predictions.jsonl")).unwrap();
    assert_eq!(predictions.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 16);
    assert!(fs::read_to_string(bench.path("out/report.html")).unwrap().contains("data/test/dented/seen.png"));
    let table = fs::read_to_string(bench.path("out/predictions.csv")).unwrap();
    assert!(
        table.starts_with("seed,path,sha256,class,said,is_right,probability,latency_ms,p(dented),p(plain)\n"),
        "{table}"
    );
    assert_eq!((table.lines().count(), bench.path("out/described.jsonl").exists()), (17, false));
}

#[test]
fn heads_of_few_pictures_are_drawn_measured_and_compared() {
    let bench = Bench::new();
    draw(&bench, "data/train", (0, 12));
    draw(&bench, "data/test", (50, 8));
    let few = ["eval", "data", "--head-only", "--shots", "6", "--seeds", "2", "--output", "few", "--json"];
    let Some(mut command) = with_models(&bench, &few) else { return };
    let metrics = json(&command.output().unwrap());
    assert_eq!((metrics["n_images"].as_u64(), metrics["shots"].as_u64()), (Some(16), Some(6)));
    let of_seeds: Vec<f64> =
        metrics["seeds"].as_array().unwrap().iter().map(|row| row["accuracy"].as_f64().unwrap()).collect();
    let mean = of_seeds.iter().sum::<f64>() / 2.0;
    let close = |found: &Value, expected: f64| {
        assert!((found.as_f64().unwrap() - expected).abs() < 1e-9, "{found}, expected {expected}");
    };
    close(&metrics["accuracy"], mean);
    close(&metrics["spread"]["accuracy"]["mean"], mean);
    assert_eq!(metrics["origin"]["n_train"], serde_json::json!([5, 5]));
    let rows = fs::read_to_string(bench.path("few/predictions.csv")).unwrap();
    assert_eq!(rows.lines().count(), 33);

    let more = ["eval", "data", "--head-only", "--shots", "12", "--seeds", "1", "--output", "more", "--json"];
    json(&with_models(&bench, &more).unwrap().output().unwrap());
    let compared = ["eval", "--compare", "few/metrics.json", "more/metrics.json", "--json"];
    let compared = json(&bench.loupe(&compared).output().unwrap());
    assert_eq!((&compared["paired"]["n_images"], &compared["data_is_known_equal"]), (&16.into(), &true.into()));
    assert_eq!((&compared["a"]["n_seeds"], &compared["b"]["n_seeds"]), (&2.into(), &1.into()));
    let lines = bench.loupe(&["eval", "--compare", "few/metrics.json", "more/metrics.json"]).output().unwrap();
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert!(lines.contains("\naccuracy  ") && lines.contains("exact McNemar p = "), "{lines}");

    let too_many = ["eval", "data", "--head-only", "--shots", "13", "--output", "few"];
    let error = one_line(&with_models(&bench, &too_many).unwrap().output().unwrap());
    assert!(error.ends_with("data: expected 13 pictures or more of class dented to draw from, found 12"), "{error}");
}

#[test]
fn an_interrupted_training_says_so_goes_on_and_comes_to_the_same() {
    let bench = Bench::new();
    draw(&bench, "data", (0, 40));
    let Some(mut train) = with_models(&bench, &TRAIN) else { return };
    let mut child = train.spawn().unwrap();
    let journal = bench.path("head/described.jsonl");
    while fs::read_to_string(&journal).map_or(0, |text| text.lines().count()) < 3 {
        assert!(child.try_wait().unwrap().is_none(), "ended before it was killed");
        thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (None, Some(2)));
    assert_eq!(one_line(&output), "loupe: interrupted; the same command goes on from head/described.jsonl");
    assert!(!bench.path("head/head.safetensors").exists());
    let output = with_models(&bench, &TRAIN).unwrap().env("LOUPE_LOG", "info").output().unwrap();
    let resumed = json(&output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("going on with a run that was interrupted"));
    assert!(!journal.exists());
    fs::rename(bench.path("head"), bench.path("first")).unwrap();
    let whole = json(&with_models(&bench, &TRAIN).unwrap().output().unwrap());
    assert_eq!(resumed["head_sha256"], whole["head_sha256"]);
}

#[test]
fn a_bad_request_is_one_line() {
    let bench = Bench::new();
    for (number, path) in ["lone/a/0", "lone/b/0", "lone/b/1", "one/a/0", "one/a/1", "empty/a/0"].iter().enumerate() {
        bench.write(&format!("{path}.png"), plate(60 + number as u32, "plain"));
    }
    draw(&bench, "data", (0, 3));
    draw(&bench, "other", (20, 2));
    fs::rename(bench.path("other/plain"), bench.path("other/scratched")).unwrap();
    fs::create_dir(bench.path("empty/b")).unwrap();
    bench.write("taken/letters.txt", "");
    bench.write("damaged/head.safetensors", "no head");
    let cases: [(&[&str], &str); 11] = [
        (
            &["train", "--data", "data", "--output", "x"],
            "data: expected 16 pictures or more to teach the encoder by (--head-only takes fewer), found 6",
        ),
        (&["train", "--head-only", "--output", "x", "--data", "gone"], "gone: No such file or directory"),
        (
            &["train", "--head-only", "--output", "x", "--data", "taken"],
            "taken: expected a folder for each class, found letters.txt",
        ),
        (
            &["train", "--head-only", "--output", "x", "--data", "empty"],
            "empty/b: expected pictures of the class, or no such folder, found nothing",
        ),
        (
            &["train", "--head-only", "--output", "x", "--data", "one"],
            "one: expected pictures of two classes or more to learn from, found a",
        ),
        (
            &["train", "--head-only", "--output", "x", "--data", "lone"],
            "lone: expected 2 pictures or more of class a, to learn from one and choose by another, found 1",
        ),
        (
            &["train", "--head-only", "--output", "taken", "--data", "data"],
            "taken: expected a new or empty folder to write to, found letters.txt",
        ),
        (
            &["train", "--head-only", "--output", "x", "--data", "data", "--validation", "other"],
            "other: expected classes of the head: dented, plain, found scratched",
        ),
        (&["classify", "gone.png", "--head", "gone"], "gone.png: cannot be read: No such file or directory"),
        (&["eval", "data", "--head", "gone", "--output", "x"], "gone/head.safetensors: No such file or directory"),
        (
            &["eval", "data", "--head", "damaged", "--output", "x"],
            "damaged/head.safetensors: expected safetensors with a loupe.head/1 header, found ",
        ),
    ];
    for (arguments, expected) in cases {
        let Some(mut command) = with_models(&bench, arguments) else { return };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let line = one_line(&output);
        assert!(line.starts_with("loupe: ") && line.contains(expected), "{arguments:?}: {line}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    assert!(!bench.path("x").join("head.safetensors").exists());
    assert!(fs::read(bench.path("taken/letters.txt")).unwrap().is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_the_next_run_goes_on() {
    const SCRIPT: &str = "
        mount -t tmpfs -o size=2m tmpfs full || exit 77
        dd if=/dev/zero of=full/ballast bs=1k count=$((2048 - $1)) 2>ballast.log
        \"$2\" train --head-only --data data --output full/head --json >first.out 2>first.err; echo $? >first.code
        rm full/ballast
        \"$2\" train --head-only --data data --output full/head --json >second.out 2>second.err; echo $? >second.code";
    // Room for some descriptions; for all of them but not for the head.
    for room_kib in ["24", "100"] {
        let bench = Bench::new();
        draw(&bench, "data", (0, 6));
        if with_models(&bench, &TRAIN).is_none() {
            return;
        }
        fs::create_dir(bench.path("full")).unwrap();
        if !mounting(&bench, SCRIPT, room_kib) {
            return;
        }
        let read = |name: &str| fs::read_to_string(bench.path(name)).unwrap();
        let error = read("first.err");
        assert_eq!((read("first.code").trim(), error.lines().count()), ("1", 1), "{room_kib} KiB: {error}");
        assert!(error.contains(" full/head/") && error.contains("No space left on device"), "{room_kib} KiB: {error}");
        assert_eq!((read("second.code").trim(), read("second.err").as_str()), ("0", ""), "{room_kib} KiB");
        assert!(serde_json::from_str::<Value>(&read("second.out")).is_ok());
    }
}
