use crate::FeatureMap;

use super::{
    basis::Basis,
    coreset::cover,
    heat::Grid,
    product::{Matrix, Search},
    random::Random,
};

/// Coordinates in which cells are compared.
const COORDINATES: usize = 64;
/// Neighbours in other golden images that say how much an item's surroundings vary.
const SPACING_NEIGHBOURS: usize = 3;

/// Golden cells of one feature map, with the image that each came from.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) features: Matrix,
    pub(super) images: Vec<u32>,
}

/// How one scale of a bank is learned.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScaleOptions {
    /// Which feature map.
    pub(super) map: usize,
    /// Items that are kept at most.
    pub(super) items: usize,
    /// How much of the median spacing is added to an item's own: see [`Scale::spacings`].
    pub(super) softening: f32,
}

/// What golden cells of one feature map look like.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    /// Which feature map.
    pub(super) map: usize,
    pub(super) basis: Basis,
    /// `[items, coordinates]`.
    pub(super) items: Matrix,
    /// The golden image of each item.
    pub(super) images: Vec<u32>,
    /// By what a distance to each item is divided. Where golden parts differ from each other, a part may differ more.
    pub(super) spacings: Vec<f32>,
    /// By what heat is divided so that scales can be added: the spread of the heat of golden parts.
    pub(super) spread: f32,
}

impl Scale {
    pub(super) fn learn(cells: &Cells, options: ScaleOptions, random: &mut Random) -> Self {
        let basis = Basis::learn(&cells.features, COORDINATES, random);
        let all = basis.coordinates(cells.features.values());
        let kept = cover(&all, options.items, random);
        let items = all.select(&kept);
        let images: Vec<u32> = kept.iter().map(|&index| cells.images[index]).collect();
        let others = |item: usize, cell: usize| images[item] != cells.images[cell];
        let mut spacings = Search::among(&all, |_| true).mean_of_closest(&items, SPACING_NEIGHBOURS, others);
        let extra = options.softening * median(&spacings) + f32::EPSILON;
        for spacing in &mut spacings {
            *spacing += extra;
        }
        Self { map: options.map, basis, items, images, spacings, spread: 1.0 }
    }

    /// Returns the strangeness of every cell, without the items of one golden image where that image itself is judged.
    pub(super) fn heat(&self, map: &FeatureMap, without: Option<u32>, threads: usize) -> Grid {
        let queries = self.basis.coordinates(&map.values);
        let search = Search::among(&self.items, |item| Some(self.images[item]) != without);
        let nearest = search.nearest(&queries, threads);
        let values = nearest.iter().map(|near| near.distance / self.spacings[near.index] / self.spread).collect();
        Grid { rows: map.rows, cols: map.cols, values }
    }
}

/// Returns the median; 0 for none.
pub(super) fn median(values: &[f32]) -> f32 {
    quantile(values, 0.5)
}

/// Returns the value below which a share of all values lies; 0 for none.
pub(super) fn quantile(values: &[f32], share: f64) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}
