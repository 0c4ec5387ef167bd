//! Which sizes a picture takes on its way to frames.

use cameras::{Rect, Size};

use super::{ProcessorSettings, Tiling};

/// The longest side of any picture, whatever the settings ask for.
const MAX_EDGE_PX: u32 = 4096;

/// Place of a tile in its picture, both counted from 1 as in the model's markers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// Row, from the top.
    pub row: u32,
    /// Column, from the left.
    pub col: u32,
}

impl Cell {
    /// Returns the pixels of this tile on the canvas that is cut into tiles.
    pub(super) fn on_canvas(self, tile_px: u32) -> Rect {
        Rect { x: (self.col - 1) * tile_px, y: (self.row - 1) * tile_px, width: tile_px, height: tile_px }
    }
}

/// How one picture is scaled and cut: its longer side becomes `longest_edge_px` (4,096 at most) and the shorter one keeps the
/// aspect, truncated and made even; both are then stretched to multiples of `tile_px`, or to one tile where none are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Size after the first scaling, which keeps the aspect.
    pub resized: Size,
    /// Size after the second, which stretches to whole tiles.
    pub canvas: Size,
    /// Rows of tiles; 0 when the picture is a single frame.
    pub rows: u32,
    /// Columns of tiles; 0 when the picture is a single frame.
    pub cols: u32,
}

impl Grid {
    /// Returns the number of frames: the tiles, and one of the whole picture.
    pub fn frames(&self) -> usize {
        self.rows as usize * self.cols as usize + 1
    }

    /// Returns the tiles row by row.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + use<> {
        let (rows, cols) = (self.rows, self.cols);
        (1..=rows).flat_map(move |row| (1..=cols).map(move |col| Cell { row, col }))
    }

    /// Returns the side in pixels of a picture of size `picture` that one tile shows, along its longer side.
    pub(super) fn finest_px(&self, picture: Size, tile_px: u32) -> u32 {
        let longer = |size: Size| u64::from(size.width_px.max(size.height_px));
        (longer(picture) * u64::from(tile_px)).div_ceil(longer(self.canvas)) as u32
    }

    /// Returns the tile that holds the centre of `crop`, a box within a picture of size `picture`; the first tile when there
    /// are none.
    pub(super) fn cell_of(&self, crop: Rect, picture: Size) -> Cell {
        let place = |start: u32, length: u32, whole: u32, tiles: u32| {
            let twice_centre = 2 * u64::from(start) + u64::from(length);
            let tile = twice_centre * u64::from(tiles) / (2 * u64::from(whole));
            1 + tile.min(u64::from(tiles.saturating_sub(1))) as u32
        };
        Cell {
            row: place(crop.y, crop.height, picture.height_px, self.rows),
            col: place(crop.x, crop.width, picture.width_px, self.cols),
        }
    }
}

/// Returns how a picture of `size`, neither side 0, is scaled and cut.
pub(super) fn plan(size: Size, settings: &ProcessorSettings) -> Grid {
    let resized = capped(enlarged(size, settings.longest_edge_px));
    let tile_px = settings.tile_px;
    let canvas = match settings.tiling {
        Tiling::Single => Size::new(tile_px, tile_px),
        Tiling::Split => whole_tiles(resized, tile_px),
    };
    let (rows, cols) = match (canvas.height_px / tile_px, canvas.width_px / tile_px) {
        (1, 1) => (0, 0),
        tiles => tiles,
    };
    Grid { resized, canvas, rows, cols }
}

/// Returns `size` with its longer side made `edge_px`; the other keeps the aspect and is made even.
fn enlarged(size: Size, edge_px: u32) -> Size {
    let mut enlarged = with_longer_side(size, edge_px);
    let shorter_px = if is_upright(size) { &mut enlarged.width_px } else { &mut enlarged.height_px };
    *shorter_px += *shorter_px % 2;
    at_least_one(enlarged)
}

/// Returns `size` brought down to [`MAX_EDGE_PX`] when it is longer; here no side is made even.
fn capped(size: Size) -> Size {
    if size.width_px.max(size.height_px) <= MAX_EDGE_PX {
        return size;
    }
    at_least_one(with_longer_side(size, MAX_EDGE_PX))
}

/// Returns `size` stretched to multiples of `tile_px`, the longer side first, the other after the aspect.
fn whole_tiles(size: Size, tile_px: u32) -> Size {
    let longer_px = size.width_px.max(size.height_px).next_multiple_of(tile_px);
    let Size { width_px, height_px } = with_longer_side(size, longer_px);
    // The aspect of a strip can round a side of one pixel down to none.
    Size::new(width_px.max(1).next_multiple_of(tile_px), height_px.max(1).next_multiple_of(tile_px))
}

/// Returns `size` with its longer side made `edge_px` and the other truncated to the aspect, in f64 as the reference does.
fn with_longer_side(size: Size, edge_px: u32) -> Size {
    let aspect = f64::from(size.width_px) / f64::from(size.height_px);
    if is_upright(size) {
        Size::new((f64::from(edge_px) * aspect) as u32, edge_px)
    } else {
        Size::new(edge_px, (f64::from(edge_px) / aspect) as u32)
    }
}

fn is_upright(size: Size) -> bool {
    size.height_px > size.width_px
}

fn at_least_one(size: Size) -> Size {
    Size::new(size.width_px.max(1), size.height_px.max(1))
}
