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
mod tests;
