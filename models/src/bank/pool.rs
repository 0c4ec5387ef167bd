use crate::{Features, product::Matrix};

use super::{random::Random, scale::Cells};

/// Cells of one scale, gathered image by image.
#[derive(Debug, Default)]
pub(super) struct Pool {
    values: Vec<f32>,
    images: Vec<u32>,
    dim: usize,
}

impl Pool {
    /// Adds at most `count` cells of a map, chosen at random.
    pub(super) fn take(&mut self, features: &Features, map: usize, count: usize, (image, random): (u32, &mut Random)) {
        let map = &features.maps[map];
        self.dim = map.dim;
        for cell in random.sample(map.rows * map.cols, count) {
            self.values.extend(&map.values[cell * map.dim..][..map.dim]);
            self.images.push(image);
        }
    }

    pub(super) fn cells(self) -> Cells {
        Cells { features: Matrix::new(self.values, self.dim), images: self.images }
    }
}
