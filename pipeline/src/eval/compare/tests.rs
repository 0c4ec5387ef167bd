use std::fs;

use serde_json::{Value as Json, json};

use super::*;

/// A folder with `metrics.json` and, for each image, whether it was judged rightly.
fn evaluation(folder: &Path, metrics: &Json, rights: &[bool]) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let line = |(index, is_right): (usize, &bool)| {
        json!({"seed": 1, "path": format!("{index}.png"), "sha256": format!("{index:064}"), "class": "dent", "is_defect": true,
            "is_rejected": is_right}).to_string()
    };
    let unseen =
        json!({"seed": 2, "path": "0.png", "class": "dent", "is_defect": true, "is_rejected": true}).to_string();
    let lines: Vec<String> = rights.iter().enumerate().map(line).chain([unseen]).collect();
    fs::write(folder.join("predictions.jsonl"), lines.join("\n")).unwrap();
    fs::write(folder.join("metrics.json"), metrics.to_string()).unwrap();
    folder.join("metrics.json")
}

fn metrics(accuracy: f64, low: f64, high: f64) -> Json {
    json!({"schema": "loupe.metrics/1", "dataset": "set", "n_images": 10, "data_sha256": "a".repeat(64), "gate": "bank", "seeds": [{}],
        "accuracy": accuracy, "escape_rate": 1.0 - accuracy, "map_033": null, "latency_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0},
        "intervals_95": {"accuracy": {"low": low, "high": high}}, "confusion": {"classes": ["good", "defect"], "counts": []}})
}

fn head(classes: &[&str]) -> Json {
    json!({"schema": "loupe.head-metrics/1", "dataset": "set", "n_images": 10, "data_sha256": "a".repeat(64), "head": "h", "accuracy": 0.5,
        "latency_ms": null, "intervals_95": {}, "confusion": {"classes": classes, "counts": []}})
}

#[test]
fn measures_that_both_have_and_who_is_right_alone() {
    let root = tempfile::tempdir().unwrap();
    let right = |wrong: &[usize]| (0..10).map(|index| !wrong.contains(&index)).collect::<Vec<_>>();
    let a = evaluation(&root.path().join("a"), &metrics(0.5, 0.3, 0.6), &right(&[0, 1, 2, 3, 4]));
    let b = evaluation(&root.path().join("b"), &metrics(0.9, 0.7, 0.99), &right(&[5]));
    let comparison = Comparison::of(&a, &b).unwrap();
    let names: Vec<&str> = comparison.measures.iter().map(|row| row.measure).collect();
    assert_eq!(names, ["escape_rate", "accuracy"]);
    let [escape, accuracy] = &comparison.measures[..] else { panic!("two measures") };
    assert_eq!((escape.better, escape.intervals_overlap), (Better::B, None));
    assert!((accuracy.difference - 0.4).abs() < 1e-12);
    assert_eq!((accuracy.better, accuracy.intervals_overlap), (Better::B, Some(false)));
    let paired = comparison.paired.unwrap();
    assert_eq!((paired.n_images, paired.only_a_right, paired.only_b_right), (10, 1, 5));
    assert!((paired.p_value - 14.0 / 64.0).abs() < 1e-9, "{paired:?}");
    assert!(comparison.data_is_known_equal && comparison.a.judge == "gate bank");
    let same = Comparison::of(&a, &a).unwrap();
    assert_eq!((same.measures[1].better, same.measures[1].intervals_overlap), (Better::Equal, Some(true)));
}

#[test]
fn without_rows_there_is_no_paired_test() {
    let root = tempfile::tempdir().unwrap();
    let a = evaluation(&root.path().join("a"), &metrics(0.5, 0.3, 0.6), &[true]);
    let b = evaluation(&root.path().join("b"), &metrics(0.5, 0.3, 0.6), &[true, false]);
    let reason = |a: &Path, b: &Path| Comparison::of(a, b).unwrap().not_paired.unwrap();
    assert!(reason(&a, &b).contains("expected the images of"), "{}", reason(&a, &b));
    fs::remove_file(root.path().join("b/predictions.jsonl")).unwrap();
    assert!(reason(&a, &b).contains("b/predictions.jsonl: No such file"), "{}", reason(&a, &b));
    fs::write(root.path().join("b/predictions.jsonl"), "{}\n").unwrap();
    assert!(reason(&a, &b).contains("found in line 1 missing field `path`"), "{}", reason(&a, &b));
}

#[test]
fn a_head_of_two_classes_stands_beside_a_station() {
    let root = tempfile::tempdir().unwrap();
    let a = evaluation(&root.path().join("a"), &metrics(0.5, 0.3, 0.6), &[true]);
    let b = evaluation(&root.path().join("b"), &head(&["dent", "good"]), &[true]);
    assert_eq!(Comparison::of(&a, &b).unwrap().b.judge, "head h");
}

#[test]
fn a_domain_stands_beside_a_head_and_beside_another_domain() {
    let root = tempfile::tempdir().unwrap();
    let domain = |share: f64| {
        let mut domain = head(&["oak leaf: healthy", "oak leaf: mildew", "elm leaf: rust"]);
        domain["schema"] = json!("loupe.domain-metrics/1");
        domain["domain"] = json!("leaves");
        domain["language_model"] = json!({"accuracy": {"share": share, "n": 10, "interval_95": null}});
        domain.as_object_mut().unwrap().remove("head");
        domain
    };
    let [a, b] = [("a", 0.25), ("b", 0.75)].map(|(name, share)| {
        let path = evaluation(&root.path().join(name), &domain(share), &[true]);
        let named = |is_right: bool, class: &str| {
            let said = if is_right { "oak leaf: mildew" } else { "oak leaf: healthy" };
            json!({"path": "0.png", "sha256": "0", "class": class, "said": said, "is_right": is_right}).to_string()
        };
        fs::write(path.with_file_name("predictions.jsonl"), named(share > 0.5, "mildew")).unwrap();
        path
    });
    let domains = Comparison::of(&a, &b).unwrap();
    let spoken = domains.measures.last().unwrap();
    assert_eq!((spoken.measure, spoken.a.value, spoken.b.value), ("language_model.accuracy", 0.25, 0.75));
    assert_eq!((domains.a.judge.as_str(), domains.paired.unwrap().only_b_right), ("domain leaves", 1));
    let c = evaluation(&root.path().join("c"), &head(&["healthy", "mildew"]), &[true]);
    fs::write(
        c.with_file_name("predictions.jsonl"),
        json!({"path": "0.png", "sha256": "0", "class": "mildew", "said": "mildew"}).to_string(),
    )
    .unwrap();
    let paired = Comparison::of(&a, &c).unwrap().paired.unwrap();
    assert_eq!((paired.n_images, paired.only_a_right, paired.only_b_right), (1, 0, 1));
}

#[test]
fn how_well_strangers_are_known_is_compared_on_the_same_ones() {
    let root = tempfile::tempdir().unwrap();
    let domain = |name: &str, auroc: f64, strangers: Option<&str>| {
        let mut domain = head(&["oak leaf: healthy", "oak leaf: mildew"]);
        domain["schema"] = json!("loupe.domain-metrics/1");
        let share = |share: f64| json!({"share": share, "n": 10, "interval_95": {"low": 0.0, "high": 1.0}});
        domain["strangers"] =
            json!({"image_auroc": auroc, "own_refused": share(1.0 - auroc), "strangers_refused": share(auroc)});
        domain["strangers_sha256"] = json!(strangers);
        evaluation(&root.path().join(name), &domain, &[true])
    };
    let a = domain("a", 0.75, Some("one"));
    let compared = |b: &Path| {
        let comparison = Comparison::of(&a, b).unwrap();
        let of_strangers = comparison.measures.iter().filter(|row| row.measure.starts_with("strangers."));
        let rows: Vec<(&str, Better)> = of_strangers.map(|row| (row.measure, row.better)).collect();
        (comparison.strangers_differ, rows)
    };
    let own = ("strangers.own_refused", Better::B);
    let others = [("strangers.image_auroc", Better::B), ("strangers.strangers_refused", Better::B)];
    assert_eq!(compared(&domain("b", 1.0, Some("one"))), (false, vec![others[0], own, others[1]]));
    assert_eq!(compared(&domain("c", 1.0, Some("two"))), (true, vec![own]));
    assert_eq!(compared(&domain("d", 1.0, None)), (true, vec![own]), "a file of an older version");
}

#[test]
fn what_cannot_be_compared_is_one_line() {
    let root = tempfile::tempdir().unwrap();
    let a = evaluation(&root.path().join("a"), &metrics(0.5, 0.3, 0.6), &[true]);
    let changed = |key: &str, value: Json| {
        let mut changed = metrics(0.5, 0.3, 0.6);
        changed[key] = value;
        changed
    };
    let cases = [
        (changed("n_images", json!(12)), "expected the 10 images of A, found 12 images"),
        (
            changed("data_sha256", json!("b".repeat(64))),
            "expected the images and labels of A (SHA-256 aaaaaaaaaaaa), found others (SHA-256 bbbbbbbbbbbb)",
        ),
        (
            changed("schema", json!("loupe.report/1")),
            "expected metrics.json as `loupe eval` writes it, found the schema loupe.report/1",
        ),
        (
            head(&["a", "b", "c"]),
            "expected measures that mean what those of A (verdicts about parts) do, found names of 3 classes",
        ),
        (json!({}), "expected metrics.json as `loupe eval` writes it, found missing field `schema` at line 1 column 2"),
    ];
    for (metrics, expected) in cases {
        let b = evaluation(&root.path().join("b"), &metrics, &[true]);
        let error = Comparison::of(&a, &b).unwrap_err().to_string().replace(&a.display().to_string(), "A");
        assert_eq!(error, format!("{}: {expected}", b.display()));
    }
    assert!(Comparison::of(&a, Path::new("none.json")).unwrap_err().to_string().starts_with("none.json: No such file"));
}
