use std::path::Path;

use cameras::{Frame, FrameId, Size};
use image::RgbImage;
use models::tuning::{BATCH_PICTURES, input_size, shrunk};

use super::Progress;
use crate::head::{Gathered, HeadError, HeadPlan, LeftOut, Part, Reason};

/// What frames of a training come from.
pub(super) const SOURCE: &str = "train";

/// Sides that augmentation cuts from, over those of what the network sees.
const MARGIN: f64 = 8.0 / 7.0;

/// Steps of an epoch, at least.
const LEAST_STEPS: usize = 10;

/// Pictures of one part at one size, with the class of each.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) pictures: Vec<RgbImage>,
    pub(super) labels: Vec<usize>,
}

/// The pictures of a training in memory, shrunk once: a third of a megabyte each at 224 px.
#[derive(Debug)]
pub(super) struct Album {
    /// What the network sees while it is trained, by the aspect of most pictures.
    pub(super) input_px: [u32; 2],
    /// The training part with a margin to cut views from.
    pub(super) train: Pages,
    /// The training part as the network sees it.
    pub(super) plain: Pages,
    pub(super) validation: Pages,
}

impl Album {
    /// Reads the pictures of `gathered`; one that cannot be read moves to those that are left out.
    ///
    /// # Errors
    /// When a class has no picture to learn from that can be read, or no picture is left to choose by.
    pub(super) fn read(
        gathered: &mut Gathered,
        plan: &HeadPlan,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, HeadError> {
        let input = input_size(plan.resolution_px, common_size(gathered, &plan.data)?)?;
        let input_px = [input.width_px, input.height_px];
        let cached_px = with_margin(input_px);
        let [train, plain, validation] = [(); 3].map(|()| Pages::default());
        let mut album = Self { input_px, train, plain, validation };
        let pictures = std::mem::take(&mut gathered.parts.pictures);
        let total = pictures.len();
        for (done, (picture, digest)) in pictures.into_iter().enumerate() {
            match picture.open(SOURCE) {
                Ok(frame) => {
                    album.add(&frame, picture.part, gathered.class_of(&picture), cached_px);
                    gathered.parts.pictures.push((picture, digest));
                }
                Err(error) => {
                    let reason = Reason::Unreadable(error.to_string());
                    gathered.parts.left_out.push(LeftOut { path: picture.path, reason });
                }
            }
            watch(Progress::Reading(done + 1, total));
        }
        gathered.parts.check_readable(plan, &gathered.labels)?;
        Ok(album)
    }

    fn add(&mut self, frame: &Frame, part: Part, label: usize, cached_px: [u32; 2]) {
        let plain = shrunk(frame, self.input_px);
        let pages = if part == Part::Train { &mut self.plain } else { &mut self.validation };
        pages.pictures.push(plain);
        pages.labels.push(label);
        if part == Part::Train {
            self.train.pictures.push(shrunk(frame, cached_px));
            self.train.labels.push(label);
        }
    }

    /// Returns into how many cells of 32 x 32 px the network divides what it sees.
    pub(super) fn cells(&self) -> usize {
        self.input_px.iter().map(|side| *side as usize / 32).product()
    }

    /// Returns how many batches of about [`BATCH_PICTURES`] an epoch has.
    pub(super) fn steps_per_epoch(&self) -> usize {
        self.draws().div_ceil(BATCH_PICTURES)
    }

    /// Returns how many pictures an epoch draws, as many of each class: each picture about once, and of few pictures several views, since a rate
    /// that rises over 40 steps needs steps.
    pub(super) fn draws(&self) -> usize {
        let classes = self.train.labels.iter().max().map_or(1, |most| most + 1);
        let wanted = self.train.labels.len().max(LEAST_STEPS * BATCH_PICTURES);
        wanted.div_ceil(classes) * classes
    }
}

/// Returns the size that augmentation cuts from where the network sees `input_px`.
pub(super) fn with_margin(input_px: [u32; 2]) -> [u32; 2] {
    input_px.map(|side| (f64::from(side) * MARGIN).round() as u32)
}

/// Returns what frames of a training are called.
pub(super) fn id() -> FrameId {
    FrameId { source: SOURCE.into(), seq: 0 }
}

/// Returns the size whose aspect is the middle one of the pictures, of up to 25 of them.
fn common_size(gathered: &Gathered, data: &Path) -> Result<Size, HeadError> {
    let pictures = &gathered.parts.pictures;
    let step = pictures.len().div_ceil(25).max(1);
    let frames = pictures.iter().step_by(step).filter_map(|(picture, _)| picture.open(SOURCE).ok());
    let mut sizes: Vec<Size> = frames.map(|frame| frame.size()).collect();
    let aspect = |size: &Size| f64::from(size.width_px) / f64::from(size.height_px.max(1));
    sizes.sort_by(|a, b| aspect(a).total_cmp(&aspect(b)));
    let middle = sizes.get(sizes.len() / 2).copied();
    middle.ok_or_else(|| HeadError::unfit(data, "pictures that can be read", "none"))
}
