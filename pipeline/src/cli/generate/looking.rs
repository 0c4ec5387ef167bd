//! How pictures are shown to the model.

use std::path::Path;

use cameras::{Frame, FrameId, Rect, decode_file};
use clap::{Args, ValueEnum};
use models::smolvlm::{Frames, Processor};

use crate::{
    eval::{Inspector as _, StationInspector},
    home::StationName,
};

#[derive(Debug, Args)]
pub(super) struct LookingArgs {
    /// stock: tiles as the model was trained with; global: the whole picture in one frame; guided: that frame, and enlarged what
    /// --station finds suspect or --crop names
    #[arg(long, value_enum, default_value_t = TilingMode::Stock)]
    pub(super) tiling: TilingMode,
    /// The enrolled station whose heat map says what guided tiling enlarges, where it finds the picture suspect
    #[arg(long, value_name = "NAME", conflicts_with = "crops")]
    pub(super) station: Option<StationName>,
    /// Frames of a picture that guided tiling makes of a heat map at most, the one of the whole picture included
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64), requires = "station")]
    pub(super) max_tiles: u32,
    /// A box of the picture, in pixels, that guided tiling shows enlarged; may be repeated
    #[arg(long = "crop", value_name = "X,Y,WIDTH,HEIGHT", value_parser = parse_crop)]
    pub(super) crops: Vec<Rect>,
    /// Length that the longer side of a picture is scaled to; the model's own unless given
    #[arg(long, value_name = "PX")]
    pub(super) longest_edge: Option<u32>,
    /// Arithmetic of the vision encoder: int8 unless given, f32 with another --device than cpu; graphs have their own
    #[arg(long, value_enum)]
    pub(super) vision: Option<VisionPrecision>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TilingMode {
    Stock,
    Global,
    Guided,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum VisionPrecision {
    /// 32-bit floats, as the reference computes
    F32,
    /// 8-bit integers: more than twice as fast, and without ONNX Runtime
    Int8,
}

impl LookingArgs {
    /// # Errors
    /// When something is given that only guided tiling heeds, without it.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let is_guided = self.tiling == TilingMode::Guided;
        for (name, is_given) in [("--crop", !self.crops.is_empty()), ("--station", self.station.is_some())] {
            anyhow::ensure!(is_guided || !is_given, "{name}: expected --tiling guided with it, found none");
        }
        Ok(())
    }

    /// Returns what shows pictures to a model, with the gate of the station where there is one.
    ///
    /// # Errors
    /// When the station is not enrolled, or a file of it or of its encoder is missing or damaged.
    pub(super) fn viewer(&self) -> anyhow::Result<Viewer<'_>> {
        Ok(Viewer { args: self, station: self.station.as_ref().map(StationInspector::open).transpose()? })
    }
}

/// Decides which parts of a picture the model sees.
pub(super) struct Viewer<'a> {
    args: &'a LookingArgs,
    station: Option<StationInspector>,
}

impl Viewer<'_> {
    /// Returns the picture in the file at `path` as the model sees it, and the boxes of it that are shown enlarged,
    /// strongest first or as given: frames come in another order.
    ///
    /// # Errors
    /// When it cannot be read or does not fit the station or the boxes asked for.
    pub(super) fn view(&mut self, processor: &Processor, path: &Path) -> anyhow::Result<(Frames, Vec<Rect>)> {
        let picture = decode_file(path, FrameId { source: "generate".into(), seq: 0 })?;
        self.view_of(processor, &picture).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
    }

    fn view_of(&mut self, processor: &Processor, picture: &Frame) -> anyhow::Result<(Frames, Vec<Rect>)> {
        let crops = match (self.args.tiling, &mut self.station) {
            (TilingMode::Stock, _) => return Ok((processor.frames(picture)?, Vec::new())),
            (TilingMode::Global, _) => Vec::new(),
            (TilingMode::Guided, None) => self.args.crops.clone(),
            (TilingMode::Guided, Some(station)) => {
                let reading = station.judge(picture).map_err(anyhow::Error::from_boxed)?;
                processor.crops(picture.size(), &reading, self.args.max_tiles as usize - 1)?
            }
        };
        Ok((processor.guided(picture, &crops)?, crops))
    }
}

fn parse_crop(text: &str) -> Result<Rect, String> {
    let numbers: Vec<u32> = text.split(',').map_while(|part| part.trim().parse().ok()).collect();
    match numbers.as_slice() {
        &[x, y, width, height] if text.split(',').count() == 4 => Ok(Rect { x, y, width, height }),
        _ => Err("expected four whole numbers, such as 120,80,256,256".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_crops() {
        assert_eq!(parse_crop("1, 2,30,40"), Ok(Rect { x: 1, y: 2, width: 30, height: 40 }));
        for wrong in ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "-1,2,3,4"] {
            assert!(parse_crop(wrong).is_err(), "{wrong}");
        }
    }
}
