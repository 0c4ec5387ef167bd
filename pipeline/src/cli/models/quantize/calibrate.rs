use std::path::{Path, PathBuf};

use anyhow::ensure;
use cameras::{Frame, FrameId, decode_file};
use models::{
    decoder::DecoderOptions,
    smolvlm::{ActivationRanges, RangeSurvey},
};
use tracing::warn;

use crate::{
    cli::progress,
    eval::layout::{folders_in, pictures_in},
};

/// Pictures to look at: ranges hardly grow after a few, and each takes some seconds.
const PICTURES_MAX: usize = 16;

/// Returns the ranges of activations of `model` on the pictures of `paths`, on as many as [`PICTURES_MAX`] evenly spaced, each cut
/// into all of its tiles. A picture that cannot be read is left out, with a warning.
///
/// # Errors
/// When a path is missing, no picture can be read, or the model cannot.
pub(super) fn ranges(model: &Path, paths: &[PathBuf]) -> anyhow::Result<ActivationRanges> {
    let chosen = evenly(listed(paths)?, PICTURES_MAX);
    let mut survey = RangeSurvey::open(model, DecoderOptions::default().threads)?;
    let bar = progress::bar(chosen.len() as u64, "finding ranges");
    let mut seen = 0;
    for path in &chosen {
        match read(path) {
            Ok(picture) => {
                survey.see(&picture)?;
                seen += 1;
            }
            Err(error) => warn!("left out: {error:#}"),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    ensure!(seen > 0, "pictures for calibration: expected one that can be read at least, found none");
    Ok(survey.ranges()?)
}

/// Returns the picture in the file `path`.
///
/// # Errors
/// When it cannot be read or is none.
pub(super) fn read(path: &Path) -> anyhow::Result<Frame> {
    Ok(decode_file(path, FrameId { source: "calibration".into(), seq: 0 })?)
}

/// Returns the files among `paths` and the pictures in the folders among them, in order; of a folder without pictures, those in its
/// folders, which may be classes.
///
/// # Errors
/// When a path is missing or a folder holds no picture.
pub(super) fn listed(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut found = pictures_in(path)?;
            if found.is_empty() {
                for class in folders_in(path)? {
                    found.append(&mut pictures_in(&class)?);
                }
            }
            ensure!(!found.is_empty(), "{}: expected pictures, found none", path.display());
            pictures.append(&mut found);
        } else {
            ensure!(path.exists(), "{}: expected a picture or a folder of pictures, found nothing", path.display());
            pictures.push(path.clone());
        }
    }
    Ok(pictures)
}

/// Returns at most `most` of `pictures`, over the whole of them: neighbours in a folder are often alike.
pub(super) fn evenly(pictures: Vec<PathBuf>, most: usize) -> Vec<PathBuf> {
    let (all, count) = (pictures.len(), pictures.len().min(most));
    let is_chosen = |index: usize| (index * count).div_ceil(all) < ((index + 1) * count).div_ceil(all);
    pictures.into_iter().enumerate().filter(|(index, _)| is_chosen(*index)).map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_pictures_over_the_whole() {
        for all in [1, 15, 16, 17, 100, 1_000] {
            let chosen = evenly((0..all).map(|index| PathBuf::from(index.to_string())).collect(), PICTURES_MAX);
            let places: Vec<usize> = chosen.iter().map(|path| path.to_str().unwrap().parse().unwrap()).collect();
            assert_eq!(places.len(), PICTURES_MAX.min(all), "of {all}");
            let gaps = places.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(places[0] == 0 && gaps.clone().max() <= gaps.min().map(|least| least + 1), "{places:?} of {all}");
        }
    }
}
