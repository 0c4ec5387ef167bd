use std::path::{Path, PathBuf};

use super::{Dataset, Problem, ProblemKind, Sample, folders_in, name_of, pictures_in, stem_of, wrong_layout};
use crate::eval::EvalError;

const GOOD: &str = "good";

pub(super) fn open(root: &Path) -> Result<Dataset, EvalError> {
    let (train, test) = (root.join("train").join(GOOD), root.join("test"));
    if !train.is_dir() || !test.is_dir() {
        return Err(wrong_layout(root, "train/good and test/<class> (layout mvtec)"));
    }
    let golden = pictures_in(&train)?;
    if golden.is_empty() {
        return Err(wrong_layout(&train, "good images to learn from"));
    }
    let mut dataset = Dataset { golden, ..Dataset::default() };
    for folder in folders_in(&test)? {
        let class = name_of(&folder);
        let truth = root.join("ground_truth").join(&class);
        for path in pictures_in(&folder)? {
            let mut sample = Sample { is_defect: class != GOOD, ..Sample::of_class(path, &class) };
            if sample.is_defect {
                sample.mask = find_mask(&truth, &sample.path, &mut dataset.problems);
            }
            dataset.samples.push(sample);
        }
    }
    if dataset.samples.is_empty() {
        return Err(wrong_layout(&test, "images in test/<class> (layout mvtec)"));
    }
    Ok(dataset)
}

/// Masks are optional, class by class; in a class that has a folder of them, a missing one is a problem.
fn find_mask(folder: &Path, image: &Path, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    if !folder.is_dir() {
        return None;
    }
    let stem = stem_of(image);
    let candidates = [format!("{stem}_mask.png"), format!("{stem}.png")].map(|name| folder.join(name));
    let found = candidates.iter().find(|path| path.is_file()).cloned();
    if found.is_none() {
        let message = format!("{}: expected the mask of {}, found none", candidates[0].display(), name_of(image));
        problems.push(Problem::new(ProblemKind::MissingMask, message));
    }
    found
}
