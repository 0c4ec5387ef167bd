use super::MAPS;
use crate::{FeatureMap, Features, ModelError, product::Matrix};

/// Cells of all feature maps of a frame, side by side on the grid of the coarsest map.
#[derive(Debug)]
pub(in crate::bank) struct JoinedCells {
    /// From top to bottom.
    pub(in crate::bank) rows: usize,
    /// From left to right.
    pub(in crate::bank) cols: usize,
    /// `[rows * cols, channels of all maps]`
    pub(in crate::bank) values: Matrix,
}

impl JoinedCells {
    /// Returns the cells of a frame; those of a finer map are averaged.
    ///
    /// # Errors
    /// When a map has no cells or not as many in each cell of the coarsest.
    pub(in crate::bank) fn of(features: &Features) -> Result<Self, ModelError> {
        let misfit = || {
            let shapes: Vec<_> = features.maps.iter().map(|map| (map.rows, map.cols, map.dim)).collect();
            let found = format!("maps of rows, cols and channels {shapes:?}");
            ModelError::mismatch(MAPS, "maps whose cells fill those of the coarsest", found)
        };
        let coarsest = features.maps.iter().min_by_key(|map| map.rows * map.cols).ok_or_else(misfit)?;
        let (rows, cols) = (coarsest.rows, coarsest.cols);
        let fits = |map: &FeatureMap| {
            map.rows.is_multiple_of(rows)
                && map.cols.is_multiple_of(cols)
                && map.values.len() == map.rows * map.cols * map.dim
        };
        if rows * cols == 0 || !features.maps.iter().all(fits) {
            return Err(misfit());
        }
        let mut cells = Matrix::zeros(rows * cols, features.maps.iter().map(|map| map.dim).sum());
        let mut first = 0;
        for map in &features.maps {
            for cell in 0..rows * cols {
                let channels = &mut cells.row_mut(cell)[first..][..map.dim];
                average(map, [map.rows / rows, map.cols / cols], [cell / cols, cell % cols], channels);
            }
            first += map.dim;
        }
        Ok(Self { rows, cols, values: cells })
    }
}

/// Adds to `channels` the mean of the `[down, across]` cells of a map that fill the coarse cell at `[row, col]`.
fn average(map: &FeatureMap, [down, across]: [usize; 2], [row, col]: [usize; 2], channels: &mut [f32]) {
    let share = 1.0 / (down * across) as f32;
    for y in row * down..(row + 1) * down {
        for x in col * across..(col + 1) * across {
            let cell = &map.values[(y * map.cols + x) * map.dim..][..map.dim];
            channels.iter_mut().zip(cell).for_each(|(sum, value)| *sum += share * value);
        }
    }
}
