use std::{collections::HashMap, path::PathBuf};

use serde::Serialize;

use super::Dataset;
use crate::eval::{EvalError, journal::file_hash};

/// The same file among the golden images and among the judged ones: its score says nothing about new parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// The golden image.
    pub golden: PathBuf,
    /// The judged image with the same bytes.
    pub judged: PathBuf,
}

/// Hashes every judged image, and finds those whose bytes are those of a golden image, the image's own template included.
pub(super) fn find(dataset: &mut Dataset) -> Result<(), EvalError> {
    let mut golden = HashMap::new();
    let templates = dataset.samples.iter().filter_map(|sample| sample.template.as_ref());
    for path in dataset.golden.iter().chain(templates) {
        golden.insert(file_hash(path)?, path.clone());
    }
    for sample in &mut dataset.samples {
        sample.sha256 = file_hash(&sample.path)?;
        if let Some(path) = golden.get(&sample.sha256) {
            dataset.leaks.push(Leak { golden: path.clone(), judged: sample.path.clone() });
        }
    }
    Ok(())
}
