//! Labelled boxes as pictures: what each shows is of its kind, and beside them lie places that are good.

use std::path::{Path, PathBuf};

use cameras::{Place, Rect, Size};
use fastrand::Rng;
use models::{Scope, domain::GOOD};

use super::{HeadError, LeftOut, Part, Picture, Reason, layout::Listing};
use crate::eval::layout::{Dataset, Layout, Sample, parts};

/// Side of what is shown over the longer side of a middling box: half as much as it is large on either side.
const CONTEXT_RATIO: u32 = 2;
/// Less shows less than an encoder has cells for.
const LEAST_SIDE_PX: u32 = 64;
/// Places that are tried until one is free of boxes.
const TRIES: usize = 20;

/// Returns the boxes of every part of the data set in `root`, and of each of its pictures one good place: of a template the place of one of its
/// boxes, else one as large as a middling box that shows no box. All are shown in squares of `side_px`; without that, of twice the longer side of
/// a middling box of the parts that are learned from. The same data give the same places.
///
/// # Errors
/// When it is not laid out so, or a file of labels cannot be read.
pub(super) fn read(root: &Path, layout: Layout, side_px: Option<u32>) -> Result<Listing, HeadError> {
    let parts: Vec<(Part, Dataset)> = parts(root, layout)?
        .into_iter()
        .map(|(name, dataset)| (Part::of_folder(name).unwrap_or(Part::Train), dataset))
        .collect();
    let learned = parts.iter().filter(|(part, _)| *part != Part::Test).map(|(_, dataset)| dataset);
    let side_px = side_px.unwrap_or_else(|| shown_side_px(learned));
    let scope = Scope::Places { side_px };
    let mut listing = Listing { pictures: Vec::new(), problems: Vec::new(), scope };
    for (part, dataset) in parts {
        for sample in &dataset.samples {
            listing.add(part, sample, side_px);
        }
        let problem = |message| LeftOut { path: root.to_owned(), reason: Reason::BadLabel(message) };
        listing.problems.extend(dataset.problems.into_iter().map(|one| problem(one.message)));
    }
    Ok(listing)
}

impl Listing {
    fn add(&mut self, part: Part, sample: &Sample, side_px: u32) {
        let boxes = sample.truths.iter().map(|truth| (sample.path.clone(), truth.rect, truth.class.clone()));
        let good = good_place(sample, side_px).map(|(path, rect)| (path, rect, GOOD.to_owned()));
        let picture = |(path, rect, class)| Picture { path, place: Some(Place { rect, side_px }), class, part };
        self.pictures.extend(boxes.chain(good).map(picture));
    }
}

fn shown_side_px<'a>(datasets: impl Iterator<Item = &'a Dataset>) -> u32 {
    let truths = datasets.flat_map(|dataset| &dataset.samples).flat_map(|sample| &sample.truths);
    let mut sides: Vec<u32> = truths.map(|truth| truth.rect.width.max(truth.rect.height)).collect();
    sides.sort_unstable();
    sides.get(sides.len() / 2).map_or(0, |side| side.saturating_mul(CONTEXT_RATIO)).max(LEAST_SIDE_PX)
}

/// Returns a place that is good and the file that it is in; `None` where none was found.
fn good_place(sample: &Sample, side_px: u32) -> Option<(PathBuf, Rect)> {
    let mut random = Rng::with_seed(seed(sample));
    if let (Some(template), false) = (&sample.template, sample.truths.is_empty()) {
        return Some((template.clone(), sample.truths[random.usize(..sample.truths.len())].rect));
    }
    let (width, height) = image::image_dimensions(&sample.path).ok()?;
    let rect = |random: &mut Rng| Rect { x: random.u32(..width), y: random.u32(..height), width: 1, height: 1 };
    let shows_no_box = |rect: &Rect| {
        let shown = Place { rect: *rect, side_px }.shown(Size::new(width, height));
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
        let [problem] = listing.problems.as_slice() else { panic!("{:?}", listing.problems) };
        assert!(problem.message().contains("expected the picture"), "{}", problem.message());
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
            // One of four: two pictures and their templates.
            assert_eq!(held.len(), 1);
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
