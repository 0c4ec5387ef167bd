use std::collections::BTreeMap;

use cameras::Size;
use imageproc::{
    image::{GrayImage, ImageBuffer, Luma},
    region_labelling::{Connectivity, connected_components},
};
use models::HeatMap;

/// The overkill (share of defect-free pixels rejected) up to which [`PixelCurve::aupro`] integrates, as MVTec does.
pub const AUPRO_LIMIT: f64 = 0.3;

/// Bits of a heat value that are dropped to find its bin: 4,096 bins an octave, so a bin is at most 0.025 % wide. Heat is never
/// below 0, and the bit patterns of such floats are in the order of their values.
const DROPPED_BITS: u32 = 11;

/// Pixels of one image that share a bin of heat.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Bin {
    /// Pixels without defect.
    clean_px: f64,
    /// Pixels with a defect.
    defect_px: f64,
    /// Sum over the bin's defect pixels of 1 / area of their region: the bin's share of each region's overlap.
    region_share: f64,
}

impl Bin {
    fn add(&mut self, other: Self) {
        self.clean_px += other.clean_px;
        self.defect_px += other.defect_px;
        self.region_share += other.region_share;
    }
}

/// One image's pixels by heat: all that pixel measures need, without the maps themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelTally {
    /// By bin, ascending.
    bins: BTreeMap<u32, Bin>,
    regions: usize,
}

impl PixelTally {
    /// Returns the tally of an image without defects, `size` pixels large; `None` for a malformed map.
    pub fn of_good(heat_map: &HeatMap, size: Size) -> Option<Self> {
        Self::of(heat_map, &GrayImage::new(size.width_px, size.height_px))
    }

    /// Returns the tally of `heat_map` against `mask`, where every pixel above 0 is defective; `None` for a malformed map. The
    /// map is brought to the mask's size by [`HeatMap::resized`], as evidence is; regions are joined over corners, as in
    /// MVTec's own evaluation.
    pub fn of(heat_map: &HeatMap, mask: &GrayImage) -> Option<Self> {
        let heat = heat_map.resized(Size::new(mask.width(), mask.height()))?;
        let binary = binarised(mask);
        let labels = connected_components(&binary, Connectivity::Eight, Luma([0]));
        let areas = areas_of(&labels);
        let mut dense = Dense::default();
        for (&heat, &label) in heat.values.iter().zip(labels.as_raw()) {
            dense.add(bin_of(heat), pixel_bin(label, &areas));
        }
        Some(Self { bins: dense.into_bins(), regions: areas.len() - 1 })
    }
}

fn binarised(mask: &GrayImage) -> GrayImage {
    ImageBuffer::from_fn(mask.width(), mask.height(), |x, y| Luma([u8::from(mask.get_pixel(x, y).0[0] > 0)]))
}

/// Pixels of each label; position 0 is the background.
fn areas_of(labels: &ImageBuffer<Luma<u32>, Vec<u32>>) -> Vec<f64> {
    let mut areas = vec![0.0];
    for &label in labels.as_raw() {
        let label = label as usize;
        if label >= areas.len() {
            areas.resize(label + 1, 0.0);
        }
        areas[label] += 1.0;
    }
    areas
}

fn pixel_bin(label: u32, areas: &[f64]) -> Bin {
    match label as usize {
        0 => Bin { clean_px: 1.0, ..Bin::default() },
        label => Bin { clean_px: 0.0, defect_px: 1.0, region_share: 1.0 / areas[label] },
    }
}

/// Heat below 0 or not a number counts as no heat.
fn bin_of(heat: f32) -> u32 {
    heat.max(0.0).to_bits() >> DROPPED_BITS
}

/// Bins kept contiguous between the lowest and the highest seen: a map lookup for each pixel would be ten times slower.
#[derive(Default)]
struct Dense {
    offset: u32,
    bins: Vec<Bin>,
    /// Heat of exactly 0 lies octaves below all other heat.
    zero: Bin,
}

impl Dense {
    fn add(&mut self, bin: u32, pixel: Bin) {
        if bin == 0 {
            return self.zero.add(pixel);
        }
        if self.bins.is_empty() {
            self.offset = bin;
        }
        if bin < self.offset {
            let missing = (self.offset - bin) as usize;
            self.bins.splice(0..0, std::iter::repeat_n(Bin::default(), missing));
            self.offset = bin;
        }
        let position = (bin - self.offset) as usize;
        if position >= self.bins.len() {
            self.bins.resize(position + 1, Bin::default());
        }
        self.bins[position].add(pixel);
    }

    fn into_bins(self) -> BTreeMap<u32, Bin> {
        let zero = (0, self.zero);
        let rest = (self.offset..).zip(self.bins);
        std::iter::once(zero).chain(rest).filter(|(_, bin)| *bin != Bin::default()).collect()
    }
}

/// Bins of many images together, hottest last, and what they add up to.
#[derive(Debug, Clone)]
pub struct PixelCurve {
    bins: Vec<Bin>,
    total: Bin,
    regions: f64,
}

/// A value and by how much binning may have changed it at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounded {
    /// The measure, 0..=1.
    pub value: f64,
    /// The exact value is within `value ± error`.
    pub error: f64,
}

impl PixelCurve {
    /// Returns the curve over `tallies`, or `None` unless there are both clean and defective pixels.
    pub fn of(tallies: &[&PixelTally]) -> Option<Self> {
        let mut merged: BTreeMap<u32, Bin> = BTreeMap::new();
        for (&position, &bin) in tallies.iter().flat_map(|tally| &tally.bins) {
            merged.entry(position).or_default().add(bin);
        }
        let regions = tallies.iter().map(|tally| tally.regions).sum::<usize>() as f64;
        Self::from_bins(merged.into_values().collect(), regions)
    }

    fn from_bins(bins: Vec<Bin>, regions: f64) -> Option<Self> {
        let mut total = Bin::default();
        for &bin in &bins {
            total.add(bin);
        }
        (total.clean_px > 0.0 && total.defect_px > 0.0).then_some(Self { bins, total, regions })
    }

    /// Returns the area under the pixels' ROC curve: `pixel_auroc`. Pixels of one bin count as ties.
    pub fn auroc(&self) -> Bounded {
        let (mut caught, mut area, mut error) = (0.0, 0.0, 0.0);
        let pairs = self.total.clean_px * self.total.defect_px;
        for bin in self.bins.iter().rev() {
            area += bin.clean_px * (caught + bin.defect_px / 2.0);
            error += bin.clean_px * bin.defect_px / 2.0;
            caught += bin.defect_px;
        }
        Bounded { value: area / pairs, error: error / pairs }
    }

    /// Returns the mean overlap with each defective region, integrated over the share of clean pixels that are rejected from
    /// 0 to [`AUPRO_LIMIT`] and divided by the limit (Bergmann et al., 2021): `aupro`.
    pub fn aupro(&self) -> Bounded {
        let (mut rejected, mut overlap, mut area, mut error) = (0.0, 0.0, 0.0, 0.0);
        for bin in self.bins.iter().rev() {
            let (next_rejected, next_overlap) =
                (rejected + bin.clean_px / self.total.clean_px, overlap + bin.region_share / self.regions);
            let step = (next_rejected - rejected).min(AUPRO_LIMIT - rejected);
            if step > 0.0 {
                let share = step / (next_rejected - rejected);
                let end = overlap + (next_overlap - overlap) * share;
                area += step * f64::midpoint(overlap, end);
                error += step * (end - overlap) / 2.0 + step * (next_overlap - end);
            }
            (rejected, overlap) = (next_rejected, next_overlap);
            if rejected >= AUPRO_LIMIT {
                break;
            }
        }
        Bounded { value: area / AUPRO_LIMIT, error: error / AUPRO_LIMIT }
    }
}

/// Tallies on few common bins, so that a bootstrap can add them up a thousand times.
#[derive(Debug, Clone)]
pub struct CoarseTallies {
    /// `[image, bin]`.
    images: Vec<(Vec<Bin>, usize)>,
}

impl CoarseTallies {
    /// Returns `tallies` on at most about `n_bins` bins that each hold at most about as large a share of the clean pixels and
    /// of the regions.
    pub fn new(tallies: &[&PixelTally], n_bins: usize) -> Self {
        let edges = edges_of(tallies, n_bins);
        let coarse = |tally: &&PixelTally| {
            let mut bins = vec![Bin::default(); edges.len() + 1];
            for (position, &bin) in &tally.bins {
                bins[edges.partition_point(|edge| edge <= position)].add(bin);
            }
            (bins, tally.regions)
        };
        Self { images: tallies.iter().map(coarse).collect() }
    }

    /// Returns the curve of the images at `positions`, repeats counted; `None` as [`PixelCurve::of`].
    pub fn curve(&self, positions: &[usize]) -> Option<PixelCurve> {
        let mut sum = vec![Bin::default(); self.images.first()?.0.len()];
        let mut regions = 0;
        for (bins, n) in positions.iter().map(|&position| &self.images[position]) {
            sum.iter_mut().zip(bins).for_each(|(sum, &bin)| sum.add(bin));
            regions += n;
        }
        PixelCurve::from_bins(sum, regions as f64)
    }
}

/// Cuts where a further `1 / n_bins` of the clean pixels, or of the regions, has been passed.
fn edges_of(tallies: &[&PixelTally], n_bins: usize) -> Vec<u32> {
    let mut merged: BTreeMap<u32, Bin> = BTreeMap::new();
    for (&position, &bin) in tallies.iter().flat_map(|tally| &tally.bins) {
        merged.entry(position).or_default().add(bin);
    }
    let weight = |bin: &Bin, total: &Bin| {
        bin.clean_px / total.clean_px.max(1.0) + bin.region_share / total.region_share.max(1.0)
    };
    let mut total = Bin::default();
    for &bin in merged.values() {
        total.add(bin);
    }
    let (mut edges, mut since) = (Vec::new(), 0.0);
    for (&position, bin) in &merged {
        since += weight(bin, &total);
        if since >= 2.0 / n_bins as f64 {
            edges.push(position + 1);
            since = 0.0;
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(width: u32, height: u32, values: &[f32]) -> HeatMap {
        HeatMap { size: Size::new(width, height), values: values.to_vec(), threshold: 1.0 }
    }

    fn mask(width: u32, height: u32, values: &[u8]) -> GrayImage {
        GrayImage::from_raw(width, height, values.to_vec()).unwrap()
    }

    fn tally(heat_map: &HeatMap, mask: &GrayImage) -> PixelTally {
        PixelTally::of(heat_map, mask).unwrap()
    }

    #[test]
    fn perfect_and_inverted_maps() {
        let truth = mask(4, 1, &[255, 0, 0, 0]);
        let perfect = PixelCurve::of(&[&tally(&map(4, 1, &[9.0, 1.0, 2.0, 3.0]), &truth)]).unwrap();
        assert_eq!((perfect.auroc().value, perfect.aupro().value), (1.0, 1.0));
        let inverted = PixelCurve::of(&[&tally(&map(4, 1, &[0.5, 1.0, 2.0, 3.0]), &truth)]).unwrap();
        assert_eq!((inverted.auroc().value, inverted.aupro().value), (0.0, 0.0));
    }

    #[test]
    fn equal_heat_everywhere_is_chance() {
        let curve = PixelCurve::of(&[&tally(&map(1, 1, &[2.0]), &mask(2, 2, &[1, 0, 0, 0]))]).unwrap();
        assert_eq!(curve.auroc(), Bounded { value: 0.5, error: 0.5 }, "ties could go either way");
        // The line from (0, 0) to (1, 1), up to 0.3: a mean of 0.15.
        assert!((curve.aupro().value - 0.15).abs() < 1e-12);
    }

    #[test]
    fn small_regions_weigh_as_much_as_large_ones() {
        // The three-pixel region is missed, the single pixel is caught: half the overlap although a quarter of the pixels.
        let truth = mask(8, 1, &[1, 1, 1, 0, 0, 0, 0, 1]);
        let heat = map(8, 1, &[0.1, 0.1, 0.1, 1.0, 1.0, 1.0, 1.0, 5.0]);
        let curve = PixelCurve::of(&[&tally(&heat, &truth)]).unwrap();
        assert!((curve.aupro().value - 0.5).abs() < 1e-9);
    }

    #[test]
    fn no_defect_no_curve_and_no_heat_no_panic() {
        assert!(PixelCurve::of(&[&PixelTally::of_good(&map(1, 1, &[1.0]), Size::new(3, 3)).unwrap()]).is_none());
        assert_eq!(PixelTally::of(&map(2, 1, &[1.0]), &mask(2, 1, &[1, 0])), None);
        let odd = tally(&map(2, 1, &[f32::NAN, -1.0]), &mask(2, 1, &[1, 0]));
        assert_eq!(PixelCurve::of(&[&odd]).map(|curve| curve.auroc().value), Some(0.5));
    }

    #[test]
    fn coarse_curve_stays_close() {
        let mut rng = fastrand::Rng::with_seed(3);
        let tally = |_| {
            let values: Vec<f32> = (0..4096).map(|i| rng.f32() + if i < 300 { 0.4 } else { 0.0 }).collect();
            let truth: Vec<u8> = (0..4096).map(|i| u8::from(i < 300)).collect();
            tally(&map(64, 64, &values), &mask(64, 64, &truth))
        };
        let tallies: Vec<PixelTally> = (0..4).map(tally).collect();
        let tallies: Vec<&PixelTally> = tallies.iter().collect();
        let fine = PixelCurve::of(&tallies).unwrap();
        let coarse = CoarseTallies::new(&tallies, 1024).curve(&[0, 1, 2, 3]).unwrap();
        assert!(coarse.auroc().error < 5e-4);
        assert!((fine.auroc().value - coarse.auroc().value).abs() < coarse.auroc().error + fine.auroc().error);
        assert!((fine.aupro().value - coarse.aupro().value).abs() < 1e-3);
        let once = CoarseTallies::new(&tallies, 1024).curve(&[1]).unwrap();
        let alone = PixelCurve::of(&tallies[1..2]).unwrap();
        assert!((once.aupro().value - alone.aupro().value).abs() < 1e-3);
    }
}
