//! `loupe train --layout coco`, and what it taught, as a person runs them, on pictures that are drawn here.

use std::{fs, io::Cursor, process::Output};

use cameras::Rect;
use image::{GrayImage, ImageFormat, Luma};
use serde_json::{Value, json};

use crate::binary::{Bench, one_line};

const SIZE: [u32; 2] = [320, 240];
/// Written as people write them.
const KINDS: [&str; 2] = ["Dent", "edge-scratch"];

/// The box of the only flaw of a plate, for one of [`KINDS`].
fn flaw(number: u32, kind: &str) -> Rect {
    let (width, height) = if kind == "Dent" { (26, 26) } else { (44, 8) };
    Rect { x: 30 + number * 37 % 220, y: 30 + number * 53 % 160, width, height }
}

/// A ground plate with that flaw, a dark blot or a bright line, or without any.
fn plate(number: u32, kind: Option<&str>) -> Vec<u8> {
    let noise = |x: u32, y: u32| (x * 31 + y * 17 + number * 101).wrapping_mul(2_654_435_761) >> 28;
    let flaw = kind.map(|kind| (kind, flaw(number, kind)));
    let picture = GrayImage::from_fn(SIZE[0], SIZE[1], |x, y| {
        let inside =
            |rect: Rect| (rect.x..rect.x + rect.width).contains(&x) && (rect.y..rect.y + rect.height).contains(&y);
        let light = match flaw {
            Some(("Dent", rect)) if x.abs_diff(rect.x + 13).pow(2) + y.abs_diff(rect.y + 13).pow(2) < 169 => 40,
            Some(("edge-scratch", rect)) if inside(rect) => 235,
            _ => 120 + y % 6 * 6 + noise(x, y / 3),
        };
        Luma([light as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Draws plates of each kind into `data` and the labels of that part beside them.
fn draw(bench: &Bench, part: &str, numbers: std::ops::Range<u32>) {
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for (category, kind) in (1..).zip(KINDS) {
        for number in numbers.clone() {
            let (id, name) = (images.len() + 1, format!("{part}_{kind}_{number:02}.png"));
            let Rect { x, y, width, height } = flaw(number, kind);
            bench.write(&format!("data/{name}"), plate(number, Some(kind)));
            images.push(json!({"id": id, "file_name": name, "width": SIZE[0], "height": SIZE[1]}));
            annotations.push(json!({
                "id": id, "image_id": id, "category_id": category, "bbox": [x, y, width, height], "area": width * height, "iscrowd": 0
            }));
        }
    }
    let categories: Vec<Value> = (1..).zip(KINDS).map(|(id, name): (u32, _)| json!({"id": id, "name": name})).collect();
    let labels = json!({"images": images, "annotations": annotations, "categories": categories});
    bench.write(&format!("data/{part}.json"), labels.to_string());
}

fn printed(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn boxes_are_learned_measured_and_named_where_a_gate_finds_them() {
    let bench = Bench::new();
    draw(&bench, "train", 0..12);
    draw(&bench, "test", 40..46);
    let loupe = |arguments: &[&str]| Some(bench.with_models(arguments, &["language_model"])?.output().unwrap());
    let train = ["train", "--head-only", "--layout", "coco", "--data", "data", "--output", "head", "--json"];
    let Some(trained) = loupe(&train) else { return };
    let trained = printed(&trained);
    assert_eq!(
        (&trained["labels"], &trained["scope"]),
        (&json!(["Dent", "edge-scratch", "good"]), &json!({"places": {"side_px": 88}}))
    );
    assert!(fs::read_to_string(bench.path("head/MODEL_CARD.md")).unwrap().contains("classes for a place"));

    let eval = ["eval", "data", "--layout", "coco", "--head", "head", "--output", "out", "--json"];
    let metrics = printed(&loupe(&eval).unwrap());
    // Of each of 12 pictures a box and a place without one.
    assert_eq!((metrics["n_images"].as_u64(), metrics["part"].as_str()), (Some(24), Some("test")));
    assert!(metrics["accuracy"].as_f64().unwrap() > 0.9, "{metrics}");
    let first = fs::read_to_string(bench.path("out/predictions.jsonl")).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(first["place"], json!({"rect": flaw(40, "Dent"), "side_px": 88}));

    for number in 60..80 {
        bench.write(&format!("good/{number}.png"), plate(number, None));
    }
    let enrolled = loupe(&["enroll", "--station", "plate", "--good", "good"]).unwrap();
    assert_eq!(enrolled.status.code(), Some(0), "{}", String::from_utf8_lossy(&enrolled.stderr));
    for kind in KINDS {
        let picture = format!("data/test_{kind}_42.png");
        let inspect = ["inspect", "--station", "plate", "--head", "head", "--no-text", "--json", &picture];
        let report = printed(&loupe(&inspect).unwrap());
        assert_eq!((&report["verdict"], &report["decided_by"]), (&json!("fail"), &json!("bank")), "{report}");
        assert_eq!(report["defects"][0]["code"], kind, "{report}");
        assert_eq!(report["defects"][0]["probability"], report["diagnosis"]["probability"], "{report}");
    }
    let both =
        ["eval", "data", "--layout", "coco", "--station", "plate", "--eyes", "head", "--output", "both", "--json"];
    let metrics = printed(&loupe(&both).unwrap());
    // A bank's regions are larger than the boxes that they find; the name of each is that of its box nevertheless.
    let detections: Value =
        serde_json::from_slice(&fs::read(bench.path("both/coco_detections.json")).unwrap()).unwrap();
    let named_rightly = |one: &&Value| one["category_id"] == if one["image_id"].as_u64() <= Some(6) { 1 } else { 2 };
    let detections = detections.as_array().unwrap();
    assert!(detections.len() >= 12 && detections.iter().filter(named_rightly).count() >= 10, "{detections:?}");
    assert!(metrics["gate"].as_str().unwrap().starts_with("station, named by head "), "{}", metrics["gate"]);
    // Whole pictures are not what it has learned from, but cut places may lie in class folders.
    let spotted = loupe(&["train", "--layout", "coco", "--data", "good", "--output", "none"]).unwrap();
    assert!(one_line(&spotted).contains("a JSON file of COCO labels"), "{spotted:?}");
}
