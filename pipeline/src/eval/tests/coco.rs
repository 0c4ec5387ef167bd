use std::process::Command;

use serde_json::{Value as Json, json};

use super::*;

/// Four good parts, one whose defect is found and named rightly, and one whose label lies elsewhere and is of another category.
fn write_set(set: &Path) {
    let mut images = Vec::new();
    for (id, level) in (1..).zip([100, 102, 104, 103, 102]) {
        save(&set.join(format!("images/{id}.png")), &part(level, (id == 5).then_some(SPOT)));
        images.push(json!({"id": id, "file_name": format!("{id}.png"), "width": SIDE_PX, "height": SIDE_PX}));
    }
    let faint = GrayImage::from_fn(SIDE_PX, SIDE_PX, |x, _| Luma([if x == 5 { 200 } else { 102 }]));
    save(&set.join("images/70.png"), &faint);
    images.push(json!({"id": 70, "file_name": "70.png", "width": SIDE_PX, "height": SIDE_PX}));
    let annotations = json!([
        {"id": 1, "image_id": 5, "category_id": 9, "bbox": [4, 4, 4, 4]},
        {"id": 2, "image_id": 70, "category_id": 5, "bbox": [11, 11, 3, 4]},
        {"id": 3, "image_id": 71, "category_id": 5, "bbox": [1, 1, 3, 4]},
    ]);
    let categories = json!([{"id": 5, "name": "pcb_short"}, {"id": 9, "name": "pcb_open"}]);
    let labels = json!({"images": images, "annotations": annotations, "categories": categories});
    fs::write(set.join("labels.json"), labels.to_string()).unwrap();
}

fn json(path: &Path) -> Json {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn coco_labels_are_judged_and_written_with_their_own_numbers() {
    let root = tempfile::tempdir().unwrap();
    write_set(&root.path().join("set"));
    let plan = plan(root.path(), Layout::Coco);
    let metrics = evaluate(&plan, &mut MeanDifference::default(), &mut Calls::default()).unwrap();
    // Of the good ones 1.png and 3.png were learned from.
    assert_eq!((metrics.n_golden, metrics.n_good, metrics.n_defective), (2, 2, 2));
    let value = |name: &str| metrics.measures[name];
    assert_eq!((value("precision"), value("recall"), value("map_033")), (Some(0.5), Some(0.5), Some(0.5)));
    assert_eq!((value("image_auroc"), value("escape_rate"), value("pixel_auroc")), (Some(1.0), Some(0.0), None));
    assert_eq!(metrics.problems.len(), 1);

    let truth = json(&plan.output.join("coco_ground_truth.json"));
    let ids: Vec<u64> = truth["images"].as_array().unwrap().iter().map(|image| image["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [2, 4, 5, 70]);
    assert_eq!(truth["images"][3], json!({"id": 70, "file_name": "images/70.png", "width": 16, "height": 16}));
    assert_eq!(truth["categories"], json!([{"id": 5, "name": "pcb_short"}, {"id": 9, "name": "pcb_open"}]));
    let expected = json!({"id": 2, "image_id": 70, "category_id": 5, "bbox": [11.0, 11.0, 3.0, 4.0], "area": 12.0, "iscrowd": 0,
        "segmentation": [[11, 11, 14, 11, 14, 15, 11, 15]]});
    assert_eq!((truth["annotations"].as_array().unwrap().len(), &truth["annotations"][1]), (2, &expected));
    let found = json(&plan.output.join("coco_detections.json"));
    let boxes: Vec<_> =
        found.as_array().unwrap().iter().map(|found| (&found["image_id"], &found["category_id"])).collect();
    assert_eq!(boxes, [(&json!(5), &json!(9)), (&json!(70), &json!(9))]);
    assert!(found[0]["score"].as_f64() > found[1]["score"].as_f64() && found[0]["bbox"] == json!([4, 4, 4, 4]));
    if let Some(precision) = average_precision(&plan.output) {
        assert!((precision - 0.5).abs() < 1e-6, "{precision}");
    }
}

#[test]
fn pairs_are_written_as_coco_with_new_numbers() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    for (id, labels) in [("a", "4 4 8 8 1\n"), ("b", "12 12 15 15 2\n")] {
        save(&set.join(format!("val/{id}_temp.png")), &part(60, None));
        save(&set.join(format!("val/{id}_test.png")), &part(60, Some(SPOT)));
        fs::write(set.join(format!("val/{id}.txt")), labels).unwrap();
    }
    let plan = plan(root.path(), Layout::Deeppcb);
    evaluate(&plan, &mut MeanDifference::default(), &mut Calls::default()).unwrap();
    let truth = json(&plan.output.join("coco_ground_truth.json"));
    assert_eq!(truth["categories"], json!([{"id": 1, "name": "pcb_open"}, {"id": 2, "name": "pcb_short"}]));
    assert_eq!((&truth["images"][1]["id"], &truth["images"][1]["file_name"]), (&json!(2), &json!("val/b_test.png")));
    assert_eq!(truth["annotations"][1]["category_id"], 2);
}

#[test]
fn without_any_detection_there_is_no_file_of_them() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    save(&set.join("val/a_temp.png"), &part(60, None));
    save(&set.join("val/a_test.bmp"), &part(60, None));
    fs::rename(set.join("val/a_test.bmp"), set.join("val/a_test.png")).unwrap();
    fs::write(set.join("val/a.txt"), "4 4 8 8 1\n").unwrap();
    let plan = plan(root.path(), Layout::Deeppcb);
    fs::create_dir(&plan.output).unwrap();
    let detections = plan.output.join("coco_detections.json");
    fs::write(&detections, "of an earlier evaluation").unwrap();
    let metrics = evaluate(&plan, &mut MeanDifference::default(), &mut Calls::default()).unwrap();
    assert_eq!(metrics.boxes.map(|boxes| (boxes.misses, boxes.precision())), Some((1, None)));
    assert!(!detections.exists() && plan.output.join("coco_ground_truth.json").exists());
}

/// Of pycocotools at an overlap of 0.33, where there is one.
fn average_precision(output: &Path) -> Option<f64> {
    const SCRIPT: &str = r#"
import sys
import numpy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
truth = COCO(sys.argv[1])
measured = COCOeval(truth, truth.loadRes(sys.argv[2]), "bbox")
measured.params.iouThrs = numpy.array([0.33])
measured.evaluate()
measured.accumulate()
precision = measured.eval["precision"][0, :, :, 0, -1]
print(precision[precision > -1].mean())
"#;
    let run = |script: &str| {
        let files = ["coco_ground_truth.json", "coco_detections.json"].map(|name| output.join(name));
        Command::new("python3").args(["-c", script]).args(files).output().ok()
    };
    if !run("import pycocotools").is_some_and(|output| output.status.success()) {
        #[expect(clippy::print_stderr, reason = "a skipped test says why")]
        {
            eprintln!("pycocotools was not asked: expected a python3 that has it, found none");
        }
        return None;
    }
    let output = run(SCRIPT).expect("python3 has just run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().last().unwrap().parse().unwrap())
}
