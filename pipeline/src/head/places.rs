//! Labelled boxes as pictures: what each shows is of its kind, and beside them lie places that are good.

use std::path::{Path, PathBuf};

use cameras::{Place, Rect, Size};
use fastrand::Rng;
use image::{ImageDecoder as _, ImageReader, metadata::Orientation};
use models::{Scope, domain::GOOD};

use super::{LeftOut, Part, Picture, Reason, layout::Listing};
use crate::eval::layout::{Dataset, Sample};

/// Side of what is shown over the longer side of a middling box: half as much as it is large on either side.
const CONTEXT_RATIO: u32 = 2;
/// Less shows less than an encoder has cells for.
const LEAST_SIDE_PX: u32 = 64;
/// Places that are tried until one is free of boxes.
const TRIES: usize = 20;

/// Returns the boxes of every one of the `parts` of the data set in `root`, and of each of its pictures one good place, as large as one of the boxes: of a template
/// the place of a box, else one that shows none. All are shown in squares of `side_px`; without that, of twice the longer side of a middling box
/// of the parts that are learned from. The same data give the same places.
pub(super) fn listed(root: &Path, parts: Vec<(&str, Dataset)>, side_px: Option<u32>) -> Listing {
    let parts: Vec<(Part, Dataset)> =
        parts.into_iter().map(|(name, dataset)| (Part::of_folder(name).unwrap_or(Part::Train), dataset)).collect();
    let boxes = boxes_of(parts.iter().filter(|(part, _)| *part != Part::Test).map(|(_, dataset)| dataset));
    let side_px = side_px.unwrap_or_else(|| shown_side_px(&boxes));
    let mut listing = Listing { pictures: Vec::new(), problems: Vec::new(), scope: Scope::Places { side_px } };
    for (part, dataset) in parts {
        for sample in &dataset.samples {
            listing.add(part, sample, (side_px, &boxes));
        }
        for problem in dataset.problems {
            listing.tell(part, root, problem.message);
        }
    }
    listing
}

impl Listing {
    fn tell(&mut self, part: Part, path: &Path, message: String) {
        self.problems.push((part, LeftOut { path: path.to_owned(), reason: Reason::BadLabel(message) }));
    }

    fn add(&mut self, part: Part, sample: &Sample, (side_px, boxes): (u32, &[Size])) {
        let Some(size) = upright_size(&sample.path) else {
            let message = format!(
                "{}: expected a picture with labelled boxes, found none that can be read",
                sample.path.display()
            );
            return self.tell(part, &sample.path, message);
        };
        let mut picture = |path: &Path, rect: Rect, class: &str| {
            let (path, class) = (path.to_owned(), class.to_owned());
            self.pictures.push(Picture { path, place: Some(Place { rect, side_px }), class, part });
        };
        let (inside, outside): (Vec<_>, Vec<_>) = sample.truths.iter().partition(|truth| lies_in(truth.rect, size));
        for truth in inside {
            picture(&sample.path, truth.rect, &truth.class);
        }
        if let Some((path, rect)) = good_place(sample, size, (side_px, boxes)) {
            picture(&path, rect, GOOD);
        }
        for truth in outside {
            let Rect { x, y, width, height } = truth.rect;
            let found = format!("{width} x {height} px at {x}, {y}");
            let message = format!("{}: expected a box within its {size}, found {found}", sample.path.display());
            self.tell(part, &sample.path, message);
        }
    }
}

fn lies_in(rect: Rect, size: Size) -> bool {
    let ends_by = |start: u32, length: u32, end: u32| start.checked_add(length).is_some_and(|last| last <= end);
    ends_by(rect.x, rect.width, size.width_px) && ends_by(rect.y, rect.height, size.height_px)
}

/// Returns the size of the picture at `path` as it is decoded, by its header.
pub(super) fn upright_size(path: &Path) -> Option<Size> {
    let mut decoder = ImageReader::open(path).ok()?.with_guessed_format().ok()?.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    Some(match decoder.orientation().unwrap_or(Orientation::NoTransforms) {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            Size::new(height, width)
        }
        _ => Size::new(width, height),
    })
}

/// Returns the sizes of all boxes, by their longer side.
fn boxes_of<'a>(datasets: impl Iterator<Item = &'a Dataset>) -> Vec<Size> {
    let truths = datasets.flat_map(|dataset| &dataset.samples).flat_map(|sample| &sample.truths);
    let mut sizes: Vec<Size> = truths.map(|truth| Size::new(truth.rect.width, truth.rect.height)).collect();
    sizes.sort_by_key(|size| (size.width_px.max(size.height_px), size.width_px));
    sizes
}

fn shown_side_px(boxes: &[Size]) -> u32 {
    let middling = boxes.get(boxes.len() / 2).map_or(0, |size| size.width_px.max(size.height_px));
    middling.saturating_mul(CONTEXT_RATIO).max(LEAST_SIDE_PX)
}

/// Returns a place that is good and the file that it is in; `None` where none was found, or a label was left out.
fn good_place(sample: &Sample, size: Size, (side_px, boxes): (u32, &[Size])) -> Option<(PathBuf, Rect)> {
    let mut random = Rng::with_seed(seed(sample));
    if let (Some(template), false) = (&sample.template, sample.truths.is_empty()) {
        return Some((template.clone(), sample.truths[random.usize(..sample.truths.len())].rect));
    }
    if sample.is_doubtful || boxes.is_empty() {
        return None;
    }
    let Size { width_px, height_px } = boxes[random.usize(..boxes.len())];
    let (right, bottom) = (size.width_px.checked_sub(width_px)?, size.height_px.checked_sub(height_px)?);
    let rect = |random: &mut Rng| {
        let (x, y) = (random.u32(..=right), random.u32(..=bottom));
        Rect { x, y, width: width_px, height: height_px }
    };
    let shows_no_box = |rect: &Rect| {
        let shown = Place { rect: *rect, side_px }.shown(size);
        !sample.truths.iter().any(|truth| shown.meets(truth.rect))
    };
    let free = (0..TRIES).map(|_| rect(&mut random)).find(shows_no_box)?;
    Some((sample.path.clone(), free))
}

/// Depends on the picture alone, so that what is added to a data set moves no other place.
fn seed(sample: &Sample) -> u64 {
    let name = sample.path.file_name().unwrap_or_default();
    name.as_encoded_bytes().iter().fold(0, |seed: u64, &byte| seed.wrapping_mul(31).wrapping_add(byte.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
}
