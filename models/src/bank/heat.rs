//! From the strangeness of cells to a score and a map over the frame.

use cameras::Size;

use crate::{HeatMap, heat_map::resample};

/// Standard deviation of the smoothing, in cells: one cell alone is more often noise than a defect.
const BLUR_CELLS: f32 = 1.0;
/// The smoothing reaches this many cells.
const BLUR_REACH: usize = 3;
/// The share of cells whose mean is the score of a frame.
const SCORED_SHARE: f64 = 0.02;

/// Values on a grid that covers a frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) values: Vec<f32>,
}

impl Grid {
    /// Returns the grid with `rows` and `cols` by bilinear interpolation between cell centres.
    pub(super) fn resized(&self, rows: usize, cols: usize) -> Self {
        let size = |rows: usize, cols: usize| Size::new(cols as u32, rows as u32);
        Self { rows, cols, values: resample(&self.values, size(self.rows, self.cols), size(rows, cols)) }
    }

    /// Adds `share` of another grid, brought to this one's size.
    pub(super) fn add(&mut self, other: &Self, share: f32) {
        let more = other.resized(self.rows, self.cols).values;
        self.values.iter_mut().zip(more).for_each(|(value, more)| *value += share * more);
    }

    /// Returns the grid after a Gaussian; cells beyond the edge are as the edge.
    pub(super) fn blurred(&self) -> Self {
        let kernel: Vec<f32> = (0..=2 * BLUR_REACH)
            .map(|place| (-(place as f32 - BLUR_REACH as f32).powi(2) / (2.0 * BLUR_CELLS * BLUR_CELLS)).exp())
            .collect();
        let sum: f32 = kernel.iter().sum();
        let near =
            |position: usize, offset: usize, len: usize| (position + offset).saturating_sub(BLUR_REACH).min(len - 1);
        let along = |grid: &Self, source: &dyn Fn(usize, usize, usize) -> usize| {
            let cell = |index: usize| {
                let (row, col) = (index / grid.cols, index % grid.cols);
                let weighted = kernel.iter().enumerate().map(|(k, weight)| weight * grid.values[source(row, col, k)]);
                weighted.sum::<f32>() / sum
            };
            Self { values: (0..grid.values.len()).map(cell).collect(), ..*grid }
        };
        let across = along(self, &|row, col, k| row * self.cols + near(col, k, self.cols));
        along(&across, &|row, col, k| near(row, k, self.rows) * self.cols + col)
    }

    /// Returns the mean of the strangest cells: the score of a frame.
    pub(super) fn score(&self) -> f32 {
        let mut values = self.values.clone();
        let count = ((values.len() as f64 * SCORED_SHARE).round() as usize).clamp(1, values.len().max(1));
        values.sort_unstable_by(|a, b| b.total_cmp(a));
        let strangest = &values[..count.min(values.len())];
        strangest.iter().sum::<f32>() / strangest.len().max(1) as f32
    }

    pub(super) fn maximum(&self) -> f32 {
        self.values.iter().copied().fold(0.0, f32::max)
    }

    pub(super) fn into_heat_map(self, threshold: f32) -> HeatMap {
        HeatMap { size: Size::new(self.cols as u32, self.rows as u32), values: self.values, threshold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_spot(rows: usize, cols: usize, spot: (usize, usize)) -> Grid {
        let mut grid = Grid { rows, cols, values: vec![0.5; rows * cols] };
        grid.values[spot.0 * cols + spot.1] = 10.0;
        grid
    }

    #[test]
    fn blurring_keeps_the_mean_of_a_spot_and_a_plain() {
        let blurred = with_spot(20, 20, (10, 10)).blurred();
        let sum: f32 = blurred.values.iter().sum();
        assert!((sum - (399.0 * 0.5 + 10.0)).abs() < 1e-2, "{sum}");
        assert!(blurred.maximum() < 3.0 && blurred.maximum() > 1.5);
        let plain = Grid { rows: 3, cols: 1, values: vec![2.0; 3] }.blurred();
        assert!(plain.values.iter().all(|value| (value - 2.0).abs() < 1e-6));
    }

    #[test]
    fn scores_the_strangest_cells() {
        let grid = with_spot(10, 10, (0, 0));
        assert!((grid.score() - 5.25).abs() < 1e-6, "{}", grid.score());
    }
}
