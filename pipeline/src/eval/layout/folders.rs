use std::path::{Path, PathBuf};

use super::{Dataset, Sample, contents, folders_in, name_of, pictures_in, wrong_layout};
use crate::eval::EvalError;

/// Names that say "nothing wrong here".
/// Names of class folders that hold good parts, unless told otherwise.
pub(crate) const GOOD_NAMES: [&str; 6] = ["good", "ok", "normal", "healthy", "defect_free", "no_defect"];

pub(super) fn open(root: &Path, good: Option<&str>) -> Result<Dataset, EvalError> {
    let (train, test) = (root.join("train"), root.join("test"));
    let dataset = if train.is_dir() && test.is_dir() {
        let golden = pictures_in(&good_folder(&train, good)?)?;
        Dataset { golden, samples: samples_in(&test, good)?, ..Dataset::default() }
    } else {
        split(if train.is_dir() { &train } else { root }, good)?
    };
    if dataset.golden.is_empty() || dataset.samples.is_empty() {
        return Err(wrong_layout(root, "images in class folders, good ones among them (layout folders)"));
    }
    Ok(dataset)
}

fn is_good(name: &str, good: Option<&str>) -> bool {
    match good {
        Some(good) => name == good,
        None => GOOD_NAMES.contains(&name.to_lowercase().as_str()),
    }
}

fn good_folder(folder: &Path, good: Option<&str>) -> Result<PathBuf, EvalError> {
    let found = folders_in(folder)?.into_iter().find(|class| is_good(&name_of(class), good));
    found.ok_or_else(|| {
        let names = good.map_or_else(|| GOOD_NAMES.join(", "), str::to_owned);
        wrong_layout(folder, &format!("a class folder of good images ({names}; or name it with --good)"))
    })
}

fn samples_in(folder: &Path, good: Option<&str>) -> Result<Vec<Sample>, EvalError> {
    let mut samples = Vec::new();
    for class in folders_in(folder)? {
        let name = name_of(&class);
        let sample = |path| Sample { is_defect: !is_good(&name, good), ..Sample::of_class(path, &name) };
        samples.extend(pictures_in(&class)?.into_iter().map(sample));
    }
    if samples.is_empty() {
        let found = contents(folder)?;
        let expected = "images in class folders (layout folders)".to_owned();
        return Err(EvalError::WrongLayout { path: folder.to_owned(), expected, found });
    }
    Ok(samples)
}

/// Without a test part, every other good image is learned from and the rest is judged: the same split every time, and
/// neighbours, which are often the same part, on both sides as evenly as in any split.
fn split(folder: &Path, good: Option<&str>) -> Result<Dataset, EvalError> {
    let good_folder = good_folder(folder, good)?;
    let golden: Vec<PathBuf> = pictures_in(&good_folder)?.into_iter().step_by(2).collect();
    let mut samples = samples_in(folder, good)?;
    samples.retain(|sample| !golden.contains(&sample.path));
    Ok(Dataset { golden, samples, ..Dataset::default() })
}
