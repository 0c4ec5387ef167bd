use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cameras::Rect;
use serde::Serialize;

use super::{Annotation, Category, Detection, Image, Info, Labels};
use crate::eval::{Dataset, EvalError, Judged, Round, Sample, output::write_text};

const GROUND_TRUTH: &str = "coco_ground_truth.json";
const DETECTIONS: &str = "coco_detections.json";
/// The category of boxes that were found but not named, where there are several categories.
const UNNAMED: &str = "defect";

/// Writes labels and detections of the images that were judged in `round`, as COCO evaluates them. `root` is where the data set lies. Where
/// nothing was found there is no file of detections: pycocotools reads none without one.
pub(in crate::eval) fn write(folder: &Path, root: &Path, dataset: &Dataset, round: &Round) -> Result<(), EvalError> {
    let numbered = Numbered::of(dataset, round);
    write_json(&folder.join(GROUND_TRUTH), &numbered.labels(root))?;
    let (path, detections) = (folder.join(DETECTIONS), numbered.detections());
    if detections.is_empty() { remove(&path) } else { write_json(&path, &detections) }
}

/// Removes what an earlier evaluation has left, if anything.
fn remove(path: &Path) -> Result<(), EvalError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(EvalError::Io { path: path.to_owned(), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), EvalError> {
    let text =
        serde_json::to_string(value).map_err(|error| EvalError::Io { path: path.to_owned(), source: error.into() })?;
    write_text(path, &text)
}

/// Judged images and categories with the numbers that the labels gave them, else with new ones.
struct Numbered<'a> {
    images: Vec<(u64, &'a Sample, &'a Judged)>,
    categories: Vec<Category>,
}

impl<'a> Numbered<'a> {
    fn of(dataset: &'a Dataset, round: &'a Round) -> Self {
        let judged = (1..).zip(&dataset.samples).zip(&round.judged);
        let images = judged
            .filter_map(|((number, sample), judged)| {
                Some((sample.image_id.unwrap_or(number), sample, judged.as_ref().ok()?))
            })
            .collect();
        let mut numbered = Self { images, categories: dataset.categories.clone() };
        numbered.add_categories();
        numbered
    }

    /// Labelled names in alphabetical order, then names that were found alone, then that of unnamed boxes, where they need one.
    fn add_categories(&mut self) {
        let labelled = self.images.iter().flat_map(|(_, sample, _)| &sample.truths).map(|truth| truth.class.clone());
        let mut labelled: Vec<String> = labelled.collect();
        let codes = self.images.iter().flat_map(|(.., judged)| &judged.regions).map(|region| region.code.clone());
        let (mut found, mut has_unnamed) = (Vec::new(), false);
        for code in codes {
            has_unnamed |= code.is_none();
            found.extend(code);
        }
        for names in [&mut labelled, &mut found] {
            names.sort();
            for name in names.iter() {
                self.add_category(name);
            }
        }
        if has_unnamed && self.categories.len() != 1 {
            self.add_category(UNNAMED);
        }
    }

    fn add_category(&mut self, name: &str) {
        if self.category(Some(name)).is_none() {
            let id = self.categories.iter().map(|category| category.id).max().unwrap_or(0) + 1;
            self.categories.push(Category { id, name: name.to_owned() });
        }
    }

    /// An unnamed box is of the only category that there is, else of the one for such boxes.
    fn category(&self, name: Option<&str>) -> Option<u64> {
        let named = |name: &str| self.categories.iter().find(|category| category.name == name);
        match (name, &self.categories[..]) {
            (None, [only]) => Some(only.id),
            (name, _) => named(name.unwrap_or(UNNAMED)).map(|category| category.id),
        }
    }

    fn labels(&self, root: &Path) -> Labels {
        let description = format!(
            "Labels of the images in {} that were judged, by Loupe {}. Where the detections are not named, evaluate with useCats = 0.",
            root.display(),
            env!("CARGO_PKG_VERSION")
        );
        let mut annotations = Vec::new();
        for (image_id, sample, _) in &self.images {
            for truth in &sample.truths {
                let category_id = self.category(Some(&truth.class)).expect("every labelled name is a category");
                annotations.push(annotation((annotations.len() as u64 + 1, *image_id, category_id), truth.rect));
            }
        }
        let images = self.images.iter().map(|(id, sample, judged)| image(*id, root, (sample, judged))).collect();
        Labels { info: Info { description }, images, annotations, categories: self.categories.clone() }
    }

    fn detections(&self) -> Vec<Detection> {
        let mut detections = Vec::new();
        for (image_id, _, judged) in &self.images {
            for region in &judged.regions {
                let Rect { x, y, width, height } = region.rect;
                detections.push(Detection {
                    image_id: *image_id,
                    category_id: self.category(region.code.as_deref()).expect("every found name is a category"),
                    bbox: [x, y, width, height],
                    score: f64::from(region.score),
                });
            }
        }
        detections
    }
}

fn image(id: u64, root: &Path, (sample, judged): (&Sample, &Judged)) -> Image {
    let file: PathBuf = sample.path.strip_prefix(root).unwrap_or(&sample.path).components().collect();
    let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy()).collect();
    Image { id, file_name: parts.join("/"), width: judged.size.width_px, height: judged.size.height_px }
}

fn annotation((id, image_id, category_id): (u64, u64, u64), rect: Rect) -> Annotation {
    let Rect { x, y, width, height } = rect;
    let (right, bottom) = (x + width, y + height);
    Annotation {
        id,
        image_id,
        category_id,
        bbox: [x, y, width, height].map(f64::from).to_vec(),
        area: rect.area_px() as f64,
        iscrowd: 0,
        segmentation: vec![[x, y, right, y, right, bottom, x, bottom]],
    }
}
