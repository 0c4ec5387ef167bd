//! `loupe eval --domain` as a person runs it, and what becomes of it when it is interrupted, on pictures that are drawn here.

use std::{
    fs,
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use image::{ImageFormat, Rgb, RgbImage};
use models::{
    bundle::{Bundle, DEFAULT_BUNDLE, Role},
    cache::Cache,
    domain::Domain,
    ort_engine::{OrtEngine, SessionConfig},
};
use pipeline::{
    describe::{Author, Looked, Order, Written},
    diagnosis::Glimpse,
    head::{ClassLayout, DomainEvaluation, DomainPlan, Examinee, evaluate_domain},
    stage::StageError,
};
use serde_json::{Value, json};

use crate::binary::{Bench, skip};

fn png(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A green leaf on a grey table, with rusty spots where it is of class `rust`.
fn leaf(number: u32, class: &str) -> Vec<u8> {
    png(&RgbImage::from_fn(120, 90, |x, y| {
        let is_leaf = (x.abs_diff(60) * 3).pow(2) + (y.abs_diff(45) * 4).pow(2) < (150 + number).pow(2);
        let is_spot = class == "rust" && (x + number * 3) % 17 < 6 && (y + number * 5) % 13 < 5;
        match (is_leaf, is_spot) {
            (true, true) => Rgb([190, 110, 20]),
            (true, false) => Rgb([40, 110 + (x + y + number) as u8 % 20, 30]),
            _ => Rgb([150 + (x * 7 + y * 3 + number) as u8 % 16; 3]),
        }
    }))
}

/// Stripes of steel: no leaf.
fn stranger(number: u32) -> Vec<u8> {
    png(&RgbImage::from_fn(100, 100, |x, y| Rgb([(x * (2 + number) + y / 9) as u8 % 64 * 3; 3])))
}

/// A bench with three leaves of each of two classes to learn from and four to measure on, four strangers, one torn file among the leaves
/// and one among the strangers, and a leaf among these.
fn bench() -> Bench {
    let bench = Bench::new();
    for class in ["healthy", "rust"] {
        for number in 0..3 {
            bench.write(&format!("leaves/train/{class}/{number}.png"), leaf(number, class));
        }
        for number in 10..14 {
            bench.write(&format!("leaves/test/{class}/{number}.png"), leaf(number, class));
        }
    }
    for number in 0..4 {
        let folder = ["others", "others/pages"][number as usize % 2];
        bench.write(&format!("{folder}/{number}.png"), stranger(number));
    }
    bench.write("leaves/test/rust/torn.png", &leaf(20, "rust")[..200]);
    bench.write("others/torn.png", &stranger(9)[..200]);
    bench.write("others/leaf.png", leaf(12, "rust"));
    bench
}

fn json(bench: &Bench, arguments: &[&str], warnings: &[&str]) -> Option<Value> {
    let output = bench.with_models(arguments, &[])?.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr.lines().count(), warnings.len(), "{stderr}");
    assert!(warnings.iter().all(|warning| stderr.contains(warning)), "{stderr}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

const EVAL: [&str; 8] = ["eval", "leaves", "--domain", "crops", "--strangers", "others", "--output", "out"];
const LEFT_OUT: [&str; 3] = [
    "loupe: left out: leaves/test/rust/torn.png: ",
    "loupe: left out: others/torn.png: ",
    "loupe: others/leaf.png: left out, the same file is in another class, leaves/test/rust/12.png",
];

#[test]
fn a_domain_is_measured_shown_and_compared() {
    let bench = bench();
    let Some(metrics) = json(&bench, &[&EVAL[..], &["--json"]].concat(), &LEFT_OUT) else { return };
    assert_eq!(
        (&metrics["n_images"], &metrics["part"], &metrics["domain"]),
        (&8.into(), &"test".into(), &"crops".into())
    );
    assert_eq!(metrics["taken_for"], json!({"task": "coffee_leaf_bracol", "others": []}));
    assert_eq!(metrics["language_model"]["valid_json"]["share"], 1.0);
    assert_eq!(
        (&metrics["strangers"]["strangers_refused"]["n"], metrics["left_out"].as_array().unwrap().len()),
        (&4.into(), 3)
    );
    let lines: Vec<Value> = fs::read_to_string(bench.path("out/predictions.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 8);
    let count = |key: &str| lines.iter().filter(|line| line[key] == true).count() as f64;
    assert_eq!(metrics["accuracy"].as_f64(), Some(count("is_right") / 8.0));
    assert_eq!(metrics["language_model"]["agreement_with_head"]["share"].as_f64(), Some(count("is_agreed") / 8.0));
    assert_eq!(metrics["strangers"]["own_refused"]["share"].as_f64(), Some(count("is_refused") / 8.0));
    let labels = metrics["labels"].as_array().unwrap();
    for line in &lines {
        assert_eq!(line["label"] == "coffee leaf: rust", line["class"] == "rust", "{line}");
        assert_eq!(line["is_right"] == true, line["said"] == line["label"], "{line}");
        assert!(labels.contains(&line["named"]) && line["language_latency_ms"].as_f64() > Some(0.0), "{line}");
        assert_eq!(line["probabilities"].as_array().unwrap().len(), labels.len());
    }
    // Of the 24 labels those that were there or were named.
    let mut occurring: Vec<&Value> = lines.iter().flat_map(|line| [&line["label"], &line["said"]]).collect();
    occurring.sort_by_key(|label| labels.iter().position(|other| other == *label));
    occurring.dedup();
    assert_eq!(metrics["confusion"]["classes"].as_array().unwrap().iter().collect::<Vec<_>>(), occurring);
    assert_eq!(metrics["classes"].as_array().unwrap().len(), occurring.len());

    let table = fs::read_to_string(bench.path("out/predictions.csv")).unwrap();
    let header = "seed,path,sha256,class,said,is_right,probability,label,named,is_agreed,familiarity,strangeness,is_refused,\
        language_latency_ms,latency_ms,p(bell pepper leaf: bacterial spot),";
    assert!(table.starts_with(header) && table.lines().count() == 9, "{table}");
    let page = fs::read_to_string(bench.path("out/report.html")).unwrap();
    for part in [
        "Evaluation of the domain crops",
        "taken for the classes of coffee_leaf_bracol.",
        "<code>hallucinated_on_good</code>",
        "<h2>Strangers</h2>",
        "others/torn.png",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!bench.path("out/looked.jsonl").exists());
    stands_beside_others(&bench, &metrics);
}

/// `metrics` are in the folder `out`.
fn stands_beside_others(bench: &Bench, metrics: &Value) {
    let silent = [&EVAL[..6], &["--no-text", "--output", "silent", "--json"]].concat();
    let silent = json(bench, &silent, &LEFT_OUT).unwrap();
    assert_eq!((&silent["language_model"], &silent["data_sha256"]), (&Value::Null, &metrics["data_sha256"]));
    let train = ["train", "--head-only", "--data", "leaves", "--output", "head", "--json"];
    json(bench, &train, &[]).unwrap();
    json(bench, &["eval", "leaves", "--head", "head", "--output", "headed", "--json"], &LEFT_OUT[..1]).unwrap();
    for (other, judge, of_strangers) in [("silent", "domain crops", 3), ("headed", "head head/head.safetensors", 0)] {
        let other = format!("{other}/metrics.json");
        let compared = json(bench, &["eval", "--compare", "out/metrics.json", &other, "--json"], &[]).unwrap();
        assert_eq!((&compared["data_is_known_equal"], &compared["paired"]["n_images"]), (&true.into(), &8.into()));
        assert_eq!((&compared["a"]["judge"], &compared["b"]["judge"]), (&"domain crops".into(), &judge.into()));
        let measures = compared["measures"].as_array().unwrap().iter();
        let found = measures.filter(|row| row["measure"].as_str().unwrap().starts_with("strangers.")).count();
        assert_eq!((found, &compared["strangers_differ"]), (of_strangers, &false.into()));
    }
}

/// Names the same label whatever it sees, another when it is told something, and counts how often it looks.
struct Parrot {
    label: String,
    told: String,
    looks: usize,
}

impl Author for Parrot {
    fn look(&mut self, Glimpse { facts, .. }: &Glimpse) -> Result<Option<Looked>, StageError> {
        self.looks += 1;
        let is_told = facts.starts_with("It looks like ");
        assert_eq!(is_told, !facts.is_empty());
        let (named, prompt_sha256) = (if is_told { &self.told } else { &self.label }.clone(), String::new());
        Ok(Some(Looked { named, prompt_sha256, tokens_in: 0, tokens_out: 0, tokens_forced: 0 }))
    }

    fn write(&mut self, _: &Order) -> Result<Written, StageError> {
        Err("nothing is to be written".into())
    }
}

/// Evaluates into the folder `output`; returns the numbers, and how often the language model looked.
fn evaluated(
    bench: &Bench,
    (engine, published): (&OrtEngine, &Path),
    output: &str,
    watch: &mut dyn FnMut(usize, usize),
) -> (DomainEvaluation, usize) {
    let domain = Arc::new(Domain::find("crops").unwrap());
    let eyes = domain.eyes(engine, published, SessionConfig::default()).unwrap();
    let mut parrot =
        Parrot { label: "coffee leaf: rust".to_owned(), told: "coffee leaf: healthy".to_owned(), looks: 0 };
    let mut examinee = Examinee { domain, eyes, models: Vec::new(), author: Some(&mut parrot) };
    let (dataset, strangers, output) = (bench.path("leaves"), bench.path("others"), bench.path(output));
    let plan = DomainPlan {
        dataset: &dataset,
        layout: ClassLayout::Folders,
        strangers: Some(&strangers),
        familiar_from: 0.01,
        ablations: true,
        output: &output,
    };
    let evaluation = evaluate_domain(&mut examinee, plan, watch).unwrap();
    (evaluation, parrot.looks)
}

/// Everything but times.
fn timeless(evaluation: &DomainEvaluation) -> Value {
    let mut value = serde_json::to_value(evaluation).unwrap();
    for key in ["latency_ms", "language_latency_ms"] {
        assert!(value.as_object_mut().unwrap().remove(key).is_some_and(|latency| !latency.is_null()));
    }
    value
}

#[test]
fn an_interrupted_evaluation_goes_on_and_looks_at_nothing_twice() {
    let (bundle, cache) = (Bundle::open(DEFAULT_BUNDLE).unwrap(), Cache::locate().unwrap());
    let published = cache.require(&bundle, Role::EncoderWeights);
    let tools = published.and_then(|published| Ok((OrtEngine::of(&bundle, &cache)?, published)));
    let (engine, published) = match &tools {
        Ok((engine, published)) => (engine, published.as_path()),
        Err(error) => return skip(&error.to_string()),
    };
    let bench = bench();
    let tools = (engine, published);
    // Nine leaves and five strangers are opened; two of them are torn.
    let (whole, looks) = evaluated(&bench, tools, "whole", &mut |_, _| {});
    assert_eq!((looks, whole.evaluation.left_out.len()), (25, 3), "eight leaves three times and a grey picture");
    let spoken = whole.language_model.unwrap();
    let shares = [spoken.accuracy_blanked, spoken.accuracy_facts_only, spoken.accuracy_both];
    assert_eq!(shares.map(|share| share.map(|share| share.share)), [Some(0.5); 3]);
    for (stop_at, looks_left) in [(5, 9), (12, 0)] {
        let mut stop = |done, total| {
            assert_eq!(total, 14);
            assert_ne!(done, stop_at, "the power went");
        };
        let stopped = catch_unwind(AssertUnwindSafe(|| evaluated(&bench, tools, "out", &mut stop)));
        assert!(stopped.is_err() && !bench.path("out/metrics.json").exists());
        let journal = bench.path("out/looked.jsonl");
        let known = fs::read_to_string(&journal).unwrap().lines().count();
        let (resumed, looks) = evaluated(&bench, tools, "out", &mut |_, _| {});
        assert_eq!((looks, timeless(&resumed)), (looks_left, timeless(&whole)), "{known} were known");
        assert!(!journal.exists());
        fs::remove_dir_all(bench.path("out")).unwrap();
    }
}
