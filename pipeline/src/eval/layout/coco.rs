use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use cameras::{Rect, Size};

use super::{Dataset, Problem, ProblemKind, Sample, wrong_layout};
use crate::eval::{
    EvalError,
    coco::{Annotation, Category, Image},
    metrics::Truth,
};
use files::{LabelFile, PARTS, label_files};
use pictures::Pictures;

mod files;
mod pictures;

/// The class of images without annotations, and of those with several.
const GOOD: &str = "good";
const SEVERAL: &str = "several";

/// The strictest part is judged; unlabelled images of the training part are learned from. Where there is one file alone, every other
/// unlabelled image is learned from, and the rest judged.
pub(super) fn open(root: &Path) -> Result<Dataset, EvalError> {
    let mut files = label_files(root)?;
    let Some(judged) = files.pop() else { return Err(no_labels(root)) };
    let mut dataset = read(&judged)?;
    if let Some(train) = files.into_iter().find(|file| file.part == 0) {
        let train = read(&train)?;
        dataset.golden = good_of(&train.samples).map(|sample| sample.path.clone()).collect();
        dataset.problems.extend(train.problems);
    } else {
        dataset.golden = good_of(&dataset.samples).step_by(2).map(|sample| sample.path.clone()).collect();
        let learned: HashSet<PathBuf> = dataset.golden.iter().cloned().collect();
        dataset.samples.retain(|sample| !learned.contains(&sample.path));
    }
    if dataset.samples.is_empty() {
        let problem = dataset.problems.first().map_or("none", |problem| problem.message.as_str());
        return Err(EvalError::WrongFile {
            path: judged.path,
            expected: "images that can be judged".to_owned(),
            found: format!("no such image; the first problem: {problem}"),
        });
    }
    Ok(dataset)
}

/// Returns every part of the data set in `root` that has a file of labels, with its name, `train`, `val`, `test` or none.
///
/// # Errors
/// As [`Dataset::open`].
pub(crate) fn parts(root: &Path) -> Result<Vec<(&'static str, Dataset)>, EvalError> {
    let files = label_files(root)?;
    if files.is_empty() {
        return Err(no_labels(root));
    }
    files.iter().map(|file| Ok((PARTS[file.part], read(file)?))).collect()
}

fn no_labels(root: &Path) -> EvalError {
    wrong_layout(root, "a JSON file of COCO labels, beside its pictures or in annotations (layout coco)")
}

fn good_of(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(|sample| !sample.is_defect)
}

/// The images of one file with their boxes; what is wrong with them is told and left out.
fn read(file: &LabelFile) -> Result<Dataset, EvalError> {
    let mut reader = Reader { file: &file.path, problems: Vec::new(), doubtful: HashSet::new() };
    let mut samples = Vec::new();
    let positions = reader.images(&file.labels.images, &mut samples)?;
    let categories = reader.categories(&file.labels.categories);
    let mut ids = HashSet::new();
    for annotation in &file.labels.annotations {
        if !ids.insert(annotation.id) {
            reader.told_twice("annotation", annotation.id);
            reader.doubtful.extend(positions.get(&annotation.image_id).copied().flatten());
            continue;
        }
        match positions.get(&annotation.image_id) {
            None => reader.bad(annotation, "the id of an image in this file", annotation.image_id),
            // Its image is missing, which was told.
            Some(None) => {}
            Some(Some(position)) => reader.add(annotation, &categories, &mut samples[*position]),
        }
    }
    let is_known = |(index, (sample, _)): &(usize, Sized)| sample.class != GOOD || !reader.doubtful.contains(index);
    let samples = samples.into_iter().enumerate().filter(is_known);
    let mut samples: Vec<Sample> = samples.map(|(_, (sample, _))| sample).collect();
    samples.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Dataset { samples, categories, problems: reader.problems, ..Dataset::default() })
}

/// A sample with the size that its labels were drawn in.
type Sized = (Sample, Size);

struct Reader<'a> {
    file: &'a Path,
    problems: Vec<Problem>,
    /// Images of which an entry was left out: they may not count as good.
    doubtful: HashSet<usize>,
}

impl Reader<'_> {
    fn tell(&mut self, kind: ProblemKind, message: &str) {
        self.problems.push(Problem::new(kind, format!("{}, {message}", self.file.display())));
    }

    fn told_twice(&mut self, what: &str, id: u64) {
        self.tell(ProblemKind::DuplicateId, &format!("{what} {id}: expected each id once, found it again; left out"));
    }

    fn bad(&mut self, annotation: &Annotation, expected: &str, found: impl std::fmt::Display) {
        let message = format!("annotation {}: expected {expected}, found {found}; left out", annotation.id);
        self.tell(ProblemKind::BadLabel, &message);
    }

    /// Adds a sample for each image that is there; returns where each id is, `None` for one that is left out.
    fn images(&mut self, images: &[Image], samples: &mut Vec<Sized>) -> Result<HashMap<u64, Option<usize>>, EvalError> {
        let mut positions = HashMap::new();
        let mut pictures = Pictures::beside(self.file);
        for image in images {
            if positions.contains_key(&image.id) {
                self.told_twice("image", image.id);
                self.doubtful.extend(positions.get(&image.id).copied().flatten());
                continue;
            }
            let position = match pictures.find(image) {
                Ok(path) => {
                    let sample = Sample { image_id: Some(image.id), ..Sample::of_class(path, GOOD) };
                    samples.push((sample, Size::new(image.width, image.height)));
                    Some(samples.len() - 1)
                }
                Err((kind, message)) => {
                    self.tell(kind, &format!("image {}: {message}; left out", image.id));
                    let is_same = |(sample, _): &Sized| sample.path.ends_with(&image.file_name);
                    self.doubtful.extend(samples.iter().position(is_same));
                    None
                }
            };
            positions.insert(image.id, position);
        }
        if let Some(message) = pictures.unlisted()? {
            self.tell(ProblemKind::UnlistedImage, &message);
        }
        Ok(positions)
    }

    fn categories(&mut self, categories: &[Category]) -> Vec<Category> {
        let mut known: Vec<Category> = Vec::new();
        for category in categories {
            if known.iter().any(|other| other.id == category.id) {
                self.told_twice("category", category.id);
            } else {
                known.push(category.clone());
            }
        }
        known
    }

    /// An annotation makes its image defective, whatever is wrong with its box.
    fn add(&mut self, annotation: &Annotation, categories: &[Category], (sample, size): &mut Sized) {
        sample.is_defect = true;
        let category = categories.iter().find(|category| category.id == annotation.category_id);
        let name = category.map_or(SEVERAL, |category| &category.name);
        let is_other = sample.class != GOOD && sample.class != name;
        sample.class = if is_other { SEVERAL.to_owned() } else { name.to_owned() };
        sample.is_doubtful |= category.is_none() || annotation.iscrowd != 0;
        let Some(category) = category else {
            return self.bad(annotation, "the id of a category in this file", annotation.category_id);
        };
        if annotation.iscrowd != 0 {
            return self.bad(annotation, "iscrowd 0", annotation.iscrowd);
        }
        let found = box_in(&annotation.bbox, *size);
        sample.is_doubtful |= matches!(found, Err(Misfit::NoBox | Misfit::Outside));
        match found {
            Ok(rect) => sample.truths.push(Truth { rect, class: category.name.clone() }),
            Err(Misfit::NoBox) => {
                self.bad(annotation, "bbox [x, y, width, height] with a width and a height", listed(&annotation.bbox));
            }
            Err(Misfit::Outside) => {
                self.bad(annotation, &format!("a box within its picture of {size}"), listed(&annotation.bbox));
            }
            Err(Misfit::SticksOut(rect)) => {
                let (id, found) = (annotation.id, listed(&annotation.bbox));
                let message =
                    format!("annotation {id}: expected a box within its picture of {size}, found {found}; cut");
                self.tell(ProblemKind::BadLabel, &message);
                sample.truths.push(Truth { rect, class: category.name.clone() });
            }
        }
    }
}

fn listed(bbox: &[f64]) -> String {
    let numbers: Vec<String> = bbox.iter().map(f64::to_string).collect();
    format!("[{}]", numbers.join(", "))
}

/// How a box does not fit its picture.
#[derive(Debug, PartialEq)]
enum Misfit {
    NoBox,
    Outside,
    /// What is left within the picture.
    SticksOut(Rect),
}

/// The pixels of a box; half a pixel beyond the edge is rounding.
fn box_in(bbox: &[f64], size: Size) -> Result<Rect, Misfit> {
    let &[x, y, width, height] = bbox else { return Err(Misfit::NoBox) };
    if !bbox.iter().all(|value| value.is_finite()) || width <= 0.0 || height <= 0.0 {
        return Err(Misfit::NoBox);
    }
    let span = |from: f64, length: f64, side_px: u32| {
        let side = f64::from(side_px);
        let (start, end) = (from.round().clamp(0.0, side), (from + length).round().clamp(0.0, side));
        // Thinner than a pixel, it is still there.
        let end = if end - start < 1.0 && from >= 0.0 && from < side { (end + 1.0).min(side) } else { end };
        (start.min(end) as u32, (end - start.min(end)) as u32, from < -0.5 || from + length > side + 0.5)
    };
    let (left, across, is_out_x) = span(x, width, size.width_px);
    let (top, down, is_out_y) = span(y, height, size.height_px);
    let rect = Rect { x: left, y: top, width: across, height: down };
    match (rect.area_px() > 0, is_out_x || is_out_y) {
        (false, _) => Err(Misfit::Outside),
        (true, true) => Err(Misfit::SticksOut(rect)),
        (true, false) => Ok(rect),
    }
}

#[cfg(test)]
mod tests;
