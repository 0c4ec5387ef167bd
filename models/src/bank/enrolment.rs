use std::collections::BTreeSet;

use cameras::{Frame, Size};
use image::imageops;

use crate::{Calibration, Encoder, ModelError, encoder::Picture};

use super::{
    Bank, BankOptions, Defects, Rotations, Surface, fused,
    heat::Grid,
    painted::{Learned, Lessons},
    pool::Pool,
    random::Random,
    scale::{Golden, Heat, Measure, Scale, ScaleOptions, spread},
    workers::{THREADS, each},
};

/// Cells of one scale that the bank chooses from; more add time and memory, not knowledge.
const POOL_CELLS: usize = 40_000;
/// Cells that the bank keeps of one scale; they bound the time of a frame.
const ITEMS: usize = 4_000;
/// Good images are scored by banks that never saw them: this many, each without a share of the images.
const FOLDS: usize = 10;

/// Golden images on their way into a bank. Holds the pictures at the encoder's resolution, whatever theirs was.
#[derive(Debug)]
pub struct Enrolment {
    options: BankOptions,
    magnification: f64,
    pictures: Vec<Picture>,
    sizes: BTreeSet<(u32, u32)>,
}

impl Enrolment {
    /// Returns the enrolment of these golden images. All are scaled by the same factor, so that the same detail has the same
    /// size in each.
    pub fn new(options: BankOptions, encoder: &Encoder, golden: &[Frame]) -> Self {
        let sizes: Vec<Size> = golden.iter().map(Frame::size).collect();
        let magnification = encoder.magnification(&sizes);
        Self {
            options,
            magnification,
            pictures: golden.iter().map(|frame| encoder.picture(frame, magnification)).collect(),
            sizes: sizes.iter().map(|size| (size.width_px, size.height_px)).collect(),
        }
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
             all are scaled by the same factor, so pictures that were cut out must not have been scaled before"
        ))
    }

    /// Returns the bank of all images added, calibrated by scoring each with a bank that never saw it. Calls `progress` with
    /// the number of images encoded and of all that will be.
    ///
    /// # Errors
    /// When there are too few images to compare each with others, or the encoder fails.
    pub fn finish(self, encoder: &mut Encoder, mut progress: impl FnMut(usize, usize)) -> Result<Bank, ModelError> {
        let least = least_images(self.options.surface);
        if self.pictures.len() < least {
            return Err(ModelError::Mismatch {
                what: "golden images".to_owned(),
                expected: format!("{least} or more, to compare each with the others"),
                found: self.pictures.len().to_string(),
            });
        }
        let count = self.pictures.len();
        let mut lessons = (self.options.defects == Defects::Painted).then(|| Lessons::new(count, self.options.seed));
        let paintings = lessons.as_ref().map_or(0, Lessons::paintings);
        let total = count * (turns(self.options.rotations) + paintings + 1);
        let mut done = 0;
        let mut step = || {
            done += 1;
            progress(done, total);
        };
        let golden = self.gather(encoder, lessons.as_mut(), &mut step)?;
        let learned = lessons.map(Lessons::learned);
        let unseen = self.judge_unseen(encoder, (&golden, learned.as_ref()), &mut step)?;
        let plan = plan(self.options.surface);
        let scales =
            golden.iter().zip(plan).map(|(golden, options)| golden.scale(|_| true, options, &mut self.random()));
        self.calibrated(encoder.identity(), (scales.collect(), learned), unseen)
    }

    fn random(&self) -> Random {
        Random::new(self.options.seed)
    }

    /// Encodes all images and returns the golden cells of each scale; paints them where there are lessons.
    fn gather(
        &self,
        encoder: &mut Encoder,
        mut lessons: Option<&mut Lessons>,
        step: &mut dyn FnMut(),
    ) -> Result<Vec<Golden>, ModelError> {
        let plan = plan(self.options.surface);
        let mut random = self.random();
        let mut pools: Vec<Pool> = plan.iter().map(|_| Pool::default()).collect();
        let share = POOL_CELLS / (self.pictures.len() * turns(self.options.rotations));
        for (image, picture) in self.pictures.iter().enumerate() {
            let turned = turned(picture, self.options.rotations);
            for turned in &turned {
                let features = encoder.encode_picture(turned)?;
                for (pool, options) in pools.iter_mut().zip(&plan) {
                    pool.take(&features, options.map, share.max(1), (image as u32, &mut random));
                }
                if let Some(lessons) = lessons.as_deref_mut() {
                    lessons.keep_golden(&features, image, turns(self.options.rotations))?;
                }
                step();
            }
            if let Some(lessons) = lessons.as_deref_mut() {
                self.paint(encoder, lessons, (&turned, image), step)?;
            }
        }
        Ok(pools.into_iter().map(|pool| Golden::of(&pool.cells(), &mut random)).collect())
    }

    /// Paints an image and keeps cells of what it became.
    fn paint(
        &self,
        encoder: &mut Encoder,
        lessons: &mut Lessons,
        (turned, image): (&[Picture], usize),
        step: &mut dyn FnMut(),
    ) -> Result<(), ModelError> {
        for on in turned.iter().cycle().take(lessons.paintings()) {
            let painting = lessons.paint(on, (&self.pictures, image));
            let features = encoder.encode_picture(&painting.picture)?;
            lessons.keep_painted(&features, &painting, image)?;
            step();
        }
        Ok(())
    }

    /// Returns the heat of each image at each scale, by scales that were chosen without it: to leave its cells out afterwards
    /// would leave holes just where they were, and make a good part look stranger than the next one will.
    fn judge_unseen(
        &self,
        encoder: &mut Encoder,
        (golden, learned): (&[Golden], Option<&Learned>),
        step: &mut dyn FnMut(),
    ) -> Result<Unseen, ModelError> {
        let folds = self.folds(golden);
        let mut unseen = Unseen::default();
        for (image, picture) in self.pictures.iter().enumerate() {
            let features = encoder.encode_picture(picture)?;
            step();
            let scales = &folds[image % folds.len()];
            unseen.heats.push(scales.iter().map(|scale| scale.heat(&features.maps[scale.map], THREADS)).collect());
            if let Some(learned) = learned {
                unseen.painted.push(learned.unseen_heat(&features, image)?);
            }
        }
        Ok(unseen)
    }

    /// Returns scales without the images of each fold: image `i` is of fold `i` modulo their number.
    fn folds(&self, golden: &[Golden]) -> Vec<Vec<Scale>> {
        let count = self.pictures.len().min(FOLDS);
        let plan = plan(self.options.surface);
        let learn = |fold: usize| -> Vec<Scale> {
            let keeps = |image: u32| image as usize % count != fold;
            let scale = |(golden, &options): (&Golden, _)| golden.scale(keeps, options, &mut self.random());
            golden.iter().zip(&plan).map(scale).collect()
        };
        each(count, learn)
    }

    /// Returns the bank of `scales`, measured by what good images get from scales that never saw them.
    fn calibrated(
        &self,
        encoder: String,
        (mut scales, learned): (Vec<Scale>, Option<Learned>),
        Unseen { mut heats, painted }: Unseen,
    ) -> Result<Bank, ModelError> {
        for (index, scale) in scales.iter_mut().enumerate() {
            let mut heats: Vec<&mut Heat> = heats.iter_mut().map(|heats| &mut heats[index]).collect();
            level(&mut scale.scoring, heats.iter_mut().filter_map(|heat| heat.scoring.as_mut()).collect());
            level(&mut scale.placing, heats.iter_mut().map(|heat| &mut heat.placing).collect());
        }
        let mut fused: Vec<_> = heats.into_iter().map(fused).collect();
        let discriminator = learned.map(|learned| learned.joined(&mut fused, &painted, self.options.surface));
        Ok(Bank {
            options: self.options,
            encoder,
            magnification: self.magnification,
            scales,
            discriminator,
            calibration: Calibration::new(fused.iter().map(|(scoring, _)| scoring.score()).collect())?,
            heat_calibration: Calibration::new(fused.iter().map(|(_, placing)| placing.maximum()).collect())?,
            // Until `Bank::with_threads`.
            threads: THREADS,
        })
    }
}

/// What good images get from what never saw them.
#[derive(Debug, Default)]
struct Unseen {
    /// Of each image the heat of each scale.
    heats: Vec<Vec<Heat>>,
    /// Of each image the heat of a discriminator; none without one.
    painted: Vec<Grid>,
}

/// Brings the heat of good images to a spread of one, so that scales can be added, and `divisors` with it.
fn level(divisors: &mut [f32], mut grids: Vec<&mut Grid>) {
    let (_, spread) = spread(grids.iter().map(|grid| &**grid));
    for heat in grids.iter_mut().flat_map(|grid| &mut grid.values) {
        *heat /= spread;
    }
    for divisor in divisors {
        *divisor *= spread;
    }
}

/// Which feature maps serve a surface, and how. Measured, see docs/gate.md: the coarser maps confuse parts that differ in pose,
/// and are what finds defects on a texture.
fn plan(surface: Surface) -> Vec<ScaleOptions> {
    let spaced = |softening| Measure::Spaced { softening };
    let textured = |map| ScaleOptions {
        map,
        items: ITEMS,
        neighbours: 3,
        scoring: (map > 0).then_some(spaced(0.25)),
        placing: spaced(0.5),
    };
    match surface {
        Surface::Alike => vec![ScaleOptions {
            map: 0,
            items: ITEMS,
            neighbours: 1,
            scoring: Some(Measure::Distance),
            placing: Measure::Distance,
        }],
        Surface::Varied => vec![textured(0), textured(1), textured(2)],
    }
}

/// A bank without one image needs another, and spacings need two.
const fn least_images(surface: Surface) -> usize {
    match surface {
        Surface::Alike => 2,
        Surface::Varied => 3,
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
