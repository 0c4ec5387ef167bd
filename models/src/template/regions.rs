use cameras::Rect;
use image::{GrayImage, Luma};
use imageproc::region_labelling::{Connectivity, connected_components};

use super::{compare::Side, envelope::Disc, plane::Plane};

/// Strange pixels this far apart or nearer belong to one region.
const LINK_PX: usize = 3;

/// A connected set of strange pixels.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// Its pixels: column, row.
    pub(super) pixels: Vec<(usize, usize)>,
    /// The largest heat in it.
    pub(super) score: f32,
}

impl Blob {
    /// Returns the bounding box, larger by `margin_px` on each side as far as the frame goes.
    pub(super) fn rect(&self, margin_px: usize, (width, height): (usize, usize)) -> Rect {
        let range = |values: &mut dyn Iterator<Item = usize>, side: usize| {
            let (low, high) = values.fold((usize::MAX, 0), |(low, high), v| (low.min(v), high.max(v)));
            let start = low.saturating_sub(margin_px);
            (start as u32, ((high + margin_px + 1).min(side) - start) as u32)
        };
        let (x, width) = range(&mut self.pixels.iter().map(|p| p.0), width);
        let (y, height) = range(&mut self.pixels.iter().map(|p| p.1), height);
        Rect { x, y, width, height }
    }
}

/// Returns the parts of one side of a comparison that are stranger than `threshold` somewhere in their core.
///
/// A region also holds the pixels beside it that differ plainly but that the tolerance would have let pass.
pub(super) fn blobs(side: &Side, threshold: f32, tolerance: &Disc) -> Vec<Blob> {
    if !side.core.values.iter().any(|&v| v > threshold) {
        return Vec::new();
    }
    let strange = side.residual.map(|v| u8::from(v > threshold));
    let near = tolerance.highest(&strange);
    let labels = label(&Disc::new(LINK_PX).highest(&strange));
    let count = labels.values.iter().max().map_or(0, |&most| most as usize);
    let mut found = vec![Blob { pixels: Vec::new(), score: 0.0 }; count];
    for (index, &label) in labels.values.iter().enumerate() {
        let differs = near.values[index] > 0 && side.difference.values[index] > threshold;
        if label > 0 && (differs || strange.values[index] > 0) {
            let blob = &mut found[label as usize - 1];
            blob.pixels.push((index % labels.width, index / labels.width));
            blob.score = blob.score.max(side.core.values[index]);
        }
    }
    found.retain(|blob| blob.score > threshold);
    found
}

/// Returns the number of the connected part (8 neighbours) that each pixel belongs to, from 1; 0 where `mask` is 0.
pub(super) fn label(mask: &Plane<u8>) -> Plane<u32> {
    let image = GrayImage::from_raw(mask.width as u32, mask.height as u32, mask.values.clone())
        .expect("a plane has width times height values");
    let labels = connected_components(&image, Connectivity::Eight, Luma([0]));
    Plane { width: mask.width, height: mask.height, values: labels.into_raw() }
}
