//! Defects painted on golden pictures: what a discriminator learns from where nobody has defective parts.
//!
//! After Draem (Zavrtanik et al., arXiv 2108.07610) and `CutPaste` (Li et al., arXiv 2104.04015); kinds and their sizes in pixels of
//! the encoder's input are those that docs/gate.md measures.

mod draws;
mod kinds;
mod shapes;
mod texture;

use crate::{encoder::Picture, template::plane::Plane};

use super::heat::Grid;

pub(super) use draws::Draws;

use kinds::{Kind, SHARES, defect};
use texture::brightness;

/// Defects of one painting at most; from one on, each number is as likely.
const DEFECTS_MAX: usize = 4;
/// Added to brightness before a factor is taken: black becomes brighter, too.
const DARKEST: f32 = 1.0;

/// A golden picture with painted defects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Painting {
    pub(super) picture: Picture,
    /// Which pixels a defect covers, row by row.
    pub(super) covered: Vec<bool>,
}

impl Painting {
    /// Returns the share of pixels that a defect covers in each cell of a grid over the picture.
    pub(super) fn covered_shares(&self, rows: usize, cols: usize) -> Grid {
        let (width, height) = (self.picture.width() as usize, self.picture.height() as usize);
        let mut values = vec![0.0; rows * cols];
        let share = (rows * cols) as f32 / (width * height).max(1) as f32;
        for (pixel, _) in self.covered.iter().enumerate().filter(|&(_, &covered)| covered) {
            values[pixel / width * rows / height * cols + pixel % width * cols / width] += share;
        }
        Grid { rows, cols, values }
    }
}

/// Returns the picture with one to four defects and a little noise; `others` are pictures of good parts that patches may come from.
pub(super) fn paint(picture: &Picture, others: &[Picture], draws: &mut Draws) -> Painting {
    let count = 1 + draws.below(DEFECTS_MAX);
    let kinds: Vec<Kind> = (0..count).map(|_| any_kind(draws)).collect();
    painted(picture, others, &kinds, draws)
}

fn any_kind(draws: &mut Draws) -> Kind {
    let mut left = draws.uniform(0.0..=1.0);
    let drawn = SHARES.iter().find(|(_, share)| {
        left -= share;
        left < 0.0
    });
    drawn.map_or(Kind::Cut, |&(kind, _)| kind)
}

fn painted(picture: &Picture, others: &[Picture], kinds: &[Kind], draws: &mut Draws) -> Painting {
    let before = brightness(picture);
    let mut after = before.clone();
    let mut covered = vec![false; after.values.len()];
    for &kind in kinds {
        let defect = defect(kind, &after, others, draws);
        after = defect.over(&after);
        covered.iter_mut().zip(&defect.mask.values).for_each(|(covered, &more)| *covered |= more);
    }
    // Otherwise what was painted over would be the only place without the noise of a camera.
    let noise = draws.uniform(0.0..=1.0);
    after.values.iter_mut().for_each(|value| *value = (*value + noise * draws.normal()).clamp(0.0, 255.0));
    Painting { picture: shaded(picture, &before, &after), covered }
}

/// Returns the picture with each pixel's channels multiplied by what changes its brightness from `before` to `after`.
fn shaded(picture: &Picture, before: &Plane<f32>, after: &Plane<f32>) -> Picture {
    let mut picture = picture.clone();
    for ((pixel, before), after) in picture.pixels_mut().zip(&before.values).zip(&after.values) {
        let factor = (after + DARKEST) / (before + DARKEST);
        // A cast to bytes stops at 0 and 255.
        pixel.0 = pixel.0.map(|channel| ((f32::from(channel) + DARKEST) * factor - DARKEST).round() as u8);
    }
    picture
}

#[cfg(test)]
mod tests;
