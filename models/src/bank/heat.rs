//! From the strangeness of cells to a score, a map over the frame and regions.

use cameras::{Rect, Size};

use crate::{HeatMap, Region, heat_map::resample};

/// Standard deviation of the smoothing, in cells: one cell alone is more often noise than a defect.
const BLUR_CELLS: f32 = 1.0;
/// The smoothing reaches this many cells.
const BLUR_REACH: usize = 3;
/// The share of cells whose mean is the score of a frame.
const SCORED_SHARE: f64 = 0.02;
/// Smallest side of the grid that regions are found on, in cells a cell of the map: edges finer than the map's own cells.
const REGION_FINENESS: u32 = 4;
/// More regions than this say no more than that the frame is strange.
const MAX_REGIONS: usize = 16;

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

/// Returns the connected parts of the map above its threshold, strongest first, in pixels of a frame of size `frame`.
pub(super) fn regions(grid: &Grid, threshold: f32, frame: Size) -> Vec<Region> {
    let side = |cells: usize, side_px: u32| (cells as u32 * REGION_FINENESS).clamp(1, side_px.max(1)) as usize;
    let fine = grid.resized(side(grid.rows, frame.height_px), side(grid.cols, frame.width_px));
    let scale = [f64::from(frame.width_px) / fine.cols as f64, f64::from(frame.height_px) / fine.rows as f64];
    let mut seen = vec![false; fine.values.len()];
    let mut found = Vec::new();
    for start in 0..fine.values.len() {
        if !seen[start] && fine.values[start] > threshold {
            let cells = component(&fine, threshold, start, &mut seen);
            found.push(region(&fine, &cells, scale));
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_REGIONS);
    found
}

/// Returns the cells above the threshold that touch each other, by side or corner, from `start` on.
fn component(grid: &Grid, threshold: f32, start: usize, seen: &mut [bool]) -> Vec<usize> {
    let mut cells = vec![start];
    seen[start] = true;
    let mut next = 0;
    while let Some(&cell) = cells.get(next) {
        next += 1;
        let (row, col) = (cell / grid.cols, cell % grid.cols);
        for row in row.saturating_sub(1)..=(row + 1).min(grid.rows - 1) {
            for col in col.saturating_sub(1)..=(col + 1).min(grid.cols - 1) {
                let neighbour = row * grid.cols + col;
                if !seen[neighbour] && grid.values[neighbour] > threshold {
                    seen[neighbour] = true;
                    cells.push(neighbour);
                }
            }
        }
    }
    cells
}

fn region(grid: &Grid, cells: &[usize], [across, down]: [f64; 2]) -> Region {
    let bounds = |position: &dyn Fn(usize) -> usize, scale: f64| {
        let (first, last) = cells
            .iter()
            .map(|&cell| position(cell))
            .fold((usize::MAX, 0), |(first, last), at| (first.min(at), last.max(at)));
        let start = (first as f64 * scale).floor() as u32;
        (start, ((last + 1) as f64 * scale).ceil() as u32 - start)
    };
    let (x, width) = bounds(&|cell| cell % grid.cols, across);
    let (y, height) = bounds(&|cell| cell / grid.cols, down);
    let score = cells.iter().map(|&cell| grid.values[cell]).fold(0.0, f32::max);
    let area_px = (cells.len() as f64 * across * down).round() as u64;
    Region { rect: Rect { x, y, width, height }, score, area_px, code: None }
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

    #[test]
    fn finds_a_spot_where_it_is() {
        let grid = with_spot(10, 20, (2, 15));
        let found = regions(&grid, 5.0, Size::new(400, 100));
        let [region] = found.as_slice() else { panic!("{found:?}") };
        let Rect { x, y, width, height } = region.rect;
        // The cell covers x 300..320, y 20..30 of the frame.
        assert!((300..=320).contains(&(x + width / 2)) && (20..=30).contains(&(y + height / 2)), "{region:?}");
        assert!(region.area_px > 50 && region.area_px <= region.rect.area_px(), "{region:?}");
        assert!(regions(&grid, 11.0, Size::new(400, 100)).is_empty());
    }

    #[test]
    fn orders_regions_by_strength_and_stays_inside() {
        let mut grid = with_spot(10, 10, (0, 0));
        grid.values[99] = 20.0;
        let found = regions(&grid, 4.0, Size::new(33, 17));
        assert_eq!(found.len(), 2);
        assert!(found[0].score > found[1].score);
        for Region { rect, .. } in found {
            assert!(rect.x + rect.width <= 33 && rect.y + rect.height <= 17, "{rect:?}");
        }
    }
}
