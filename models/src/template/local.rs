//! Registration of the parts of a frame: small motions that an affine map leaves, as line cameras and bent parts cause them.

use super::plane::{Plane, split};

/// Distance between neighbouring blocks.
const STEP_PX: usize = 32;
/// Blocks are made of cells of this side and overlap by half.
const CELL_PX: usize = STEP_PX / 2;
const CELLS_PER_BLOCK: usize = 4;
/// How far a block may move in each direction.
const REACH_PX: isize = 2;
/// Shifts that are tried along one axis.
const SIDE: usize = 2 * REACH_PX.unsigned_abs() + 1;
/// What a move costs for each pixel, as a part of the template's contrast: flat blocks stay where they are.
const COST_PER_PX_RATIO: f32 = 1.0 / 255.0;

/// Motions on a grid of blocks, in pixels.
#[derive(Debug, Clone)]
pub(super) struct Field {
    dx: Plane<f32>,
    dy: Plane<f32>,
}

impl Field {
    /// Returns the motions that bring `template`, which already lies roughly right, onto `frame`.
    pub(super) fn between(frame: &Plane<f32>, template: &Plane<f32>, contrast: f32) -> Self {
        let costs: Vec<_> = shifts().map(|(dx, dy)| block_costs(frame, template, (dx, dy))).collect();
        let (cols, rows) = (costs[0].width, costs[0].height);
        let mut field = Self { dx: Plane::filled(cols, rows, 0.0), dy: Plane::filled(cols, rows, 0.0) };
        for index in 0..cols * rows {
            let block: Vec<f32> = shifts()
                .zip(&costs)
                .map(|((dx, dy), cost)| {
                    cost.values[index] + (dx as f32).hypot(dy as f32) * contrast * COST_PER_PX_RATIO
                })
                .collect();
            (field.dx.values[index], field.dy.values[index]) = lowest_place(&block);
        }
        Self { dx: settle(&field.dx), dy: settle(&field.dy) }
    }

    /// Returns the motion in x and y of each of `width` pixels in a row of the frame.
    pub(super) fn row(&self, y: usize, width: usize) -> (Vec<f32>, Vec<f32>) {
        (row_between(&self.dx, y, width), row_between(&self.dy, y, width))
    }
}

/// Returns the values of a row of pixels, bilinear between the middles of blocks.
fn row_between(blocks: &Plane<f32>, y: usize, width: usize) -> Vec<f32> {
    let place = |pixel: usize| (pixel as f32 + 0.5) / STEP_PX as f32 - 0.5;
    let (above, part) = split(place(y), blocks.height);
    let below = (above + 1).min(blocks.height - 1);
    let pairs = blocks.row(above).iter().zip(blocks.row(below));
    let line: Vec<f32> = pairs.map(|(a, b)| a + part * (b - a)).collect();
    let at = |x: usize| {
        let (left, part) = split(place(x), line.len());
        let right = (left + 1).min(line.len() - 1);
        line[left] + part * (line[right] - line[left])
    };
    (0..width).map(at).collect()
}

/// Returns the shifts that are tried, row by row; `SIDE` in each.
fn shifts() -> impl Iterator<Item = (isize, isize)> {
    (-REACH_PX..=REACH_PX).flat_map(|dy| (-REACH_PX..=REACH_PX).map(move |dx| (dx, dy)))
}

/// Returns the mean absolute difference of each block after the template moved by `shift`.
fn block_costs(frame: &Plane<f32>, template: &Plane<f32>, shift: (isize, isize)) -> Plane<f32> {
    let cells = cell_sums(frame, template, shift);
    let (cols, rows) = (frame.width.div_ceil(STEP_PX), frame.height.div_ceil(STEP_PX));
    let mut costs = Plane::filled(cols, rows, 0.0);
    for row in 0..rows {
        for col in 0..cols {
            let mut sum = 0.0;
            let mut pixels = 0;
            for cell_row in block_cells(row, cells.height) {
                for cell_col in block_cells(col, cells.width) {
                    sum += cells.at(cell_col, cell_row);
                    pixels += cell_side(cell_row, frame.height) * cell_side(cell_col, frame.width);
                }
            }
            costs.row_mut(row)[col] = sum / pixels.max(1) as f32;
        }
    }
    costs
}

/// Returns the cells of a block along one axis: half a block to both sides of its middle.
fn block_cells(block: usize, cells: usize) -> std::ops::Range<usize> {
    let start = 2 * block;
    start.saturating_sub(1)..(start + CELLS_PER_BLOCK - 1).min(cells)
}

fn cell_side(cell: usize, side_px: usize) -> usize {
    CELL_PX.min(side_px - cell * CELL_PX)
}

fn cell_sums(frame: &Plane<f32>, template: &Plane<f32>, (dx, dy): (isize, isize)) -> Plane<f32> {
    let mut sums = Plane::filled(frame.width.div_ceil(CELL_PX), frame.height.div_ceil(CELL_PX), 0.0);
    for cell_row in 0..sums.height {
        // Columns are summed first: additions side by side run in parallel, one after the other they do not.
        let mut columns = vec![0.0_f32; frame.width];
        for y in cell_row * CELL_PX..((cell_row + 1) * CELL_PX).min(frame.height) {
            let source = template.row(y.saturating_add_signed(dy).min(template.height - 1));
            add_differences(&mut columns, frame.row(y), source, dx);
        }
        for (sum, cell) in sums.row_mut(cell_row).iter_mut().zip(columns.chunks(CELL_PX)) {
            *sum = cell.iter().sum();
        }
    }
    sums
}

/// Adds `|frame[x] - template[x + dx]|` to each sum; the border goes on beyond the edges.
fn add_differences(sums: &mut [f32], frame: &[f32], template: &[f32], dx: isize) {
    let offset = dx.unsigned_abs().min(sums.len() - 1);
    let kept = sums.len() - offset;
    let add = |sums: &mut [f32], frame: &[f32], template: &[f32]| {
        for ((sum, a), b) in sums.iter_mut().zip(frame).zip(template) {
            *sum += (a - b).abs();
        }
    };
    let beyond = |at: usize| [template[at]; SIDE];
    if dx >= 0 {
        add(&mut sums[..kept], &frame[..kept], &template[offset..]);
        add(&mut sums[kept..], &frame[kept..], &beyond(template.len() - 1));
    } else {
        add(&mut sums[offset..], &frame[offset..], &template[..kept]);
        add(&mut sums[..offset], &frame[..offset], &beyond(0));
    }
}

/// Returns the shift in x and y at which the costs are lowest, to a part of a pixel by a parabola through the neighbours.
fn lowest_place(costs: &[f32]) -> (f32, f32) {
    let best = (0..costs.len()).fold(0, |best, i| if costs[i] < costs[best] { i } else { best });
    let (col, row) = (best % SIDE, best / SIDE);
    let along_x = (0 < col && col < SIDE - 1).then(|| parabola(costs[best - 1], costs[best], costs[best + 1]));
    let along_y = (0 < row && row < SIDE - 1).then(|| parabola(costs[best - SIDE], costs[best], costs[best + SIDE]));
    let whole = |at: usize| at as f32 - REACH_PX as f32;
    (whole(col) + along_x.unwrap_or(0.0), whole(row) + along_y.unwrap_or(0.0))
}

/// Returns where the parabola through three neighbouring costs is lowest, within half a pixel of the middle one.
fn parabola(before: f32, here: f32, after: f32) -> f32 {
    let curve = before - 2.0 * here + after;
    if curve < 1e-6 { 0.0 } else { (0.5 * (before - after) / curve).clamp(-0.5, 0.5) }
}

/// Returns the motions without outliers (3 by 3 median) and smoothed.
fn settle(plane: &Plane<f32>) -> Plane<f32> {
    let median = around(plane, |values| {
        values.sort_by(f32::total_cmp);
        values[4]
    });
    // Gaussian of 0.8 blocks.
    let weights = [0.239, 0.522, 0.239];
    around(&median, |values| (0..9).map(|i| values[i] * weights[i % 3] * weights[i / 3]).sum())
}

fn around(plane: &Plane<f32>, f: impl Fn(&mut [f32; 9]) -> f32) -> Plane<f32> {
    let mut out = plane.clone();
    for y in 0..plane.height {
        for x in 0..plane.width {
            let mut values = [0.0; 9];
            for (i, value) in (0_isize..).zip(&mut values) {
                *value = plane.beside(x, y, (i % 3 - 1, i / 3 - 1));
            }
            out.row_mut(y)[x] = f(&mut values);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texture(width: usize, height: usize, (dx, dy): (f32, f32)) -> Plane<f32> {
        let mut plane = Plane::filled(width, height, 0.0);
        for y in 0..height {
            for (x, value) in plane.row_mut(y).iter_mut().enumerate() {
                let (x, y) = (x as f32 + dx, y as f32 + dy);
                *value = 128.0 + 60.0 * (x * 0.35).sin() + 60.0 * (y * 0.27 + x * 0.05).cos();
            }
        }
        plane
    }

    #[test]
    fn finds_how_far_blocks_moved() {
        for shift in [(0.0, 0.0), (1.0, 0.0), (0.0, -1.5), (1.5, 1.0), (-2.0, 2.0)] {
            let frame = texture(160, 130, shift);
            let field = Field::between(&frame, &texture(160, 130, (0.0, 0.0)), 200.0);
            let (dx, dy) = field.row(64, 160);
            assert!((dx[80] - shift.0).abs() < 0.3, "{shift:?}: {}", dx[80]);
            assert!((dy[80] - shift.1).abs() < 0.3, "{shift:?}: {}", dy[80]);
        }
    }

    #[test]
    fn a_flat_frame_does_not_move() {
        for (width, height) in [(70, 40), (16, 16), (33, 200)] {
            let flat = Plane::filled(width, height, 100.0);
            let (dx, dy) = Field::between(&flat, &flat, 50.0).row(height - 1, width);
            assert_eq!((dx.len(), dy.len()), (width, width));
            assert!(dx.iter().chain(&dy).all(|&d| d == 0.0));
        }
    }
}
