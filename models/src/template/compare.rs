//! The comparison itself, position by position, once the template lies on the frame.

use super::{
    envelope::{Disc, thick_core},
    plane::{Plane, brightness},
    warp::Mapping,
};

/// Rows and columns between the pixels that brightness is fitted on.
const FIT_STRIDE_PX: usize = 4;
/// How much brighter or darker than the template a whole frame may be before the difference itself counts.
const GAIN_RANGE: (f32, f32) = (0.5, 2.0);

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

/// How the light of a frame differs from the template's: `frame = gain * template + offset`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    gain: f32,
    offset: f32,
}

impl Fit {
    /// Returns the least-squares fit over the pixels where `known` is not 0, a second time without outliers.
    pub(super) fn of(frame: &Plane<f32>, template: &Plane<f32>, known: &Plane<f32>) -> Self {
        let mut pairs = Vec::new();
        for y in (0..frame.height).step_by(FIT_STRIDE_PX) {
            for x in (0..frame.width).step_by(FIT_STRIDE_PX) {
                if known.at(x, y) > 0.0 {
                    pairs.push((template.at(x, y), frame.at(x, y)));
                }
            }
        }
        let first = Self::least_squares(&pairs);
        let miss = |&(t, f): &(f32, f32)| (first.gain * t + first.offset - f).abs();
        let mean_miss = pairs.iter().map(miss).sum::<f32>() / pairs.len().max(1) as f32;
        // Never so strict that only the brightness that most pixels share is left.
        let limit = (3.0 * mean_miss).max(MIN_OUTLIER_LEVELS);
        pairs.retain(|pair| miss(pair) <= limit);
        Self::least_squares(&pairs)
    }

    fn least_squares(pairs: &[(f32, f32)]) -> Self {
        let n = pairs.len().max(1) as f64;
        let mean = |f: &dyn Fn(&(f32, f32)) -> f64| pairs.iter().map(f).sum::<f64>() / n;
        let (template, frame) = (mean(&|p| p.0.into()), mean(&|p| p.1.into()));
        let covariance = mean(&|p| (f64::from(p.0) - template) * (f64::from(p.1) - frame));
        let variance = mean(&|p| (f64::from(p.0) - template).powi(2));
        let gain = if variance < 1.0 { 1.0 } else { (covariance / variance) as f32 };
        let gain = gain.clamp(GAIN_RANGE.0, GAIN_RANGE.1);
        Self { gain, offset: frame as f32 - gain * template as f32 }
    }

    /// Returns the frame as it were in the template's light.
    pub(super) fn undo(self, frame: &Plane<f32>) -> Plane<f32> {
        frame.map(|v| (v - self.offset) / self.gain)
    }
}
