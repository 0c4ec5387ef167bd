//! What several golden images say together: the mean at each pixel and how much it varies.

use cameras::Frame;

use super::{
    Prepared, Template, TemplateOptions,
    compare::{Channel, Fit, Noise},
    contrast::Contrast,
    envelope::Disc,
    plane::{Channels, Plane, brightness, planes},
};
use crate::ModelError;

/// Noise to assume before any is seen, as a part of the template's contrast.
const PRIOR_NOISE_RATIO: f32 = 1.0 / 16.0;
/// The least noise to assume, in grey levels: what rounding and compression make.
const MIN_PRIOR_NOISE: f32 = 1.0;
/// As how many golden images that assumption counts.
const PRIOR_WEIGHT: f32 = 4.0;

/// Golden images laid onto the first of them.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    golden: &'a [Frame],
    options: &'a TemplateOptions,
    content: Channels,
    reference: Vec<Plane<f32>>,
    prior_noise: f32,
    /// Sums over all images of the difference from the reference, and of its square, by channel.
    sums: Vec<Moments>,
}

#[derive(Debug, Clone)]
struct Moments {
    linear: Plane<f32>,
    square: Plane<f32>,
}

impl<'a> Stack<'a> {
    /// Returns the stack of golden images, of which there is at least one; all have one size.
    pub(super) fn new(golden: &'a [Frame], options: &'a TemplateOptions) -> Self {
        let content = if options.conductor.is_some() { Channels::Luma } else { Channels::of(golden) };
        let reference = planes(&golden[0], content);
        let step = Contrast::of(&brightness(&reference)).step;
        let empty = reference[0].map(|_| 0.0);
        let sums = vec![Moments { linear: empty.clone(), square: empty }; reference.len()];
        let prior_noise = (step * PRIOR_NOISE_RATIO).max(MIN_PRIOR_NOISE);
        let mut stack = Self { golden, options, content, reference, prior_noise, sums };
        for index in 1..golden.len() {
            stack.sums = stack.sums_changed_by(index, 1.0);
        }
        stack
    }

    /// Returns the template of all images, not calibrated.
    pub(super) fn template(&self) -> Template {
        self.template_of(&self.sums, self.golden.len())
    }

    /// Returns the score of each image against the template of all others; nothing with one image.
    pub(super) fn leave_one_out_scores(&self) -> Result<Vec<f32>, ModelError> {
        if self.golden.len() < 2 {
            return Ok(Vec::new());
        }
        let others = self.golden.len() - 1;
        let score = |(index, frame): (usize, &Frame)| {
            let template = self.template_of(&self.sums_changed_by(index, -1.0), others);
            Ok(template.judge(frame)?.score)
        };
        self.golden.iter().enumerate().map(score).collect()
    }

    /// Returns the sums after image `index` is counted `times` more.
    fn sums_changed_by(&self, index: usize, times: f32) -> Vec<Moments> {
        let mut sums = self.sums.clone();
        for ((sum, plane), reference) in sums.iter_mut().zip(self.aligned(index)).zip(&self.reference) {
            let pixels = sum.linear.values.iter_mut().zip(&mut sum.square.values);
            let differences = plane.values.iter().zip(&reference.values).map(|(a, b)| a - b);
            for ((linear, square), difference) in pixels.zip(differences) {
                *linear += times * difference;
                *square += times * difference * difference;
            }
        }
        sums
    }

    /// Returns image `index` laid onto the reference, in its light.
    fn aligned(&self, index: usize) -> Vec<Plane<f32>> {
        if index == 0 {
            return self.reference.clone();
        }
        let own = planes(&self.golden[index], self.content);
        let channels: Vec<_> =
            own.into_iter().map(|mean| Channel { mean, noise: Noise::Even(self.prior_noise) }).collect();
        let mapping = Prepared::new(&channels, self.options).place(&brightness(&self.reference));
        let known = mapping.known(&self.reference[0], 0);
        let lay = |(channel, reference): (&Channel, &Plane<f32>)| {
            let seen = mapping.warp(&channel.mean);
            Fit::of(&seen, reference, &known).undo(&seen)
        };
        channels.iter().zip(&self.reference).map(lay).collect()
    }

    fn template_of(&self, sums: &[Moments], count: usize) -> Template {
        let channels: Vec<_> =
            sums.iter().zip(&self.reference).map(|(sum, reference)| self.channel(sum, reference, count)).collect();
        let prepared = Prepared::new(&channels, self.options);
        Template { options: *self.options, channels, calibration: None, prepared }
    }

    /// Returns mean and noise of one channel: the variance of `count` images and that assumed before, each by its weight.
    fn channel(&self, sum: &Moments, reference: &Plane<f32>, count: usize) -> Channel {
        let n = count as f32;
        let mut mean = reference.clone();
        for (value, linear) in mean.values.iter_mut().zip(&sum.linear.values) {
            *value += linear / n;
        }
        if count == 1 {
            return Channel { mean, noise: Noise::Even(self.prior_noise) };
        }
        let prior = PRIOR_WEIGHT * self.prior_noise.powi(2);
        let mut noise = sum.square.clone();
        for (square, linear) in noise.values.iter_mut().zip(&sum.linear.values) {
            let spread = (*square - linear * linear / n).max(0.0);
            *square = ((prior + spread) / (PRIOR_WEIGHT + n - 1.0)).sqrt();
        }
        // An edge is as noisy as the pixels it may move to.
        let tolerance = Disc::new(self.options.tolerance_px as usize);
        Channel { mean, noise: Noise::Map(tolerance.highest(&noise)) }
    }
}
