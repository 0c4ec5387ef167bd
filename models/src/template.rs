//! The gate for parts that arrive aligned: each frame is compared with a golden template, position by position.
//!
//! 1. The template is laid onto the frame: an affine map for the whole, then small motions block by block.
//! 2. The light of the frame is brought to that of the template.
//! 3. A pixel is strange by as much as no pixel of the other picture within [`TemplateOptions::tolerance_px`] explains, in
//!    units of how much good parts differ there; what is thinner than three pixels is an edge, not a defect.
//! 4. Strange pixels become regions; on bare boards ([`TemplateOptions::conductor`]) their shape names the defect.

mod align;
mod board;
mod compare;
mod contrast;
mod enroll;
mod envelope;
mod file;
mod local;
pub(crate) mod plane;
mod regions;
mod warp;

use std::path::Path;

use cameras::{Frame, Size};
use serde::{Deserialize, Serialize};

pub use self::board::Conductor;
use self::{
    align::Aligner,
    board::Change,
    compare::{Channel, Comparison},
    contrast::Contrast,
    envelope::Disc,
    local::Field,
    plane::{Channels, Plane, brightness},
    regions::{Blob, blobs},
    warp::Mapping,
};
use crate::{Calibration, Features, Gate, GateReading, HeatMap, ModelError, Region};

/// Sides of a template that can be laid onto anything.
const MIN_SIDE_PX: u32 = 16;
/// The threshold where one golden image leaves nothing to learn it from, in units of the assumed noise.
const UNCALIBRATED_THRESHOLD: f32 = 4.0;
/// The lowest threshold: golden images that are copies of each other would give 0.
const MIN_THRESHOLD: f32 = 1.0;

/// How a template is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateOptions {
    /// How far any part of the picture may lie from its place in the golden image.
    pub max_shift_px: u32,
    /// Edges may lie this far off after alignment without being strange; 0 to 8.
    pub tolerance_px: u32,
    /// Boxes of regions grow by this on each side. 0 gives the tightest box; 10 is what the annotators of DeepPCB drew.
    pub margin_px: u32,
    /// How copper looks, where the part is a bare board: it is then compared by brightness alone and defects get names.
    pub conductor: Option<Conductor>,
}

impl Default for TemplateOptions {
    fn default() -> Self {
        Self { max_shift_px: 16, tolerance_px: 2, margin_px: 0, conductor: None }
    }
}

impl TemplateOptions {
    /// Returns the options for bare boards whose copper looks like `conductor`.
    pub fn bare_board(conductor: Conductor) -> Self {
        Self { conductor: Some(conductor), ..Self::default() }
    }
}

/// A golden template and what it learned about how much good parts differ.
#[derive(Debug, Clone)]
pub struct Template {
    options: TemplateOptions,
    channels: Vec<Channel>,
    /// `None` with one golden image.
    calibration: Option<Calibration>,
    prepared: Prepared,
}

/// What follows from the channels and is kept because every frame needs it.
#[derive(Debug, Clone)]
struct Prepared {
    brightness: Plane<f32>,
    aligner: Aligner,
    tolerance: Disc,
    contrast: Contrast,
}

impl Template {
    /// Returns a template learned from golden images of one size, calibrated by leaving out one image at a time.
    ///
    /// The first image is the one that the others are laid onto.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] when there is no image, sizes differ, a side is under 16 px or an option is out of range.
    pub fn from_golden(golden: &[Frame], options: TemplateOptions) -> Result<Self, ModelError> {
        check_options(&options)?;
        check_golden(golden)?;
        let stack = enroll::Stack::new(golden, &options);
        let scores = stack.leave_one_out_scores()?;
        let calibration = if scores.is_empty() { None } else { Some(Calibration::new(scores)?) };
        Ok(Self { calibration, ..stack.template() })
    }

    /// Returns the template that [`Self::save`] wrote.
    ///
    /// # Errors
    /// [`ModelError::Io`] when the file cannot be read, [`ModelError::Malformed`] when it is no template.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        file::read(path)
    }

    /// Writes the template to one file (safetensors: mean and noise of each channel, options and calibration as metadata).
    ///
    /// # Errors
    /// [`ModelError::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        file::write(self, path)
    }

    /// Returns the size that frames must have.
    pub fn size(&self) -> Size {
        self.channels[0].mean.size()
    }

    /// Returns how it compares.
    pub const fn options(&self) -> &TemplateOptions {
        &self.options
    }

    /// Returns the template that may reject this rate of good parts, in 0..=0.5.
    ///
    /// # Errors
    /// When the rate is out of range.
    pub fn with_false_alarm_ratio(self, ratio: f64) -> Result<Self, ModelError> {
        let calibration = self.calibration.map(|scores| scores.with_false_alarm_ratio(ratio)).transpose()?;
        Ok(Self { calibration, ..self })
    }

    /// Returns the scores of good parts that the threshold rests on; `None` with one golden image.
    pub const fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Returns the score above which a frame is rejected, in units of the noise of good parts.
    pub fn threshold(&self) -> f32 {
        self.calibration.as_ref().map_or(UNCALIBRATED_THRESHOLD, |c| c.threshold().max(MIN_THRESHOLD))
    }

    /// Returns what the threshold means, as a sentence for the person who enrols.
    pub fn explanation(&self) -> String {
        match &self.calibration {
            Some(calibration) => calibration.explanation(),
            None => format!(
                "1 good part: nothing to calibrate on; rejects what is at least 3 px thick and differs from the golden image by more than {:.0} of 255 grey levels, a quarter of its contrast; enrol more good parts to learn how much they differ",
                self.prepared.contrast.step / 4.0
            ),
        }
    }

    /// Returns the judgement of one frame.
    ///
    /// Within 2 px of the border of the frame, and where the template does not reach, nothing is judged.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] when the frame has another size than the golden images.
    pub fn judge(&self, frame: &Frame) -> Result<GateReading, ModelError> {
        if frame.size() != self.size() {
            return Err(ModelError::mismatch(format!("frame {}", frame.id()), self.size(), frame.size()));
        }
        let comparison = self.compare(frame);
        let heat = comparison.heat();
        let score = heat.values.iter().copied().fold(0.0, f32::max);
        let threshold = self.threshold();
        Ok(GateReading {
            score,
            threshold,
            p_value: self.calibration.as_ref().map(|c| c.p_value(score)),
            regions: self.regions(&comparison, threshold),
            heat_map: HeatMap { size: heat.size(), values: heat.values, threshold },
        })
    }

    fn compare(&self, frame: &Frame) -> Comparison {
        let planes = plane::planes(frame, self.content());
        let mapping = self.prepared.place(&brightness(&planes));
        Comparison::new(&planes, &self.channels, &mapping, &self.prepared.tolerance)
    }

    fn content(&self) -> Channels {
        if self.channels.len() == 1 { Channels::Luma } else { Channels::Colour }
    }

    /// Returns the strange regions, strongest first, of equals the largest.
    fn regions(&self, seen: &Comparison, threshold: f32) -> Vec<Region> {
        let tolerance = &self.prepared.tolerance;
        let mut regions = Vec::new();
        if let Some(conductor) = self.options.conductor {
            for (side, change) in [(&seen.brighter, Change::Brighter), (&seen.darker, Change::Darker)] {
                let level = self.prepared.contrast.level;
                let named =
                    |blob: &Blob| self.region(seen, blob, Some(board::name(seen, blob, change, conductor, level)));
                regions.extend(blobs(side, threshold, tolerance).iter().map(named));
            }
        } else {
            let found = blobs(&seen.either_side(), threshold, tolerance);
            regions.extend(found.iter().map(|blob| self.region(seen, blob, None)));
        }
        regions.sort_by(|a: &Region, b| b.score.total_cmp(&a.score).then(b.area_px.cmp(&a.area_px)));
        regions
    }

    fn region(&self, seen: &Comparison, blob: &Blob, code: Option<&str>) -> Region {
        Region {
            rect: blob.rect(self.options.margin_px as usize, (seen.frame.width, seen.frame.height)),
            score: blob.score,
            area_px: blob.pixels.len() as u64,
            code: code.map(str::to_owned),
            probability: None,
        }
    }
}

impl Gate for Template {
    fn judge(&mut self, frame: &Frame, _features: Option<&Features>) -> Result<GateReading, ModelError> {
        Self::judge(self, frame)
    }

    fn magnification(&self) -> Option<f64> {
        None
    }
}

impl Prepared {
    fn new(channels: &[Channel], options: &TemplateOptions) -> Self {
        let means: Vec<_> = channels.iter().map(|channel| channel.mean.clone()).collect();
        let brightness = brightness(&means);
        Self {
            aligner: Aligner::new(&brightness, options.max_shift_px.into()),
            tolerance: Disc::new(options.tolerance_px as usize),
            contrast: Contrast::of(&brightness),
            brightness,
        }
    }

    /// Returns where on the template each pixel of a frame of this brightness lies.
    fn place(&self, frame: &Plane<f32>) -> Mapping {
        let affine = self.aligner.template_from_frame(frame);
        let mut mapping = Mapping::of_affine(&affine, frame.width, frame.height);
        let roughly = mapping.warp(&self.brightness);
        let known = mapping.known(&self.brightness, 0);
        let light = compare::Fit::of(frame, &roughly, &known);
        mapping.add(&Field::between(&light.undo(frame), &roughly, self.contrast.step));
        mapping
    }
}

fn check_options(options: &TemplateOptions) -> Result<(), ModelError> {
    if options.tolerance_px <= 8 {
        return Ok(());
    }
    Err(ModelError::mismatch("template option tolerance_px", "0 to 8", options.tolerance_px))
}

fn check_golden(golden: &[Frame]) -> Result<(), ModelError> {
    let Some(first) = golden.first() else {
        return Err(ModelError::mismatch("golden images", "at least 1", 0));
    };
    let smallest = first.size().width_px.min(first.size().height_px);
    if smallest < MIN_SIDE_PX {
        let expected = format!("at least {MIN_SIDE_PX} x {MIN_SIDE_PX}");
        return Err(ModelError::mismatch(name(first), expected, first.size()));
    }
    match golden.iter().find(|frame| frame.size() != first.size()) {
        Some(other) => {
            Err(ModelError::mismatch(name(other), format!("{} as {} has", first.size(), name(first)), other.size()))
        }
        None => Ok(()),
    }
}

fn name(frame: &Frame) -> String {
    frame.origin().map_or_else(|| format!("golden image {}", frame.id()), |path| path.display().to_string())
}

#[cfg(test)]
mod tests;
