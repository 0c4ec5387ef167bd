use crate::{
    FeatureMap,
    product::{Matrix, Search},
    quantile::quantile,
};

use super::{basis::Basis, coreset::cover, heat::Grid, random::Random};

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

/// How the distance to an item becomes strangeness.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Measure {
    /// As it is: where good parts are alike, every step away counts the same.
    Distance,
    /// In units of the item's spacing, the mean distance to its closest cells of other golden images, plus `softening` times
    /// the median spacing: where golden parts differ from each other, a part may differ more.
    Spaced { softening: f32 },
}

/// How one scale of a bank is learned and used.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScaleOptions {
    /// Which feature map.
    pub(super) map: usize,
    /// Items that are kept at most.
    pub(super) items: usize,
    /// Items that a cell is compared with: its closest.
    pub(super) neighbours: usize,
    /// For the score of a frame; `None` where this scale has no say in it.
    pub(super) scoring: Option<Measure>,
    /// For the map of where a frame is strange.
    pub(super) placing: Measure,
}

/// Golden cells of one feature map in the coordinates in which cells are compared.
#[derive(Debug)]
pub(super) struct Golden {
    basis: Basis,
    cells: Matrix,
    images: Vec<u32>,
}

impl Golden {
    pub(super) fn of(cells: &Cells, random: &mut Random) -> Self {
        let basis = Basis::learn(&cells.features, COORDINATES, random);
        Self { cells: basis.coordinates(cells.features.values()), basis, images: cells.images.clone() }
    }

    /// Returns the scale that knows the cells of images that `keeps` does not refuse.
    pub(super) fn scale(&self, keeps: impl Fn(u32) -> bool, options: ScaleOptions, random: &mut Random) -> Scale {
        let kept: Vec<usize> = (0..self.images.len()).filter(|&cell| keeps(self.images[cell])).collect();
        let all = self.cells.select(&kept);
        let images: Vec<u32> = kept.iter().map(|&cell| self.images[cell]).collect();
        let covering = cover(&all, options.items, random);
        let items = all.select(&covering);
        let is_spaced = |measure: &Measure| *measure != Measure::Distance;
        let spacings = if options.scoring.iter().chain([&options.placing]).any(is_spaced) {
            let others = |item: usize, cell: usize| images[covering[item]] != images[cell];
            Search::among(&all).mean_of_closest(&items, SPACING_NEIGHBOURS, others)
        } else {
            vec![1.0; items.rows()]
        };
        Scale {
            map: options.map,
            basis: self.basis.clone(),
            neighbours: options.neighbours.min(items.rows()),
            scoring: options.scoring.map(|measure| divisors(measure, &spacings)).unwrap_or_default(),
            placing: divisors(options.placing, &spacings),
            items,
        }
    }
}

fn divisors(measure: Measure, spacings: &[f32]) -> Vec<f32> {
    match measure {
        Measure::Distance => vec![1.0; spacings.len()],
        Measure::Spaced { softening } => {
            let extra = softening * quantile(spacings.iter().copied(), 0.5) + f32::EPSILON;
            spacings.iter().map(|spacing| spacing + extra).collect()
        }
    }
}

/// What golden cells of one feature map look like.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    /// Which feature map.
    pub(super) map: usize,
    pub(super) basis: Basis,
    /// `[items, coordinates]`.
    pub(super) items: Matrix,
    /// Items that a cell is compared with.
    pub(super) neighbours: usize,
    /// By what a distance to each item is divided for the score; empty where this scale has no say in it.
    pub(super) scoring: Vec<f32>,
    /// By what a distance to each item is divided for the map of where a frame is strange.
    pub(super) placing: Vec<f32>,
}

/// How strange the cells of a frame are at one scale.
#[derive(Debug)]
pub(super) struct Heat {
    /// For the score, where the scale has a say in it.
    pub(super) scoring: Option<Grid>,
    /// For the map of where.
    pub(super) placing: Grid,
}

impl Scale {
    pub(super) fn heat(&self, map: &FeatureMap, threads: usize) -> Heat {
        let queries = self.basis.coordinates(&map.values);
        let closest = Search::among(&self.items).closest(&queries, self.neighbours, threads);
        let grid = |divisors: &[f32]| {
            let strangeness = closest.chunks_exact(self.neighbours).map(|closest| {
                let sum: f32 = closest.iter().map(|near| near.distance / divisors[near.index]).sum();
                sum / self.neighbours as f32
            });
            Grid { rows: map.rows, cols: map.cols, values: strangeness.collect() }
        };
        let scoring = (!self.scoring.is_empty()).then(|| grid(&self.scoring));
        Heat { scoring, placing: grid(&self.placing) }
    }
}

/// Returns the median of golden heat and how far its hottest cells lie above it, more than 0.
pub(super) fn spread<'a>(grids: impl IntoIterator<Item = &'a Grid>) -> (f32, f32) {
    let values: Vec<f32> = grids.into_iter().flat_map(|grid| &grid.values).copied().collect();
    let median = quantile(values.iter().copied(), 0.5);
    (median, (quantile(values, 0.99) - median).max(f32::EPSILON))
}
