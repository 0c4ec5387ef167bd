use std::path::{Path, PathBuf};

use crate::golden;
use anyhow::Context as _;
use cameras::Frame;
use models::{
    decoder::DecoderOptions,
    smolvlm::{ActivationRanges, Calibration},
};

use super::{super::super::progress, PICTURES_MAX};

/// Returns the ranges of activations of `model` on the pictures of `paths`, on as many as [`PICTURES_MAX`] evenly spaced, each cut
/// into all of its tiles.
///
/// # Errors
/// When a path is missing, no picture can be read, or the model cannot.
pub(super) fn ranges(model: &Path, paths: Vec<PathBuf>) -> anyhow::Result<ActivationRanges> {
    let pictures = golden::read(paths)?;
    let mut calibration = Calibration::open(model, DecoderOptions::default().threads)?;
    let chosen = evenly(&pictures.frames);
    let bar = progress::bar(chosen.len() as u64, "finding ranges");
    for picture in chosen {
        calibration.see(picture)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    calibration.ranges().context("no picture to calibrate on")
}

/// Returns at most [`PICTURES_MAX`] of `pictures`, over the whole of them: neighbours in a folder are often alike.
fn evenly(pictures: &[Frame]) -> Vec<&Frame> {
    let count = pictures.len().min(PICTURES_MAX);
    (0..count).map(|index| &pictures[index * pictures.len() / count]).collect()
}
