use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use image::RgbImage;
use serde::{Deserialize, Serialize};
use tiny_skia::{Point, Transform};

use self::{board::Part, canvas::Canvas, flaw::Flaw, light::Light, rng::Rng};
use crate::{CameraError, Frame, FrameId, FrameSource, Grab, Rect, Size, SyntheticConfig};

mod board;
mod canvas;
mod flaw;
mod lettering;
mod light;
mod parts;
mod rng;

/// What can be wrong with a synthetic part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefectKind {
    /// One of four screws is not there.
    MissingScrew,
    /// One pin leaves the row.
    BentPin,
    /// One pin is not there.
    MissingPin,
    /// A thin bright line through the surface.
    Scratch,
    /// A stain of flux.
    Smear,
}

impl DefectKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::MissingScrew, Self::BentPin, Self::MissingPin, Self::Scratch, Self::Smear];

    /// Returns the id of the matching entry in the defect knowledge base.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingScrew => "missing_screw",
            Self::BentPin => "bent_pin",
            Self::MissingPin => "missing_pin",
            Self::Scratch => "generic_scratch",
            Self::Smear => "contamination",
        }
    }
}

/// What is wrong with a synthetic part, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroundTruth {
    /// What it is.
    pub kind: DefectKind,
    /// The smallest box around it, in pixels of the frame.
    pub rect_in_frame: Rect,
}

/// One picture of a part and what is true about it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The picture, [`SyntheticLine::SIZE`].
    pub picture: RgbImage,
    /// The defect, if there is one.
    pub truth: Option<GroundTruth>,
}

/// A production line that draws its parts: a circuit board with four screws and a row of pins.
///
/// Position, light, screw angles and sensor noise differ from part to part. A part depends on nothing but the seed and its
/// index, hence any of them can be drawn again at any time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyntheticLine {
    seed: u64,
    defect_ratio: f64,
}

/// Which random numbers are used for what, so that one choice never shifts another.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Defect = 1,
    Pose,
    Light,
    Noise,
    Golden = 64,
}

impl SyntheticLine {
    /// Width and height of its pictures.
    pub const SIZE: Size = Size::new(640, 480);

    /// Returns the line of `seed`, of whose parts about `defect_ratio` (in 0..=1) carry one defect.
    pub const fn new(seed: u64, defect_ratio: f64) -> Self {
        Self { seed, defect_ratio }
    }

    /// Returns part `index` of the production.
    pub fn sample(&self, index: u64) -> Sample {
        self.draw(self.flaw(index), index, 0)
    }

    /// Returns what is wrong with part `index` of the production, without drawing it.
    pub fn truth(&self, index: u64) -> Option<GroundTruth> {
        let (kind, flaw) = self.flaw(index)?;
        Some(truth(kind, &flaw, self.pose(index, 0)))
    }

    /// Returns part `index` of the production with a defect of `kind`, whatever it would have had.
    pub fn with_defect(&self, index: u64, kind: DefectKind) -> Sample {
        let flaw = Flaw::plan(kind, &mut self.rng(index, Purpose::Defect as u64));
        self.draw(Some((kind, flaw)), index, 0)
    }

    /// Returns good part `index` of another lot: none of these pictures comes up in the production, so that what was learnt
    /// from them is tested on others.
    pub fn golden(&self, index: u64) -> Sample {
        self.draw(None, index, Purpose::Golden as u64)
    }

    fn rng(&self, index: u64, purpose: u64) -> Rng {
        Rng::new(self.seed, index, purpose)
    }

    fn flaw(&self, index: u64) -> Option<(DefectKind, Flaw)> {
        let mut rng = self.rng(index, Purpose::Defect as u64);
        if rng.unit() >= self.defect_ratio {
            return None;
        }
        let kind = DefectKind::ALL[rng.below(DefectKind::ALL.len())];
        Some((kind, Flaw::plan(kind, &mut rng)))
    }

    /// Returns how part `index` of `lot` lies under the camera: it maps board coordinates to the frame.
    fn pose(&self, index: u64, lot: u64) -> Transform {
        let mut rng = self.rng(index, lot + Purpose::Pose as u64);
        let Size { width_px, height_px } = Self::SIZE;
        let (x, y) = (width_px as f32 / 2.0, height_px as f32 / 2.0);
        Transform::from_translate(x + rng.range(-5.0, 5.0), y + rng.range(-4.0, 4.0))
            .pre_rotate(rng.range(-0.8, 0.8))
            .pre_translate(-x, -y)
    }

    fn draw(&self, flaw: Option<(DefectKind, Flaw)>, index: u64, lot: u64) -> Sample {
        let Size { width_px, height_px } = Self::SIZE;
        let pose = self.pose(index, lot);
        let truth = flaw.as_ref().map(|(kind, flaw)| truth(*kind, flaw, pose));
        let mut rng = self.rng(index, lot + Purpose::Light as u64);
        let light = Light::plan(&mut rng);
        let screw_angles = [0; 4].map(|_| rng.range(0.0, std::f32::consts::FRAC_PI_2));
        let mut canvas = Canvas::new(width_px, height_px, board::FIXTURE, pose);
        board::paint(&mut canvas, &Part { screw_angles, flaw: flaw.map(|(_, flaw)| flaw) });
        let drawn =
            RgbImage::from_raw(width_px, height_px, canvas.into_rgb()).expect("the canvas has the frame's size");
        let picture = light.expose(&drawn, &mut self.rng(index, lot + Purpose::Noise as u64));
        Sample { picture, truth }
    }
}

fn truth(kind: DefectKind, flaw: &Flaw, frame_from_board: Transform) -> GroundTruth {
    let [left, top, right, bottom] = flaw.bounds();
    let mut corners = [[left, top], [right, top], [left, bottom], [right, bottom]].map(|[x, y]| Point::from_xy(x, y));
    frame_from_board.map_points(&mut corners);
    let Size { width_px, height_px } = SyntheticLine::SIZE;
    let span = |values: [f32; 4], limit_px: u32| {
        let low = values.into_iter().fold(f32::MAX, f32::min).floor().max(0.0);
        let high = values.into_iter().fold(f32::MIN, f32::max).ceil().min(limit_px as f32);
        (low as u32, (high - low) as u32)
    };
    let (x, width) = span(corners.map(|corner| corner.x), width_px);
    let (y, height) = span(corners.map(|corner| corner.y), height_px);
    GroundTruth { kind, rect_in_frame: Rect { x, y, width, height } }
}

/// [`SyntheticLine`] as a camera.
#[derive(Debug)]
pub struct SyntheticSource {
    name: Arc<str>,
    line: SyntheticLine,
    frames: Option<u64>,
    next_seq: u64,
    interval: Duration,
    next_due: Instant,
}

impl SyntheticSource {
    /// Returns the camera over the line that `config` describes; frame `seq` is part `seq`.
    ///
    /// # Errors
    /// [`CameraError::OutOfRange`] when the share of defects is not in 0..=1.
    pub fn open(config: &SyntheticConfig, name: &str) -> Result<Self, CameraError> {
        let SyntheticConfig { seed, defect_ratio, frames, interval_millis } = *config;
        if !(0.0..=1.0).contains(&defect_ratio) {
            let found = defect_ratio.to_string();
            return Err(CameraError::OutOfRange { key: "defect_ratio", expected: "a number in 0..=1", found });
        }
        Ok(Self {
            name: name.into(),
            line: SyntheticLine::new(seed, defect_ratio),
            frames,
            next_seq: 0,
            interval: Duration::from_millis(interval_millis),
            next_due: Instant::now(),
        })
    }

    /// Returns the line behind the camera, which knows the truth about every frame.
    pub const fn line(&self) -> SyntheticLine {
        self.line
    }
}

impl FrameSource for SyntheticSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn grab(&mut self, timeout: Duration) -> Result<Grab, CameraError> {
        if self.remaining() == Some(0) {
            return Ok(Grab::Ended);
        }
        let pause = self.next_due.saturating_duration_since(Instant::now());
        std::thread::sleep(pause.min(timeout));
        if pause > timeout {
            return Ok(Grab::Idle);
        }
        self.next_due = Instant::now() + self.interval;
        let id = FrameId { source: Arc::clone(&self.name), seq: self.next_seq };
        self.next_seq += 1;
        Ok(Grab::Frame(Frame::from_rgb_image(id.clone(), self.line.sample(id.seq).picture)))
    }

    fn remaining(&self) -> Option<u64> {
        self.frames.map(|frames| frames.saturating_sub(self.next_seq))
    }
}

#[cfg(test)]
mod tests;
