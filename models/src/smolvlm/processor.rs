//! Pictures become frames: the square tiles that the vision encoder sees, the same to the last bit as those of the reference
//! (its slow processor, which scales with Pillow; the fast one differs from it by up to two levels).

mod frames;
mod grid;
mod picture;
mod resample;
mod settings;
mod zoom;

use std::array;

use cameras::{Frame, Rect, Size};

pub use frames::Frames;
pub use grid::{Cell, Grid};
use picture::Picture;
pub(super) use settings::LONGEST_EDGE_PX;
use settings::TILE_PX;
pub use settings::{ProcessorSettings, Tiling, VisionGeometry};
use zoom::Budget;

use crate::{GateReading, HeatMap, ModelError};

/// Turns pictures into frames.
#[derive(Debug)]
pub struct Processor {
    settings: ProcessorSettings,
    /// What a byte becomes, by channel.
    normalised: [[f32; 256]; 3],
}

impl Processor {
    /// Returns a processor with these settings.
    ///
    /// # Errors
    /// When a side is out of range or a number cannot be computed with.
    pub fn new(settings: ProcessorSettings) -> Result<Self, ModelError> {
        for (what, side_px, range) in
            [("longest edge", settings.longest_edge_px, LONGEST_EDGE_PX), ("side of a tile", settings.tile_px, TILE_PX)]
        {
            if !range.contains(&side_px) {
                let expected = format!("{} to {} px", range.start(), range.end());
                return Err(ModelError::mismatch(what, expected, format!("{side_px} px")));
            }
        }
        let normalised = normalisation(&settings);
        if normalised.as_flattened().iter().any(|value| !value.is_finite()) {
            let found = format!("{}, {:?}, {:?}", settings.rescale_factor, settings.mean, settings.std);
            return Err(ModelError::mismatch(
                "rescale factor, mean and deviation",
                "finite numbers, no 0 to divide by",
                found,
            ));
        }
        Ok(Self { settings, normalised })
    }

    /// Returns the settings.
    pub const fn settings(&self) -> &ProcessorSettings {
        &self.settings
    }

    /// Returns how a picture of `size` is scaled and cut.
    ///
    /// # Errors
    /// When a side is 0.
    pub fn plan(&self, size: Size) -> Result<Grid, ModelError> {
        checked(size).map(|size| grid::plan(size, &self.settings))
    }

    /// Returns the frames of a picture as the model was trained on them: its tiles row by row, then the whole picture.
    ///
    /// # Errors
    /// When a side of the picture is 0.
    pub fn frames(&self, picture: &Frame) -> Result<Frames, ModelError> {
        let grid = self.plan(picture.size())?;
        let canvas = Picture::of(picture).scaled(grid.resized).scaled(grid.canvas);
        let mut frames = Frames::new(self.settings.tile_px, grid.frames());
        for cell in grid.cells() {
            frames.push_tile(cell, &canvas.cut(cell.on_canvas(self.settings.tile_px)));
        }
        frames.push_whole(&canvas.scaled(self.tile_size()));
        Ok(frames)
    }

    /// Returns `crops` of a picture and then the whole picture, the same frame as the last of [`Self::frames`] of a split
    /// picture. A crop is cut from the picture itself, stretched to a tile and marked as the tile that holds its centre;
    /// one of the size of a tile keeps its pixels. Crops come in the order of their tiles.
    ///
    /// # Errors
    /// When a side of the picture is 0, or a crop is empty or not within it.
    pub fn guided(&self, picture: &Frame, crops: &[Rect]) -> Result<Frames, ModelError> {
        let size = picture.size();
        let grid = checked(size).map(|size| grid::plan(size, &self.settings.split()))?;
        let mut placed = Vec::with_capacity(crops.len());
        for &crop in crops {
            check_box("crop", crop, size)?;
            placed.push((grid.cell_of(crop, size), crop));
        }
        placed.sort_by_key(|&(cell, _)| cell);
        let whole = Picture::of(picture);
        let mut frames = Frames::new(self.settings.tile_px, placed.len() + 1);
        for (cell, crop) in placed {
            frames.push_tile(cell, &whole.cut(crop).scaled(self.tile_size()));
        }
        frames.push_whole(&whole.scaled(grid.resized).scaled(grid.canvas).scaled(self.tile_size()));
        Ok(frames)
    }

    /// Returns at most `budget` crops for [`Self::guided`] that show what `reading` found strange in a picture of size `size`;
    /// none of a picture that is not suspect. They are squares, cut where the picture is narrower, with room around what they show,
    /// at the resolution of stock tiles where that fits into one and no finer, for the model was trained on no finer ones. Neighbours
    /// share a crop; of what is longer than half of the picture only the hottest places are shown.
    ///
    /// # Errors
    /// When a side of the picture is 0, a region is empty or not within it, or the heat map does not fill its size.
    pub fn crops(&self, size: Size, reading: &GateReading, budget: usize) -> Result<Vec<Rect>, ModelError> {
        let grid = checked(size).map(|size| grid::plan(size, &self.settings.split()))?;
        if !reading.is_suspect() {
            return Ok(Vec::new());
        }
        reading.regions.iter().try_for_each(|region| check_box("region", region.rect, size))?;
        let HeatMap { size: cells, values, .. } = &reading.heat_map;
        if values.len() != cells.area_px() {
            return Err(ModelError::mismatch("heat map", format!("{cells} values"), values.len()));
        }
        let finest_px = grid.finest_px(size, self.settings.tile_px);
        Ok(zoom::crops(reading, Budget { picture: size, finest_px, crops: budget }))
    }

    /// Returns what the vision encoder takes for `tiles`, the pixels of one or more frames: each byte times the rescale factor
    /// in f64, then less the mean and divided by the deviation in f32, as the reference does.
    ///
    /// # Shapes
    /// `tiles`: `[frames, tile_px, tile_px, 3]`, red, green, blue; result: `[frames, 3, tile_px, tile_px]`, -1 to 1 with the
    /// settings of every published checkpoint.
    ///
    /// # Errors
    /// When `tiles` are not whole frames.
    pub fn normalise(&self, tiles: &[u8]) -> Result<Vec<f32>, ModelError> {
        let tile_bytes = 3 * self.tile_size().area_px();
        if !tiles.len().is_multiple_of(tile_bytes) {
            return Err(ModelError::mismatch(
                "frames",
                format!("a multiple of {tile_bytes} bytes"),
                format!("{} bytes", tiles.len()),
            ));
        }
        let mut values = Vec::with_capacity(tiles.len());
        for tile in tiles.chunks_exact(tile_bytes) {
            // HWC -> CHW
            for (channel, normalised) in self.normalised.iter().enumerate() {
                values.extend(tile.as_chunks::<3>().0.iter().map(|pixel| normalised[usize::from(pixel[channel])]));
            }
        }
        Ok(values)
    }

    fn tile_size(&self) -> Size {
        Size::new(self.settings.tile_px, self.settings.tile_px)
    }
}

/// Returns what each byte becomes, by channel.
fn normalisation(settings: &ProcessorSettings) -> [[f32; 256]; 3] {
    array::from_fn(|channel| {
        array::from_fn(|byte| {
            let rescaled = (byte as f64 * settings.rescale_factor) as f32;
            (rescaled - settings.mean[channel]) / settings.std[channel]
        })
    })
}

fn checked(size: Size) -> Result<Size, ModelError> {
    if size.width_px == 0 || size.height_px == 0 {
        return Err(ModelError::mismatch("picture", "at least 1 x 1 pixels", size));
    }
    Ok(size)
}

fn check_box(what: &str, rect: Rect, size: Size) -> Result<(), ModelError> {
    let is_within =
        |start: u32, length: u32, whole: u32| length > 0 && start.checked_add(length).is_some_and(|end| end <= whole);
    if is_within(rect.x, rect.width, size.width_px) && is_within(rect.y, rect.height, size.height_px) {
        return Ok(());
    }
    Err(ModelError::mismatch(what, format!("a box within {size} pixels"), format!("{rect:?}")))
}

#[cfg(test)]
mod tests;
