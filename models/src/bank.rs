//! The gate by a bank of golden features: a cell of a frame is strange when no cell of a golden image is like it.
//!
//! After PatchCore (Roth et al., arXiv 2106.08265), with four changes that the numbers in docs/gate.md ask for: features are
//! the expansions inside the network's blocks, every channel is measured in units of its own spread over golden cells, a
//! distance counts less where golden parts differ from each other, and the score is the mean of the strangest cells.

mod basis;
mod coreset;
mod discriminator;
mod enrolment;
mod file;
mod heat;
mod painted;
mod painting;
mod pool;
mod random;
mod scale;
mod workers;

use cameras::Frame;
use serde::{Deserialize, Serialize};

use crate::{Calibration, Features, Gate, GateReading, ModelError};

pub(crate) use basis::leading_axes;
pub use enrolment::Enrolment;
pub(crate) use random::Random;

use discriminator::Discriminator;
use heat::Grid;
use scale::{Heat, Scale};

/// What the person who enrols knows about the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// Good parts look like each other, in every place: machined, moulded, printed parts.
    #[default]
    Alike,
    /// Good parts have a texture that differs from part to part: ground, cast, woven or grown surfaces.
    Varied,
}

/// In which orientations parts arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotations {
    /// As in the golden images.
    #[default]
    AsEnrolled,
    /// Also turned by 90, 180 and 270 degrees. Enrolling takes four times as long.
    QuarterTurns,
}

/// What a bank learns beside good parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defects {
    /// Nothing: defects are what good parts do not have.
    #[default]
    Unseen,
    /// How defects look that are painted on the golden images: pits, scratches, patches, steps of brightness, missing borders.
    /// Enrolling encodes four to ten paintings of each image.
    Painted,
}

impl Defects {
    /// Files of before there was a choice do not name it.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    const fn is_unseen(&self) -> bool {
        matches!(self, Self::Unseen)
    }
}

/// How a bank is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BankOptions {
    /// What good parts have in common.
    pub surface: Surface,
    /// In which orientations parts arrive.
    pub rotations: Rotations,
    /// What is learned beside good parts.
    #[serde(skip_serializing_if = "Defects::is_unseen")]
    pub defects: Defects,
    /// Of the random choices: the same golden images and seed give the same bank.
    pub seed: u64,
}

/// What golden parts look like, and how strange they look to each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Bank {
    options: BankOptions,
    /// See [`crate::Encoder::identity`].
    encoder: String,
    /// See [`crate::Encoder::magnification`].
    magnification: f64,
    scales: Vec<Scale>,
    /// What adds to the heat of the scales; only of [`Defects::Painted`].
    discriminator: Option<Discriminator>,
    calibration: Calibration,
    /// The largest heat of each golden image; a region begins above the largest of them.
    heat_calibration: Calibration,
    threads: usize,
}

impl Bank {
    /// Returns how the bank was made.
    pub const fn options(&self) -> BankOptions {
        self.options
    }

    /// Returns the scores of the golden images, each by a bank that never saw it.
    pub const fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// Returns the bank that may reject this rate of good parts, in 0..=0.5.
    ///
    /// # Errors
    /// When the rate is out of range.
    pub fn with_false_alarm_ratio(self, ratio: f64) -> Result<Self, ModelError> {
        let calibration = self.calibration.with_false_alarm_ratio(ratio)?;
        let heat_calibration = self.heat_calibration.with_false_alarm_ratio(ratio)?;
        Ok(Self { calibration, heat_calibration, ..self })
    }

    /// Returns the number of cells that are kept, over all scales.
    pub fn item_count(&self) -> usize {
        self.scales.iter().map(|scale| scale.items.rows()).sum()
    }

    /// Returns the bank that searches with `threads` threads, at least 1.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// Returns the magnification at which frames are encoded, see [`crate::Encoder::magnification`].
    pub const fn magnification(&self) -> f64 {
        self.magnification
    }

    /// Returns the heat of a frame for its score and for the map of where, each on the grid of its finest scale.
    fn heat(&self, features: &Features) -> Result<(Grid, Grid), ModelError> {
        let heat = |scale: &Scale| {
            let map = features.maps.get(scale.map).filter(|map| map.dim == scale.basis.mean.len());
            let map = map.filter(|map| map.rows * map.cols > 0 && map.values.len() == map.rows * map.cols * map.dim);
            let map = map.ok_or_else(|| unfit_features(scale, features))?;
            Ok(scale.heat(map, self.threads))
        };
        let heats: Vec<Heat> = self.scales.iter().map(heat).collect::<Result<_, _>>()?;
        let mut heat = fused(heats);
        if let Some(discriminator) = &self.discriminator {
            discriminator.join(&mut heat, &discriminator.heat(features)?);
        }
        Ok(heat)
    }
}

/// Returns the heat of all scales for the score and for the map of where.
fn fused(heats: Vec<Heat>) -> (Grid, Grid) {
    let (scoring, placing): (Vec<_>, Vec<_>) = heats.into_iter().map(|heat| (heat.scoring, heat.placing)).unzip();
    (mean(&scoring.into_iter().flatten().collect::<Vec<_>>()), mean(&placing))
}

/// Returns the mean on the finest grid, smoothed.
fn mean(grids: &[Grid]) -> Grid {
    let finest =
        grids.iter().max_by_key(|grid| grid.values.len()).expect("a bank scores and places by one scale or more");
    let (rows, cols) = (finest.rows, finest.cols);
    let share = 1.0 / grids.len() as f32;
    let mut sum = vec![0.0; rows * cols];
    for grid in grids {
        let values = grid.resized(rows, cols).values;
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value * share);
    }
    Grid { rows, cols, values: sum }.blurred()
}

fn unfit_features(scale: &Scale, features: &Features) -> ModelError {
    let shapes: Vec<_> = features.maps.iter().map(|map| (map.rows, map.cols, map.dim)).collect();
    ModelError::Mismatch {
        what: format!("feature map {} for the bank", scale.map),
        expected: format!("{} channels", scale.basis.mean.len()),
        found: format!("maps of rows, cols and channels {shapes:?}"),
    }
}

impl Gate for Bank {
    fn judge(&mut self, frame: &Frame, features: Option<&Features>) -> Result<GateReading, ModelError> {
        let features = features.ok_or_else(|| ModelError::Mismatch {
            what: "input of the bank".to_owned(),
            expected: "features of the frame".to_owned(),
            found: "none".to_owned(),
        })?;
        let (scoring, placing) = self.heat(features)?;
        let score = scoring.score();
        let heat_map = placing.into_heat_map(self.heat_calibration.threshold());
        Ok(GateReading {
            score,
            threshold: self.calibration.threshold(),
            p_value: Some(self.calibration.p_value(score)),
            regions: heat_map.regions(frame.size()),
            heat_map,
        })
    }

    fn magnification(&self) -> Option<f64> {
        Some(self.magnification)
    }
}

#[cfg(test)]
mod tests;
