//! The gate by a bank of golden features: a cell of a frame is strange when no cell of a golden image is like it.
//!
//! After PatchCore (Roth et al., arXiv 2106.08265), with four changes that the numbers in docs/gate.md ask for: features are
//! the expansions inside the network's blocks, every channel is measured in units of its own spread over golden cells, a
//! distance counts less where golden parts differ from each other, and the score is the mean of the strangest cells.

mod basis;
mod coreset;
mod enrolment;
mod file;
mod heat;
mod product;
mod random;
mod scale;

use cameras::Frame;
use serde::{Deserialize, Serialize};

use crate::{Calibration, Features, Gate, GateReading, ModelError};

pub use enrolment::Enrolment;

use heat::Grid;
use scale::Scale;

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

/// How a bank is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BankOptions {
    /// What good parts have in common.
    pub surface: Surface,
    /// In which orientations parts arrive.
    pub rotations: Rotations,
    /// Of the random choices: the same golden images and seed give the same bank.
    pub seed: u64,
}

/// What golden parts look like, and how strange they look to each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Bank {
    options: BankOptions,
    /// See [`crate::Encoder::identity`].
    encoder: String,
    scales: Vec<Scale>,
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

    /// Returns the scores of the golden images, each against the bank without itself.
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

    /// Returns the heat of a frame on the grid of the finest scale.
    fn heat(&self, features: &Features, without: Option<u32>) -> Result<Grid, ModelError> {
        let mut sum: Option<Grid> = None;
        for scale in &self.scales {
            let map = features.maps.get(scale.map).filter(|map| map.dim == scale.basis.mean.len());
            let map = map.filter(|map| map.rows * map.cols > 0 && map.values.len() == map.rows * map.cols * map.dim);
            let map = map.ok_or_else(|| unfit_features(scale, features))?;
            let heat = scale.heat(map, without, self.threads);
            sum = Some(match sum {
                None => heat,
                Some(sum) => added(sum, &heat),
            });
        }
        let sum = sum.expect("a bank has one scale or more");
        let share = 1.0 / self.scales.len() as f32;
        Ok(Grid { values: sum.values.iter().map(|value| value * share).collect(), ..sum }.blurred())
    }
}

/// Returns the sum on the grid of the first.
fn added(mut sum: Grid, other: &Grid) -> Grid {
    let other = other.resized(sum.rows, sum.cols);
    sum.values.iter_mut().zip(other.values).for_each(|(sum, value)| *sum += value);
    sum
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
        let grid = self.heat(features, None)?;
        let (score, heat_threshold) = (grid.score(), self.heat_calibration.threshold());
        Ok(GateReading {
            score,
            threshold: self.calibration.threshold(),
            p_value: Some(self.calibration.p_value(score)),
            regions: heat::regions(&grid, heat_threshold, frame.size()),
            heat_map: grid.into_heat_map(heat_threshold),
        })
    }

    fn needs_features(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
