use std::{collections::HashMap, mem, path::PathBuf};

use serde::Serialize;

use super::Dataset;
use crate::eval::{EvalError, journal::file_hash};

/// The same file among the golden images and among those to judge: what a gate says of it says nothing about new parts. It is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// The golden image.
    pub golden: PathBuf,
    /// The image with the same bytes that was to be judged.
    pub judged: PathBuf,
}

impl Leak {
    /// Returns one line that names both files.
    pub fn message(&self) -> String {
        let Self { golden, judged } = self;
        format!("{}: left out, leakage: the same file is {}, a golden image", judged.display(), golden.display())
    }
}

/// Hashes every image to judge, and leaves out those whose bytes are those of a golden image or of a template.
pub(super) fn leave_out(dataset: &mut Dataset) -> Result<(), EvalError> {
    let mut golden = HashMap::new();
    let templates = dataset.samples.iter().filter_map(|sample| sample.template.as_ref());
    for path in dataset.golden.iter().chain(templates) {
        golden.insert(file_hash(path)?, path.clone());
    }
    for mut sample in mem::take(&mut dataset.samples) {
        sample.sha256 = file_hash(&sample.path)?;
        match golden.get(&sample.sha256) {
            Some(path) => dataset.leaks.push(Leak { golden: path.clone(), judged: sample.path }),
            None => dataset.samples.push(sample),
        }
    }
    Ok(())
}
