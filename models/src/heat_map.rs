mod regions;

use cameras::Size;

/// How strange each cell of a frame looks, or how much it speaks for what is named, on a grid that covers the whole frame.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// Cells from left to right and from top to bottom.
    pub size: Size,
    /// `[height, width]`, row-major, in the unit of who made it: larger is hotter, not below 0.
    pub values: Vec<f32>,
    /// The value above which a cell is marked.
    pub threshold: f32,
}

impl HeatMap {
    /// Returns the map on a grid of `size`, bilinear between the centres of its cells: with the size of the original frame,
    /// one value for each of its pixels. Evidence and pixel measures both come from here. `None` where the values do not
    /// fill the map's own size, or that is empty.
    #[must_use]
    pub fn resized(&self, size: Size) -> Option<Self> {
        if self.values.is_empty() || self.values.len() != self.size.area_px() {
            return None;
        }
        Some(Self { size, values: resample(&self.values, self.size, size), threshold: self.threshold })
    }
}

/// Returns `values [from.height, from.width]` as `[to.height, to.width]`, bilinear between the centres of cells.
pub(crate) fn resample(values: &[f32], from: Size, to: Size) -> Vec<f32> {
    if from == to {
        return values.to_vec();
    }
    let cols = from.width_px as usize;
    let across = taps(from.width_px, to.width_px);
    let mut resampled = Vec::with_capacity(to.area_px());
    for down in taps(from.height_px, to.height_px) {
        let row = |row: usize| &values[row * cols..][..cols];
        let (top, bottom) = (row(down.first), row(down.second));
        resampled.extend(across.iter().map(|right| {
            let upper = right.between(top[right.first], top[right.second]);
            let lower = right.between(bottom[right.first], bottom[right.second]);
            down.between(upper, lower)
        }));
    }
    resampled
}

/// The two cells that a position lies between, and the weight of the second.
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

impl Tap {
    fn between(&self, first: f32, second: f32) -> f32 {
        first + (second - first) * self.weight
    }
}

/// Returns the taps of each of `to` positions on `from` cells that cover the same length.
fn taps(from: u32, to: u32) -> Vec<Tap> {
    let last = from.saturating_sub(1);
    let tap = |position: u32| {
        let centre = (f64::from(position) + 0.5) * f64::from(from) / f64::from(to) - 0.5;
        let centre = centre.clamp(0.0, f64::from(last));
        let first = centre as u32;
        Tap {
            first: first as usize,
            second: (first + 1).min(last) as usize,
            weight: (centre - f64::from(first)) as f32,
        }
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(width_px: u32, height_px: u32, values: &[f32]) -> HeatMap {
        HeatMap { size: Size::new(width_px, height_px), values: values.to_vec(), threshold: 1.0 }
    }

    #[test]
    fn interpolates_between_centres() {
        let wide = map(2, 1, &[0.0, 4.0]).resized(Size::new(4, 2)).unwrap();
        assert_eq!(wide, map(4, 2, &[0.0, 1.0, 3.0, 4.0, 0.0, 1.0, 3.0, 4.0]));
        let tall = map(1, 2, &[0.0, 4.0]).resized(Size::new(1, 4)).unwrap();
        assert_eq!(tall.values, [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(map(1, 1, &[3.0]).resized(Size::new(2, 2)).unwrap().values, [3.0; 4]);
        assert_eq!(wide.resized(wide.size).unwrap(), wide);
    }

    #[test]
    fn a_malformed_map_has_no_other_size() {
        for malformed in [map(2, 1, &[0.0]), map(0, 0, &[]), map(2, 0, &[1.0])] {
            assert_eq!(malformed.resized(Size::new(3, 3)), None);
        }
        assert!(map(2, 1, &[0.0, 1.0]).resized(Size::new(0, 5)).unwrap().values.is_empty());
    }
}
