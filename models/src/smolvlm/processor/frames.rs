//! Frames of one picture.

use super::{Cell, picture::Picture};

/// The frames of one picture: tiles or crops row by row, the whole picture last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    tile_px: u32,
    cells: Vec<Cell>,
    pixels: Vec<u8>,
}

impl Frames {
    /// Returns no frames yet, with room for `frames` of them.
    pub(super) fn new(tile_px: u32, frames: usize) -> Self {
        let bytes = frames * 3 * (tile_px as usize).pow(2);
        Self { tile_px, cells: Vec::with_capacity(frames), pixels: Vec::with_capacity(bytes) }
    }

    /// Adds a tile, before the whole picture.
    pub(super) fn push_tile(&mut self, cell: Cell, tile: &Picture<'_>) {
        self.cells.push(cell);
        self.push_whole(tile);
    }

    /// Adds the whole picture.
    pub(super) fn push_whole(&mut self, tile: &Picture<'_>) {
        self.pixels.extend_from_slice(tile.pixels());
    }

    /// Returns the side of a frame in pixels.
    pub const fn tile_px(&self) -> u32 {
        self.tile_px
    }

    /// Returns where the frames but the last, which is the whole picture, lie in it.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Returns the frames one after the other.
    ///
    /// # Shapes
    /// Each `[tile_px, tile_px, 3]`, red, green, blue.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.pixels.chunks_exact(3 * (self.tile_px as usize).pow(2))
    }

    /// Returns all frames.
    ///
    /// # Shapes
    /// `[frames, tile_px, tile_px, 3]`, red, green, blue.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}
