use std::fs;

use image::ImageEncoder as _;

use super::*;
use crate::head::{ClassLayout, Parts};

/// Writes two pairs of a training part and one of a validation part, each with two boxes.
fn pairs() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (part, id) in [("train", 1_u8), ("train", 2), ("val", 3)] {
        let folder = root.path().join(part);
        fs::create_dir_all(&folder).unwrap();
        for (kind, grey) in [("test", id), ("temp", 100 + id)] {
            let picture = image::GrayImage::from_pixel(200, 100, image::Luma([grey]));
            picture.save(folder.join(format!("{id}_{kind}.png"))).unwrap();
        }
        fs::write(folder.join(format!("{id}.txt")), "10 10 30 20 1\n150 60 160 90 4\n").unwrap();
    }
    root
}

fn classes(listing: &Listing, part: Part) -> Vec<&str> {
    let of_part = listing.pictures.iter().filter(|picture| picture.part == part);
    of_part.map(|picture| picture.class.as_str()).collect()
}

#[test]
fn boxes_of_pairs_are_their_types_and_the_same_places_of_templates_are_good() {
    let root = pairs();
    let listing = ClassLayout::Deeppcb.read(root.path(), None).unwrap();
    assert_eq!(classes(&listing, Part::Train), ["pcb_open", "pcb_spur", "good", "pcb_open", "pcb_spur", "good"]);
    assert_eq!(classes(&listing, Part::Validation), ["pcb_open", "pcb_spur", "good"]);
    let [first, second, good] = &listing.pictures[..3] else { panic!("{listing:?}") };
    assert!(good.path.ends_with("3_temp.png") && [first.place, second.place].contains(&good.place), "{good:?}");
    let shown = first.open("test").unwrap();
    assert_eq!((shown.size(), shown.pixels()[0]), (Size::new(64, 64), 3));
    // Every place is a picture of its own, of one file.
    let parts = Parts::of(listing.pictures);
    assert_eq!((parts.pictures.len(), parts.left_out.len()), (9, 0));
    let contents: std::collections::BTreeSet<_> =
        parts.pictures.iter().map(|(picture, digest)| picture.content(digest)).collect();
    assert_eq!(contents.len(), 9);
}

#[test]
fn coco_boxes_have_free_places_beside_them_and_broken_labels_are_told() {
    let root = tempfile::tempdir().unwrap();
    image::GrayImage::from_pixel(400, 300, image::Luma([9])).save(root.path().join("a.png")).unwrap();
    let annotation = |id: u32, image: u32, bbox: [u32; 4]| serde_json::json!({"id": id, "image_id": image, "category_id": 1, "bbox": bbox, "area": 1, "iscrowd": 0});
    let labels = serde_json::json!({
        "images": [{"id": 1, "file_name": "a.png", "width": 400, "height": 300}, {"id": 2, "file_name": "gone.png", "width": 1, "height": 1}],
        "annotations": [annotation(1, 1, [150, 100, 40, 30]), annotation(2, 1, [200, 120, 20, 20])],
        "categories": [{"id": 1, "name": "dent"}],
    });
    fs::write(root.path().join("labels.json"), labels.to_string()).unwrap();
    let listing = ClassLayout::Coco.read(root.path(), None).unwrap();
    assert_eq!(classes(&listing, Part::Train), ["dent", "dent", "good"]);
    // Twice the longer side of the box of 40 x 30.
    assert_eq!(listing.scope, Scope::Places { side_px: 80 });
    let [first, second, good] = [0, 1, 2].map(|index| listing.pictures[index].place.unwrap());
    let shown = good.shown(Size::new(400, 300));
    assert!(!shown.meets(first.rect) && !shown.meets(second.rect), "{good:?}");
    // Others look at them as they have learned to.
    let others = ClassLayout::Coco.read(root.path(), Some(Scope::Places { side_px: 100 })).unwrap();
    assert!(others.pictures.iter().all(|picture| picture.place.unwrap().side_px == 100));
    let error = ClassLayout::Coco.read(root.path(), Some(Scope::Picture)).unwrap_err().to_string();
    assert!(
        error.ends_with("expected whole pictures, which these eyes have learned from, found labelled boxes"),
        "{error}"
    );
    assert_eq!(ClassLayout::Coco.read(root.path(), None).unwrap().pictures, listing.pictures);
    let [(Part::Train, problem)] = listing.problems.as_slice() else { panic!("{:?}", listing.problems) };
    assert!(problem.message().contains("expected the picture"), "{}", problem.message());
}

#[test]
fn nothing_is_called_good_where_a_label_was_left_out_and_boxes_outside_are_told() {
    let root = pairs();
    fs::write(root.path().join("train/1.txt"), "10 10 30 20 9\n").unwrap();
    fs::write(root.path().join("train/2.txt"), "10 10 30 20 1\n190 60 210 90 4\n").unwrap();
    let listing = ClassLayout::Deeppcb.read(root.path(), None).unwrap();
    assert_eq!(classes(&listing, Part::Train), ["pcb_open", "good"]);
    let told: Vec<String> = listing.problems.iter().map(|(_, problem)| problem.message()).collect();
    assert!(told.len() == 2 && told.iter().any(|line| line.contains("type 1 to 6")), "{told:?}");
    let outside = "2_test.png: expected a box within its 200 x 100, found 20 x 30 px at 190, 60";
    assert!(told.iter().any(|line| line.ends_with(outside)), "{told:?}");
}

#[test]
fn a_template_that_all_pairs_share_teaches_and_measures() {
    let root = pairs();
    for (part, id) in [("train", 2), ("val", 3)] {
        fs::copy(root.path().join("train/1_temp.png"), root.path().join(format!("{part}/{id}_temp.png"))).unwrap();
    }
    let parts = Parts::of(ClassLayout::Deeppcb.read(root.path(), None).unwrap().pictures);
    // Places may be the same by chance; their file alone leaves none out.
    let good: usize = [Part::Train, Part::Validation].map(|part| parts.count_of(part, "good")).iter().sum();
    let same = parts.left_out.iter().filter(|one| one.path.to_string_lossy().ends_with("_temp.png")).count();
    assert_eq!((good + same, parts.left_out.len()), (3, same));
    assert!(good > 0);
}

#[test]
fn what_is_held_out_leaves_something_of_every_class() {
    let root = pairs();
    fs::remove_dir_all(root.path().join("val")).unwrap();
    fs::write(root.path().join("train/1.txt"), "10 10 30 20 1\n").unwrap();
    fs::write(root.path().join("train/2.txt"), "10 10 30 20 1\n150 60 160 90 4\n").unwrap();
    for seed in 0..8 {
        let mut parts = Parts::of(ClassLayout::Deeppcb.read(root.path(), None).unwrap().pictures);
        parts.split(root.path(), seed).unwrap();
        assert_eq!(parts.count_of(Part::Train, "pcb_spur"), 1, "seed {seed}");
    }
}

#[test]
fn files_are_held_out_with_all_their_places() {
    let root = pairs();
    fs::remove_dir_all(root.path().join("val")).unwrap();
    for seed in 0..8 {
        let mut parts = Parts::of(ClassLayout::Deeppcb.read(root.path(), None).unwrap().pictures);
        parts.split(root.path(), seed).unwrap();
        let held: std::collections::BTreeSet<_> = parts
            .pictures
            .iter()
            .filter(|(picture, _)| picture.part == Part::Validation)
            .map(|(picture, _)| &picture.path)
            .collect();
        // A picture of the two with boxes, and a template of the two.
        assert_eq!(held.len(), 2);
        assert!(
            parts
                .pictures
                .iter()
                .all(|(picture, _)| { held.contains(&picture.path) == (picture.part == Part::Validation) })
        );
    }
}

#[test]
fn places_of_a_file_in_a_stricter_part_are_left_out() {
    let root = pairs();
    let mut pictures = ClassLayout::Deeppcb.read(root.path(), None).unwrap().pictures;
    pictures[0].part = Part::Test;
    let parts = Parts::of(pictures);
    let left_out: Vec<String> = parts.left_out.iter().map(LeftOut::message).collect();
    assert!(left_out.len() == 1 && left_out[0].contains("leakage"), "{left_out:?}");
}

/// EXIF that states nothing but an orientation: camera turned by a quarter.
const TURNED: [u8; 26] =
    *b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00";

#[test]
fn boxes_lie_in_pictures_as_they_are_decoded_upright() {
    let root = tempfile::tempdir().unwrap();
    // Stored 200 x 100, shown 100 x 200, bright in its lowest 40 rows: those are the last columns that are stored.
    let stored = image::GrayImage::from_fn(200, 100, |x, _| image::Luma([if x < 160 { 20 } else { 220 }]));
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.set_exif_metadata(TURNED.to_vec()).unwrap();
    encoder.encode_image(&stored).unwrap();
    fs::create_dir(root.path().join("train")).unwrap();
    fs::write(root.path().join("train/1_test.jpg"), bytes).unwrap();
    image::GrayImage::new(100, 200).save(root.path().join("train/1_temp.jpg")).unwrap();
    // The first box lies outside of the stored picture, the second outside of the shown one.
    fs::write(root.path().join("train/1.txt"), "20 170 60 190 1\n150 10 190 50 4\n").unwrap();
    let listing = ClassLayout::Deeppcb.read(root.path(), None).unwrap();
    assert_eq!(classes(&listing, Part::Train), ["pcb_open", "good"]);
    let [(_, problem)] = listing.problems.as_slice() else { panic!("{:?}", listing.problems) };
    assert!(problem.message().contains("within its 100 x 200"), "{}", problem.message());
    let shown = listing.pictures[0].open("test").unwrap();
    let middle = shown.pixels()[(shown.size().height_px / 2 * shown.size().width_px + 32) as usize];
    assert!(middle > 180, "{middle}");
}
