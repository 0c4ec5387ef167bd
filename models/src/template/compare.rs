//! The comparison itself, position by position, once the template lies on the frame.

use std::ops::RangeInclusive;

use nalgebra::{Matrix4, Vector4};

use super::{
    envelope::{Disc, thick_core},
    plane::{Plane, brightness},
    warp::Mapping,
};

/// Rows and columns between the pixels that brightness is fitted on.
const FIT_STRIDE_PX: usize = 4;
/// How much brighter or darker than the template a whole frame may be before the difference itself counts.
const GAIN_RANGE: RangeInclusive<f64> = 0.5..=2.0;
/// How much more light one side may get than the middle, as a part of the gain.
const MAX_SLOPE_RATIO: f64 = 0.3;

/// What differs by no more than this after the first fit of brightness is no outlier.
const MIN_OUTLIER_LEVELS: f32 = 4.0;

/// How much good parts differ at each pixel, in grey levels of the template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Noise {
    /// The same everywhere: there is one golden image only.
    Even(f32),
    /// Learned, one value a pixel.
    Map(Plane<f32>),
}

/// One compared channel of the template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Channel {
    pub(super) mean: Plane<f32>,
    pub(super) noise: Noise,
}

/// By how much a frame leaves the template to one side, in units of the noise.
#[derive(Debug, Clone)]
pub(super) struct Side {
    /// What no shift within the tolerance explains, not below 0.
    pub(super) residual: Plane<f32>,
    /// [`Self::residual`] where it is at least three pixels thick.
    pub(super) core: Plane<f32>,
    /// The plain difference, of either sign.
    pub(super) difference: Plane<f32>,
}

/// A frame beside its template.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    pub(super) brighter: Side,
    pub(super) darker: Side,
    /// Brightness of the frame and of the template where the frame sees it, both in the template's grey levels.
    pub(super) frame: Plane<f32>,
    pub(super) expected: Plane<f32>,
}

impl Comparison {
    /// Compares the planes of a frame with the channels of a template.
    pub(super) fn new(frame: &[Plane<f32>], channels: &[Channel], mapping: &Mapping, tolerance: &Disc) -> Self {
        let known = mapping.known(&channels[0].mean, 2);
        let mut brighter: Option<Side> = None;
        let mut darker: Option<Side> = None;
        let mut seen = Vec::new();
        let mut expected = Vec::new();
        for (plane, channel) in frame.iter().zip(channels) {
            let mean = mapping.warp(&channel.mean);
            let plane = Fit::of(plane, &mean, &known).undo(plane);
            let noise = match &channel.noise {
                Noise::Even(level) => known.map(|k| k / level),
                Noise::Map(map) => divide(&known, &mapping.warp(map)),
            };
            let (up, down) = leave(&plane, &mean, &noise, tolerance);
            brighter = Some(worse(brighter, up));
            darker = Some(worse(darker, down));
            seen.push(plane);
            expected.push(mean);
        }
        let finish = |side: Option<Side>| {
            let mut side = side.expect("a template has a channel");
            side.core = thick_core(&side.residual);
            side
        };
        Self {
            brighter: finish(brighter),
            darker: finish(darker),
            frame: brightness(&seen),
            expected: brightness(&expected),
        }
    }

    /// Returns how strange each pixel is, in units of the noise.
    pub(super) fn heat(&self) -> Plane<f32> {
        zip(&self.brighter.core, &self.darker.core, f32::max)
    }

    /// Returns by how much the frame leaves the template to either side.
    pub(super) fn either_side(&self) -> Side {
        Side {
            residual: zip(&self.brighter.residual, &self.darker.residual, f32::max),
            core: self.heat(),
            difference: zip(&self.brighter.difference, &self.darker.difference, f32::max),
        }
    }
}

/// Returns by how much `frame` is brighter and darker than `mean`; `weight` is one over the noise, 0 where nothing is known.
fn leave(frame: &Plane<f32>, mean: &Plane<f32>, weight: &Plane<f32>, tolerance: &Disc) -> (Side, Side) {
    let (frame_low, frame_high) = (tolerance.lowest(frame), tolerance.highest(frame));
    let (mean_low, mean_high) = (tolerance.lowest(mean), tolerance.highest(mean));
    // A thing that came is outside of what the template shows nearby; a thing that went is outside of what the frame shows nearby.
    let up = outside(frame, &mean_high, &frame_low, mean);
    let down = outside(&mean_low, frame, mean, &frame_high);
    let scaled = |plane: Plane<f32>| zip(&plane, weight, |v, w| v * w);
    let difference = scaled(zip(frame, mean, |f, m| f - m));
    let negative = difference.map(|v| -v);
    let side = |residual, difference| Side { core: Plane::filled(0, 0, 0.0), residual, difference };
    (side(scaled(up), difference), side(scaled(down), negative))
}

/// Returns the larger of `a - b` and `c - d`, or 0.
fn outside(a: &Plane<f32>, b: &Plane<f32>, c: &Plane<f32>, d: &Plane<f32>) -> Plane<f32> {
    let first = a.values.iter().zip(&b.values);
    let second = c.values.iter().zip(&d.values);
    let values = first.zip(second).map(|((a, b), (c, d))| (a - b).max(c - d).max(0.0)).collect();
    Plane { width: a.width, height: a.height, values }
}

fn worse(so_far: Option<Side>, next: Side) -> Side {
    let Some(so_far) = so_far else { return next };
    Side {
        residual: zip(&so_far.residual, &next.residual, f32::max),
        core: next.core,
        difference: zip(&so_far.difference, &next.difference, f32::max),
    }
}

fn divide(a: &Plane<f32>, b: &Plane<f32>) -> Plane<f32> {
    zip(a, b, |a, b| a / b)
}

fn zip(a: &Plane<f32>, b: &Plane<f32>, f: impl Fn(f32, f32) -> f32) -> Plane<f32> {
    let values = a.values.iter().zip(&b.values).map(|(&a, &b)| f(a, b)).collect();
    Plane { width: a.width, height: a.height, values }
}

/// How the light of a frame differs from the template's: `frame = (gain + slope · place) * template + offset`, where places run
/// from -1 to 1 across and down the frame. A lamp that moved a little lights one side more than the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    gain: f32,
    slope: [f32; 2],
    offset: f32,
}

/// One pixel that brightness is fitted on.
#[derive(Debug, Clone, Copy)]
struct Pair {
    place: [f32; 2],
    template: f32,
    frame: f32,
}

impl Fit {
    /// Returns the least-squares fit over the pixels where `known` is not 0, a second time without outliers.
    pub(super) fn of(frame: &Plane<f32>, template: &Plane<f32>, known: &Plane<f32>) -> Self {
        let mut pairs = Vec::new();
        for y in (0..frame.height).step_by(FIT_STRIDE_PX) {
            for x in (0..frame.width).step_by(FIT_STRIDE_PX) {
                if known.at(x, y) > 0.0 {
                    let place = [place(x, frame.width), place(y, frame.height)];
                    pairs.push(Pair { place, template: template.at(x, y), frame: frame.at(x, y) });
                }
            }
        }
        let first = Self::least_squares(&pairs);
        let miss = |pair: &Pair| (first.gain_at(pair.place) * pair.template + first.offset - pair.frame).abs();
        let mean_miss = pairs.iter().map(miss).sum::<f32>() / pairs.len().max(1) as f32;
        // Never so strict that only the brightness that most pixels share is left.
        let limit = (3.0 * mean_miss).max(MIN_OUTLIER_LEVELS);
        pairs.retain(|pair| miss(pair) <= limit);
        Self::least_squares(&pairs)
    }

    fn least_squares(pairs: &[Pair]) -> Self {
        let (mut normal, mut right) = (Matrix4::<f64>::zeros(), Vector4::<f64>::zeros());
        for &Pair { place: [u, v], template, frame } in pairs {
            let terms = Vector4::new(template, u * template, v * template, 1.0).map(f64::from);
            normal += terms * terms.transpose();
            right += terms * f64::from(frame);
        }
        let n = pairs.len().max(1) as f64;
        let (template, frame) = (normal[(0, 3)] / n, right[3] / n);
        let even = |gain: f64| Self { gain: gain as f32, slope: [0.0; 2], offset: (frame - gain * template) as f32 };
        // Without contrast there is no gain to be found.
        if normal[(0, 0)] / n - template * template < 1.0 {
            return even(1.0);
        }
        let fitted = normal.cholesky().map(|factors| factors.solve(&right));
        let in_range =
            |p: &Vector4<f64>| GAIN_RANGE.contains(&p[0]) && p[1].abs().max(p[2].abs()) <= MAX_SLOPE_RATIO * p[0];
        if let Some(p) = fitted.filter(in_range) {
            return Self { gain: p[0] as f32, slope: [p[1] as f32, p[2] as f32], offset: p[3] as f32 };
        }
        let covariance = right[0] / n - template * frame;
        let variance = normal[(0, 0)] / n - template * template;
        even((covariance / variance).clamp(*GAIN_RANGE.start(), *GAIN_RANGE.end()))
    }

    fn gain_at(self, [u, v]: [f32; 2]) -> f32 {
        self.gain + self.slope[0] * u + self.slope[1] * v
    }

    /// Returns the frame as it were in the template's light.
    pub(super) fn undo(self, frame: &Plane<f32>) -> Plane<f32> {
        let mut lit = frame.clone();
        for y in 0..frame.height {
            for (x, value) in lit.row_mut(y).iter_mut().enumerate() {
                *value = (*value - self.offset) / self.gain_at([place(x, frame.width), place(y, frame.height)]);
            }
        }
        lit
    }
}

/// Returns the place of pixel `index` of `count`, from -1 to 1.
fn place(index: usize, count: usize) -> f32 {
    2.0 * (index as f32 + 0.5) / count as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_light_of_a_frame_is_undone() {
        let mut template = Plane::filled(64, 48, 0.0);
        for y in 0..48 {
            template.row_mut(y).iter_mut().enumerate().for_each(|(x, v)| *v = 40.0 + ((x * 7 + y * 13) % 120) as f32);
        }
        let known = template.map(|_| 1.0);
        for (gain, [across, down], offset) in
            [(1.0, [0.0, 0.0], 0.0), (0.8, [0.06, -0.1], 12.0), (1.3, [0.0, 0.2], -9.0)]
        {
            let mut frame = template.clone();
            for y in 0..48 {
                for (x, value) in frame.row_mut(y).iter_mut().enumerate() {
                    *value = (gain + across * place(x, 64) + down * place(y, 48)) * *value + offset;
                }
            }
            // A defect is no light.
            (10..20).for_each(|y| frame.row_mut(y)[10..20].fill(0.0));
            let undone = Fit::of(&frame, &template, &known).undo(&frame);
            for (x, y) in [(0, 0), (63, 0), (40, 30), (0, 47), (63, 47)] {
                let (found, expected) = (undone.at(x, y), template.at(x, y));
                assert!((found - expected).abs() < 0.5, "gain {gain}, {x} {y}: expected {expected}, found {found}");
            }
        }
    }

    #[test]
    fn a_frame_without_contrast_has_an_offset_only() {
        let flat = |level| Plane::filled(16, 16, level);
        let undone = Fit::of(&flat(90.0), &flat(70.0), &flat(1.0)).undo(&flat(90.0));
        assert_eq!(undone, flat(70.0));
    }
}
