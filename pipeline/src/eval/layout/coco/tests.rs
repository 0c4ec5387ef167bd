use std::fs;

use image::GrayImage;
use serde_json::{Value as Json, json};

use super::*;
use crate::eval::{Layout, layout::name_of};

/// A data set with these pictures of 40 x 30 and these files of labels.
fn dataset(pictures: &[&str], labels: &[(&str, Json)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for (level, name) in (0..).zip(pictures) {
        GrayImage::from_pixel(40, 30, image::Luma([level])).save(place(name)).unwrap();
    }
    for (name, json) in labels {
        fs::write(place(name), json.to_string()).unwrap();
    }
    root
}

fn image(id: u64, file_name: &str) -> Json {
    json!({"id": id, "file_name": file_name, "width": 40, "height": 30, "license": 1})
}

fn annotation(id: u64, image_id: u64, category_id: u64, bbox: &[f64]) -> Json {
    json!({"id": id, "image_id": image_id, "category_id": category_id, "bbox": bbox, "area": 1.0, "iscrowd": 0, "segmentation": []})
}

fn labels(images: &[Json], annotations: &[Json]) -> Json {
    let categories = json!([{"id": 3, "name": "dent", "supercategory": "defect"}, {"id": 7, "name": "scratch"}]);
    json!({"info": {}, "images": images, "annotations": annotations, "categories": categories})
}

fn rows(dataset: &Dataset) -> Vec<(String, &str, usize)> {
    dataset.samples.iter().map(|sample| (name_of(&sample.path), sample.class.as_str(), sample.truths.len())).collect()
}

fn row(name: &str, class: &'static str, truths: usize) -> (String, &'static str, usize) {
    (name.to_owned(), class, truths)
}

#[test]
fn one_file_beside_its_pictures_is_split() {
    let images = ["a.png", "b.png", "c.png", "d.png", "e.png"];
    let annotations = [
        annotation(1, 4, 3, &[1.0, 2.0, 10.0, 5.0]),
        annotation(2, 5, 7, &[0.4, 0.0, 3.2, 29.6]),
        annotation(3, 5, 3, &[30.0, 20.0, 10.0, 10.0]),
    ];
    let listed: Vec<Json> = (1..).zip(images).map(|(id, name)| image(id, name)).collect();
    let root = dataset(&images, &[("labels.json", labels(&listed, &annotations)), ("notes.json", json!({"by": "me"}))]);
    for place in [root.path().to_owned(), root.path().join("labels.json")] {
        let found = Dataset::open(&place, Layout::Coco, None).unwrap();
        assert_eq!(found.golden, [root.path().join("a.png"), root.path().join("c.png")]);
        assert_eq!(rows(&found), [row("b.png", "good", 0), row("d.png", "dent", 1), row("e.png", "several", 2)]);
        assert_eq!(found.samples[2].truths[0].rect, Rect { x: 0, y: 0, width: 4, height: 30 });
        assert_eq!((found.samples[1].image_id, found.categories[1].id), (Some(4), 7));
        assert_eq!(found.problems, []);
    }
}

#[test]
fn parts_are_told_by_names_of_files_or_folders() {
    let train = labels(&[image(1, "a.png"), image(2, "b.png")], &[annotation(1, 2, 3, &[1.0, 1.0, 5.0, 5.0])]);
    let test = labels(&[image(1, "c.png"), image(2, "d.png")], &[annotation(1, 2, 3, &[1.0, 1.0, 5.0, 5.0])]);
    let cases: [([&str; 4], [&str; 2]); 3] = [
        (
            ["train/a.png", "train/b.png", "valid/c.png", "valid/d.png"],
            ["train/_annotations.coco.json", "valid/_annotations.coco.json"],
        ),
        (
            ["train2017/a.png", "train2017/b.png", "val2017/c.png", "val2017/d.png"],
            ["annotations/instances_train2017.json", "annotations/instances_val2017.json"],
        ),
        (["images/a.png", "images/b.png", "images/c.png", "images/d.png"], ["train.json", "test.json"]),
    ];
    for (pictures, files) in cases {
        let root = dataset(&pictures, &[(files[0], train.clone()), (files[1], test.clone())]);
        let found = Dataset::open(root.path(), Layout::Coco, None).unwrap();
        assert_eq!(found.golden.iter().map(|path| name_of(path)).collect::<Vec<_>>(), ["a.png"], "{files:?}");
        assert_eq!(rows(&found), [row("c.png", "good", 0), row("d.png", "dent", 1)], "{files:?}");
    }
}

#[test]
fn everything_wrong_in_a_file_is_one_line_each() {
    let images = [
        image(1, "a.png"),
        image(2, "gone.png"),
        image(1, "b.png"),
        image(4, "a.png"),
        json!({"id": 5, "file_name": "small.png", "width": 80, "height": 30}),
    ];
    let annotations = [
        annotation(1, 1, 3, &[35.0, 20.0, 10.0, 5.0]),
        annotation(1, 1, 3, &[1.0, 1.0, 5.0, 5.0]),
        annotation(2, 9, 3, &[1.0, 1.0, 5.0, 5.0]),
        annotation(3, 1, 8, &[1.0, 1.0, 5.0, 5.0]),
        annotation(4, 1, 3, &[50.0, 1.0, 5.0, 5.0]),
        annotation(5, 1, 3, &[1.0, 1.0, -5.0, 5.0]),
        annotation(6, 1, 3, &[1.0, 1.0, 5.0]),
        annotation(7, 2, 3, &[1.0, 1.0, 5.0, 5.0]),
        json!({"id": 8, "image_id": 1, "category_id": 3, "bbox": [1, 1, 5, 5], "iscrowd": 1}),
    ];
    let root = dataset(&["a.png", "b.png", "small.png"], &[("labels.json", labels(&images, &annotations))]);
    let found = Dataset::open(root.path(), Layout::Coco, None).unwrap();
    let place = format!("{}/", root.path().display());
    let told: Vec<String> = found.problems.iter().map(|problem| problem.message.replace(&place, "")).collect();
    let expected = [
        "labels.json, image 2: expected the picture gone.png, found none; left out",
        "labels.json, image 1: expected each id once, found it again; left out",
        "labels.json, image 4: expected each picture once, found a.png again; left out",
        "labels.json, image 5: expected small.png of 80 x 30, found 40 x 30; left out",
        "labels.json, images: expected every picture beside them, found 1 that are not listed, the first b.png; left out",
        "labels.json, annotation 1: expected a box within its picture of 40 x 30, found [35, 20, 10, 5]; cut",
        "labels.json, annotation 1: expected each id once, found it again; left out",
        "labels.json, annotation 2: expected the id of an image in this file, found 9; left out",
        "labels.json, annotation 3: expected the id of a category in this file, found 8; left out",
        "labels.json, annotation 4: expected a box within its picture of 40 x 30, found [50, 1, 5, 5]; left out",
        "labels.json, annotation 5: expected bbox [x, y, width, height] with a width and a height, found [1, 1, -5, 5]; left out",
        "labels.json, annotation 6: expected bbox [x, y, width, height] with a width and a height, found [1, 1, 5]; left out",
        "labels.json, annotation 8: expected iscrowd 0, found 1; left out",
    ];
    assert_eq!(told, expected);
    assert_eq!(rows(&found), [row("a.png", "several", 1)]);
    assert_eq!(found.samples[0].truths[0].rect, Rect { x: 35, y: 20, width: 5, height: 5 });
}

#[test]
fn no_image_with_an_entry_that_was_left_out_counts_as_good() {
    let images = [image(1, "a.png"), image(2, "b.png"), image(3, "c.png"), image(4, "c.png"), image(5, "d.png")];
    let annotations = [1, 2, 4].map(|of| annotation(1, of, 3, &[1.0, 1.0, 5.0, 5.0]));
    let pictures = ["a.png", "b.png", "c.png", "d.png"];
    let root = dataset(&pictures, &[("labels.json", labels(&images, &annotations))]);
    let found = Dataset::open(root.path(), Layout::Coco, None).unwrap();
    let good = found.samples.iter().filter(|sample| sample.class == "good").map(|sample| sample.path.clone());
    let good: Vec<String> = good.chain(found.golden.iter().cloned()).map(|path| name_of(&path)).collect();
    assert_eq!(good, ["d.png"], "{:?}", found.problems);
    assert!(found.samples.iter().any(|sample| name_of(&sample.path) == "a.png"));
}

#[test]
fn files_that_are_no_labels_are_one_line() {
    let listed = labels(&[image(1, "a.png")], &[]);
    let gone = labels(&[image(1, "gone.png")], &[]);
    let cases: [(Vec<(&str, Json)>, &str); 5] = [
        (
            vec![],
            ": expected a JSON file of COCO labels, beside its pictures or in annotations (layout coco), found a.png",
        ),
        (
            vec![("labels.json", json!({"images": 3, "annotations": []}))],
            "/labels.json: expected COCO labels: images, annotations and categories, found invalid type: integer `3`, expected a sequence at line 1",
        ),
        (
            vec![(
                "labels.json",
                json!({"images": [], "annotations": [{"id": 1, "image_id": 1, "category_id": 1}], "categories": []}),
            )],
            "/labels.json: expected COCO labels: images, annotations and categories, found missing field `bbox` at line 1",
        ),
        (
            vec![("a.json", listed.clone()), ("b.json", listed)],
            ": expected one file of COCO labels for each part, or the name of the one to judge by, found ",
        ),
        (
            vec![("labels.json", gone)],
            "/labels.json: expected images that can be judged, found no such image; the first problem: ",
        ),
    ];
    for (files, expected) in cases {
        let root = dataset(&["a.png"], &files);
        let error = Dataset::open(root.path(), Layout::Coco, None).unwrap_err().to_string();
        let expected = format!("{}{expected}", root.path().display());
        assert!(error.starts_with(&expected) && !error.contains('\n'), "{error}\nexpected {expected}");
    }
}

#[test]
fn boxes_are_rounded_to_pixels() {
    let rect = |x, y, width, height| Rect { x, y, width, height };
    let cases = [
        ([0.0, 0.0, 40.0, 30.0], Ok(rect(0, 0, 40, 30))),
        ([-0.4, 0.2, 40.6, 30.2], Ok(rect(0, 0, 40, 30))),
        ([5.2, 5.2, 0.2, 3.0], Ok(rect(5, 5, 1, 3))),
        ([-3.0, 5.0, 5.0, 5.0], Err(Misfit::SticksOut(rect(0, 5, 2, 5)))),
        ([-9.0, 5.0, 5.0, 5.0], Err(Misfit::Outside)),
        ([5.0, 5.0, 0.0, 5.0], Err(Misfit::NoBox)),
        ([f64::NAN, 5.0, 1.0, 5.0], Err(Misfit::NoBox)),
        ([1e300, 5.0, 1e300, 5.0], Err(Misfit::Outside)),
    ];
    for (bbox, expected) in cases {
        assert_eq!(box_in(&bbox, Size::new(40, 30)), expected, "{bbox:?}");
    }
}
