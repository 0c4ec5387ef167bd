//! Settings of the processor, as the files beside a checkpoint state them.

use std::{ops::RangeInclusive, path::Path};

use serde_json::Value;

use crate::{ModelError, smolvlm::json::JsonFile};

/// File with all settings but the tokens a frame takes; checkpoints saved by newer tools keep them in [`PROCESSOR`] instead.
const PREPROCESSOR: &str = "preprocessor_config.json";
const PROCESSOR: &str = "processor_config.json";
/// Processors whose pixels are those of [`super::Processor`]; a suffix only names what computes them.
const FAMILIES: [&str; 2] = ["Idefics3ImageProcessor", "SmolVLMImageProcessor"];
const SUFFIXES: [&str; 3] = ["", "Fast", "Pil"];
/// Steps that the checkpoints were trained with. Leaving one out gives other pixels, which no checkpoint asks for.
const STEPS: [&str; 4] = ["do_convert_rgb", "do_resize", "do_rescale", "do_normalize"];
/// The code of Pillow for its Lanczos filter.
const LANCZOS: u64 = 1;
/// Sides that settings may ask for; what is longer than 4,096 is brought down to that anyway.
pub(in super::super) const LONGEST_EDGE_PX: RangeInclusive<u32> = 1..=65_536;
pub(super) const TILE_PX: RangeInclusive<u32> = 1..=4096;
/// What the reference takes for a key that is absent.
const DEFAULT_TILE_PX: u32 = 364;
const DEFAULT_LONGEST_EDGE_PX: u32 = 4 * DEFAULT_TILE_PX;
const DEFAULT_MEAN: [f32; 3] = [0.5; 3];
const DEFAULT_RESCALE_FACTOR: f64 = 1.0 / 255.0;

/// What the vision encoder makes of one frame; from `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionGeometry {
    /// Side of the square picture that the encoder takes (`vision_config.image_size`).
    pub image_px: u32,
    /// Side of a patch (`vision_config.patch_size`).
    pub patch_px: u32,
    /// Patches in a row that become one token, and as many in a column (`scale_factor`).
    pub shuffle: u32,
}

impl VisionGeometry {
    /// Returns the tokens that one frame takes: whole patches squared, `shuffle` squared of them a token.
    ///
    /// # Errors
    /// When a number is 0 or `shuffle` does not divide the patches of a row.
    pub fn tokens_per_frame(self) -> Result<usize, ModelError> {
        let patches = self.image_px.checked_div(self.patch_px).unwrap_or(0);
        if patches == 0 || self.shuffle == 0 || !patches.is_multiple_of(self.shuffle) {
            return Err(ModelError::mismatch(
                "geometry of the vision encoder",
                "whole groups of whole patches",
                format!("{self:?}"),
            ));
        }
        Ok((patches / self.shuffle).pow(2) as usize)
    }
}

/// Whether a picture is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiling {
    /// Tiles at full resolution and the whole picture in one tile after them.
    Split,
    /// The whole picture in one tile.
    Single,
}

/// How pictures become frames. To change one, build another value from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessorSettings {
    /// Length that the longer side of every picture is scaled to, up or down, before it is cut; 1 to 65,536. A multiple of `tile_px`
    /// wastes nothing; `tile_px` itself gives one frame for any picture.
    pub longest_edge_px: u32,
    /// Side of a tile, 1 to 4,096: that of the picture which the vision encoder takes.
    pub tile_px: u32,
    /// Whether pictures are cut into tiles.
    pub tiling: Tiling,
    /// What bytes are multiplied by.
    pub rescale_factor: f64,
    /// What is subtracted then, by channel: red, green, blue.
    pub mean: [f32; 3],
    /// What is divided by at last, by channel; not 0.
    pub std: [f32; 3],
    /// Tokens that stand for one frame in the prompt.
    pub tokens_per_frame: usize,
}

impl ProcessorSettings {
    /// Returns the settings in a checkpoint's `folder`, with the reference's defaults for absent keys.
    ///
    /// # Errors
    /// When a file cannot be read, the settings are those of another processor, or tile side or tokens a frame disagree
    /// with `vision`.
    pub fn read(folder: &Path, vision: VisionGeometry) -> Result<Self, ModelError> {
        let processor = folder.join(PROCESSOR);
        let processor = if processor.exists() { Some(JsonFile::open(&processor)?) } else { None };
        let nested = processor.as_ref().and_then(|file| file.section("image_processor"));
        let preprocessor = folder.join(PREPROCESSOR);
        let images = match nested {
            Some(nested) if !preprocessor.exists() => nested,
            _ => JsonFile::open(&preprocessor)?,
        };
        check_family(&images)?;
        let tokens_per_frame = vision.tokens_per_frame()?;
        if let Some(file) = &processor {
            check_tokens(file, tokens_per_frame)?;
        }
        let settings = Self::of_images(&images, tokens_per_frame)?;
        if settings.tile_px != vision.image_px {
            let expected = format!("the {} px of the vision encoder", vision.image_px);
            return Err(images.flaw("max_image_size.longest_edge", &expected));
        }
        Ok(settings)
    }

    /// Returns the same settings with pictures cut into tiles.
    pub(super) fn split(self) -> Self {
        Self { tiling: Tiling::Split, ..self }
    }

    /// Checks that pixels become what the vision encoder takes, -1 to 1; its weights have that built in. The settings come from
    /// `path`.
    ///
    /// # Errors
    /// When they do not.
    pub(in super::super) fn check_normalisation(&self, path: &Path) -> Result<(), ModelError> {
        let is_close = |found: f64, expected: f64| (found - expected).abs() < 1e-6 * expected;
        let is_half = |value: &f32| is_close(f64::from(*value), 0.5);
        let is_whole = is_close(self.rescale_factor, DEFAULT_RESCALE_FACTOR);
        if is_whole && self.mean.iter().chain(&self.std).all(is_half) {
            return Ok(());
        }
        let found = format!("{}, {:?} and {:?}", self.rescale_factor, self.mean, self.std);
        Err(ModelError::malformed(path, "a rescale factor of 1/255, means and deviations of 0.5", found))
    }

    fn of_images(file: &JsonFile, tokens_per_frame: usize) -> Result<Self, ModelError> {
        let side = |key, absent, range: RangeInclusive<u32>| {
            let expected = format!("{} to {} pixels", range.start(), range.end());
            let read = |value: &Value| u32::try_from(value.as_u64()?).ok().filter(|side| range.contains(side));
            file.read_or(key, absent, &expected, read)
        };
        let split = file.read_or("do_image_splitting", true, "true or false", Value::as_bool)?;
        let std = file.read_or("image_std", DEFAULT_MEAN, "three numbers other than 0", |value| {
            triple(value).filter(|std| !std.contains(&0.0))
        })?;
        Ok(Self {
            longest_edge_px: side("size.longest_edge", DEFAULT_LONGEST_EDGE_PX, LONGEST_EDGE_PX)?,
            tile_px: side("max_image_size.longest_edge", DEFAULT_TILE_PX, TILE_PX)?,
            tiling: if split { Tiling::Split } else { Tiling::Single },
            rescale_factor: file.read_or("rescale_factor", DEFAULT_RESCALE_FACTOR, "a number", Value::as_f64)?,
            mean: file.read_or("image_mean", DEFAULT_MEAN, "three numbers", triple)?,
            std,
            tokens_per_frame,
        })
    }
}

fn check_family(file: &JsonFile) -> Result<(), ModelError> {
    let key = "image_processor_type";
    let found = file.get(key).and_then(Value::as_str).unwrap_or_default();
    let is_known =
        FAMILIES.iter().any(|family| found.strip_prefix(family).is_some_and(|rest| SUFFIXES.contains(&rest)));
    if !is_known {
        return Err(file.flaw(key, &FAMILIES.join(" or ")));
    }
    if let Some(key) = STEPS.iter().find(|key| file.get(key).is_some_and(|value| value != true)) {
        return Err(file.flaw(key, "true"));
    }
    if file.get("resample").is_some_and(|value| value.as_u64() != Some(LANCZOS)) {
        return Err(file.flaw("resample", "1 (Lanczos)"));
    }
    Ok(())
}

fn check_tokens(file: &JsonFile, tokens_per_frame: usize) -> Result<(), ModelError> {
    let key = "image_seq_len";
    match file.get(key) {
        Some(stated) if stated.as_u64() != Some(tokens_per_frame as u64) => {
            Err(file.flaw(key, &format!("the {tokens_per_frame} tokens of the vision encoder")))
        }
        _ => Ok(()),
    }
}

fn triple(value: &Value) -> Option<[f32; 3]> {
    let numbers: Option<Vec<f32>> =
        value.as_array()?.iter().map(|number| number.as_f64().map(|number| number as f32)).collect();
    numbers?.try_into().ok()
}
