use std::collections::BTreeSet;

use cameras::{Frame, Size};
use image::imageops;

use crate::{Calibration, Encoder, Features, ModelError, encoder::Picture};

use super::{
    Bank, BankOptions, Rotations, Surface,
    product::Matrix,
    random::Random,
    scale::{Cells, Scale, ScaleOptions, quantile},
};

/// One golden image cannot be compared with another.
const MIN_IMAGES: usize = 2;
/// Cells of one scale that the bank chooses from; more add time and memory, not knowledge.
const POOL_CELLS: usize = 40_000;
/// Cells that the bank keeps of one scale; they bound the time of a frame.
const ITEMS: usize = 4_000;
/// Images that tell the spread of the heat of good parts.
const SPREAD_IMAGES: usize = 12;
/// Threads of the search while a bank is made and until [`Bank::with_threads`].
const THREADS: usize = 2;

/// Golden images on their way into a bank. Holds the pictures at the encoder's resolution, whatever theirs was.
#[derive(Debug)]
pub struct Enrolment {
    options: BankOptions,
    pictures: Vec<Picture>,
    sizes: BTreeSet<(u32, u32)>,
}

impl Enrolment {
    /// Returns an enrolment without images.
    pub const fn new(options: BankOptions) -> Self {
        Self { options, pictures: Vec::new(), sizes: BTreeSet::new() }
    }

    /// Adds a golden image.
    pub fn add(&mut self, encoder: &Encoder, frame: &Frame) {
        let Size { width_px, height_px } = frame.size();
        self.sizes.insert((width_px, height_px));
        self.pictures.push(encoder.picture(frame));
    }

    /// Returns how many golden images there are.
    pub fn count(&self) -> usize {
        self.pictures.len()
    }

    /// Returns a sentence for the person who enrols where golden images differ in size, which one fixed camera never does.
    pub fn mixed_sizes(&self) -> Option<String> {
        let [(first_width, first_height), .., (last_width, last_height)] = *self.sizes.iter().collect::<Vec<_>>()
        else {
            return None;
        };
        let count = self.sizes.len();
        Some(format!(
            "golden images have {count} sizes, from {first_width} x {first_height} to {last_width} x {last_height}: \
             each is scaled to the same number of pixels, so the same detail may appear at different magnifications"
        ))
    }

    /// Returns the bank of all images added, calibrated by leaving one image out at a time. Calls `progress` with the
    /// number of images encoded and of all that will be.
    ///
    /// # Errors
    /// When there are fewer than two images, or the encoder fails.
    pub fn finish(self, encoder: &mut Encoder, mut progress: impl FnMut(usize, usize)) -> Result<Bank, ModelError> {
        if self.pictures.len() < MIN_IMAGES {
            return Err(ModelError::Mismatch {
                what: "golden images".to_owned(),
                expected: format!("{MIN_IMAGES} or more, to compare each with the others"),
                found: self.pictures.len().to_string(),
            });
        }
        let mut random = Random::new(self.options.seed);
        let total = self.pictures.len() * (turns(self.options.rotations) + 1);
        let mut done = 0;
        let mut step = || {
            done += 1;
            progress(done, total);
        };
        let scales = self.learn(encoder, &mut random, &mut step)?;
        self.calibrate(encoder, scales, &mut step)
    }

    fn learn(
        &self,
        encoder: &mut Encoder,
        random: &mut Random,
        step: &mut dyn FnMut(),
    ) -> Result<Vec<Scale>, ModelError> {
        let plan = plan(self.options.surface);
        let mut pools: Vec<Pool> = plan.iter().map(|_| Pool::default()).collect();
        let share = POOL_CELLS / (self.pictures.len() * turns(self.options.rotations));
        for (image, picture) in self.pictures.iter().enumerate() {
            for turned in turned(picture, self.options.rotations) {
                let features = encoder.encode_picture(&turned)?;
                for (pool, options) in pools.iter_mut().zip(&plan) {
                    pool.take(&features, options.map, share.max(1), (image as u32, random));
                }
                step();
            }
        }
        let scales = pools.into_iter().zip(plan).map(|(pool, options)| Scale::learn(&pool.cells(), options, random));
        Ok(scales.collect())
    }

    /// Measures what good images get: the spread of each scale's heat, and scores with one image left out.
    fn calibrate(&self, encoder: &mut Encoder, scales: Vec<Scale>, step: &mut dyn FnMut()) -> Result<Bank, ModelError> {
        let mut bank = Bank {
            options: self.options,
            encoder: encoder.identity(),
            scales,
            calibration: Calibration::new(vec![0.0])?,
            heat_calibration: Calibration::new(vec![0.0])?,
            threads: THREADS,
        };
        if bank.scales.len() > 1 {
            self.measure_spread(encoder, &mut bank)?;
        }
        let (mut scores, mut maxima) = (Vec::new(), Vec::new());
        for (image, picture) in self.pictures.iter().enumerate() {
            let heat = bank.heat(&encoder.encode_picture(picture)?, Some(image as u32))?;
            scores.push(heat.score());
            maxima.push(heat.maximum());
            step();
        }
        bank.calibration = Calibration::new(scores)?;
        bank.heat_calibration = Calibration::new(maxima)?;
        Ok(bank)
    }

    fn measure_spread(&self, encoder: &mut Encoder, bank: &mut Bank) -> Result<(), ModelError> {
        let mut heats: Vec<Vec<f32>> = vec![Vec::new(); bank.scales.len()];
        let stride = self.pictures.len().div_ceil(SPREAD_IMAGES);
        for (image, picture) in self.pictures.iter().enumerate().step_by(stride) {
            let features = encoder.encode_picture(picture)?;
            for (heats, scale) in heats.iter_mut().zip(&bank.scales) {
                heats.extend(scale.heat(&features.maps[scale.map], Some(image as u32), THREADS).values);
            }
        }
        for (scale, heats) in bank.scales.iter_mut().zip(heats) {
            scale.spread = (quantile(&heats, 0.99) - quantile(&heats, 0.5)).max(f32::EPSILON);
        }
        Ok(())
    }
}

/// Which feature maps serve a surface, and how. Measured, see docs/gate.md: the coarse map confuses parts that differ in
/// pose, and is what finds defects on a texture.
fn plan(surface: Surface) -> Vec<ScaleOptions> {
    match surface {
        Surface::Alike => vec![ScaleOptions { map: 0, items: ITEMS, softening: 1.0 }],
        Surface::Varied => vec![
            ScaleOptions { map: 0, items: ITEMS, softening: 0.25 },
            ScaleOptions { map: 1, items: ITEMS, softening: 0.25 },
        ],
    }
}

const fn turns(rotations: Rotations) -> usize {
    match rotations {
        Rotations::AsEnrolled => 1,
        Rotations::QuarterTurns => 4,
    }
}

fn turned(picture: &Picture, rotations: Rotations) -> Vec<Picture> {
    match rotations {
        Rotations::AsEnrolled => vec![picture.clone()],
        Rotations::QuarterTurns => vec![
            picture.clone(),
            imageops::rotate90(picture),
            imageops::rotate180(picture),
            imageops::rotate270(picture),
        ],
    }
}

/// Cells of one scale, gathered image by image.
#[derive(Debug, Default)]
struct Pool {
    values: Vec<f32>,
    images: Vec<u32>,
    dim: usize,
}

impl Pool {
    /// Adds at most `count` cells of a map, chosen at random.
    fn take(&mut self, features: &Features, map: usize, count: usize, (image, random): (u32, &mut Random)) {
        let map = &features.maps[map];
        self.dim = map.dim;
        for cell in random.sample(map.rows * map.cols, count) {
            self.values.extend(&map.values[cell * map.dim..][..map.dim]);
            self.images.push(image);
        }
    }

    fn cells(self) -> Cells {
        Cells { features: Matrix::new(self.values, self.dim), images: self.images }
    }
}
