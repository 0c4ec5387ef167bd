//! Registration of a whole frame: the affine motion that brings the template onto it.
//!
//! Gauss-Newton on the brightness difference (Lucas and Kanade 1981) with the template's gradients, as Hager and Belhumeur
//! (1998) do, so that gradients are taken once at enrolment; residuals are weighted after Geman and `McClure`, which keeps a
//! defect from pulling the template onto itself.

use nalgebra::{Matrix2, Matrix6, Vector2, Vector6};

use super::plane::Plane;

/// Pixels to work on along the longer side of the frame.
const WORKING_SIDE_PX: usize = 400;
/// Places with a strong gradient that are compared, at most.
const MAX_POINTS: usize = 8_000;
/// Difference, in units of the picture's own spread, at which a place counts half.
const OUTLIER_SPREAD_RATIO: f32 = 0.3;
const STEPS: usize = 8;

/// An affine map in pixels: `(x, y) -> linear * (x, y) + shift`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    linear: Matrix2<f64>,
    shift: Vector2<f64>,
}

impl Affine {
    pub(super) fn identity() -> Self {
        Self { linear: Matrix2::identity(), shift: Vector2::zeros() }
    }

    pub(super) fn apply(&self, x: f64, y: f64) -> (f64, f64) {
        let moved = self.linear * Vector2::new(x, y) + self.shift;
        (moved.x, moved.y)
    }

    /// Returns how far one step to the right goes in x and y.
    pub(super) fn step_right(&self) -> (f64, f64) {
        (self.linear[(0, 0)], self.linear[(1, 0)])
    }

    fn inverse(&self) -> Option<Self> {
        let linear = self.linear.try_inverse()?;
        Some(Self { linear, shift: -(linear * self.shift) })
    }

    /// Returns the map between pictures `factor` times as large; the centre of the first pixel lies at `(factor - 1) / 2`.
    fn enlarged(&self, factor: usize) -> Self {
        let half = Vector2::repeat((factor as f64 - 1.0) / 2.0);
        Self { linear: self.linear, shift: self.shift * factor as f64 + half - self.linear * half }
    }

    /// Returns the map between pictures that are smaller by `factor`: undoes [`Self::enlarged`].
    fn shrunk(&self, factor: usize) -> Self {
        let half = Vector2::repeat((factor as f64 - 1.0) / 2.0);
        Self { linear: self.linear, shift: (self.shift - half + self.linear * half) / factor as f64 }
    }

    fn of_shift(shift: Vector2<f64>) -> Self {
        Self { linear: Matrix2::identity(), shift }
    }
}

/// A place on the template that pins the position down.
#[derive(Debug, Clone)]
struct Point {
    x: f32,
    y: f32,
    value: f32,
    gradient: (f32, f32),
}

/// What registration needs to know about one size of the template.
#[derive(Debug, Clone)]
struct Level {
    factor: usize,
    mean: f32,
    spread: f32,
    width: usize,
    points: Vec<Point>,
}

/// Finds where the template lies in a frame.
#[derive(Debug, Clone)]
pub(super) struct Aligner {
    /// Coarse, then fine.
    levels: Vec<Level>,
    max_shift_px: f64,
}

impl Aligner {
    /// Returns an aligner for a template of this brightness; what it shows moves by `max_shift_px` at most.
    pub(super) fn new(template: &Plane<f32>, max_shift_px: f64) -> Self {
        let fine = (template.width.max(template.height) / WORKING_SIDE_PX + 1).next_power_of_two();
        Self { levels: [2 * fine, fine].map(|factor| Level::new(template, factor)).to_vec(), max_shift_px }
    }

    /// Returns the map from a pixel of the frame to that of the template; a plain shift where no affine map fits.
    pub(super) fn template_from_frame(&self, frame: &Plane<f32>) -> Affine {
        let coarse = &self.levels[0];
        let Some(small) = coarse.prepare(frame) else { return Affine::identity() };
        let shift = Affine::of_shift(coarse.best_shift(&small, self.max_shift_px)).enlarged(coarse.factor);
        let mut found = shift;
        for level in &self.levels {
            let Some(small) = level.prepare(frame) else { return Affine::identity() };
            found = level.refine(&small, found.shrunk(level.factor)).enlarged(level.factor);
        }
        let within = coarse.largest_move_px(&found.shrunk(coarse.factor)) * coarse.factor as f64 <= self.max_shift_px;
        let used = if within { found } else { shift };
        used.inverse().unwrap_or_else(Affine::identity)
    }
}

impl Level {
    fn new(template: &Plane<f32>, factor: usize) -> Self {
        let small = template.shrink(factor).smooth();
        let (mean, spread) = small.mean_and_spread();
        let points = strong_points(&small);
        Self { factor, mean, spread, width: small.width, points }
    }

    /// Returns the frame at this level with the brightness of the template; `None` when there is nothing to hold on to.
    fn prepare(&self, frame: &Plane<f32>) -> Option<Plane<f32>> {
        let small = frame.shrink(self.factor).smooth();
        let (mean, spread) = small.mean_and_spread();
        if spread < 1.0 || self.spread < 1.0 || self.points.len() < 100 {
            return None;
        }
        let gain = self.spread / spread;
        Some(small.map(|v| (v - mean) * gain + self.mean))
    }

    /// Returns the whole-pixel shift at which the points fit best, nearest first.
    fn best_shift(&self, frame: &Plane<f32>, max_shift_px: f64) -> Vector2<f64> {
        let reach = (max_shift_px / self.factor as f64).floor() as i32;
        let mut shifts: Vec<_> = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy))).collect();
        shifts.sort_by_key(|&(dx, dy)| dx * dx + dy * dy);
        let mut best = (Vector2::zeros(), f64::INFINITY);
        for (dx, dy) in shifts {
            let shift = Vector2::new(f64::from(dx), f64::from(dy));
            let misfit = self.misfit(frame, &Affine::of_shift(shift), 8);
            // A far shift has to be clearly better: patterns repeat.
            if misfit < 0.9 * best.1 {
                best = (shift, misfit);
            }
        }
        best.0
    }

    /// Returns the longest way that a point moves, in pixels of this level.
    fn largest_move_px(&self, motion: &Affine) -> f64 {
        let moves = self.points.iter().map(|point| {
            let (x, y) = (f64::from(point.x), f64::from(point.y));
            let (to_x, to_y) = motion.apply(x, y);
            (to_x - x).hypot(to_y - y)
        });
        moves.fold(0.0, f64::max)
    }

    /// Returns the mean absolute difference over every `stride`-th point.
    fn misfit(&self, frame: &Plane<f32>, motion: &Affine, stride: usize) -> f64 {
        let used = self.points.iter().step_by(stride);
        let count = used.len().max(1) as f64;
        let sum: f64 = used.map(|point| f64::from(difference(frame, motion, point).abs())).sum();
        sum / count
    }

    /// Returns the frame-from-template motion that fits better than `motion`, or `motion`.
    fn refine(&self, frame: &Plane<f32>, motion: Affine) -> Affine {
        let mut refined = motion;
        for _ in 0..STEPS {
            let Some(step) = self.step(frame, &refined) else { break };
            refined.shift += Vector2::new(step[0], step[3]);
            refined.linear += Matrix2::new(step[1], step[2], step[4], step[5]);
            let corner = (step[0].abs() + step[3].abs()).max((step[1].abs() + step[2].abs()) * self.width as f64);
            if corner < 0.01 {
                break;
            }
        }
        if self.misfit(frame, &refined, 1) < self.misfit(frame, &motion, 1) { refined } else { motion }
    }

    /// Returns one Gauss-Newton step: shift x, dx/dx, dx/dy, shift y, dy/dx, dy/dy.
    fn step(&self, frame: &Plane<f32>, motion: &Affine) -> Option<Vector6<f64>> {
        let scale = self.width as f32;
        let limit = OUTLIER_SPREAD_RATIO * self.spread;
        let mut normal = [[0.0_f32; 6]; 6];
        let mut right = [0.0_f32; 6];
        for point in &self.points {
            let miss = difference(frame, motion, point);
            let weight = 1.0 / (1.0 + (miss / limit).powi(2));
            let (gx, gy) = point.gradient;
            // Coordinates scaled to 0..=1, so that the system is well conditioned.
            let (u, v) = (point.x / scale, point.y / scale);
            let slope = [gx, gx * u, gx * v, gy, gy * u, gy * v];
            for (row, &a) in slope.iter().enumerate() {
                right[row] += weight * a * miss;
                for (cell, &b) in normal[row].iter_mut().zip(&slope) {
                    *cell += weight * a * b;
                }
            }
        }
        solve(&normal, &right, f64::from(scale))
    }
}

fn solve(normal: &[[f32; 6]; 6], right: &[f32; 6], scale: f64) -> Option<Vector6<f64>> {
    let mut matrix = Matrix6::from_fn(|row, col| f64::from(normal[row][col]));
    let damping = matrix.trace() / 6.0 * 1e-4;
    matrix += Matrix6::identity() * damping;
    let step = matrix.cholesky()?.solve(&Vector6::from_fn(|row, _| -f64::from(right[row])));
    let unscaled = Vector6::from_fn(|row, _| if row % 3 == 0 { step[row] } else { step[row] / scale });
    unscaled.iter().all(|v| v.is_finite()).then_some(unscaled)
}

/// Returns how much brighter the frame is than the template at a point.
fn difference(frame: &Plane<f32>, motion: &Affine, point: &Point) -> f32 {
    let (x, y) = motion.apply(f64::from(point.x), f64::from(point.y));
    frame.sample(x as f32, y as f32) - point.value
}

/// Returns the places where brightness changes most, spread over the whole picture.
fn strong_points(plane: &Plane<f32>) -> Vec<Point> {
    let mut points = Vec::new();
    for y in 2..plane.height.saturating_sub(2) {
        for x in 2..plane.width.saturating_sub(2) {
            let gradient =
                ((plane.at(x + 1, y) - plane.at(x - 1, y)) / 2.0, (plane.at(x, y + 1) - plane.at(x, y - 1)) / 2.0);
            points.push(Point { x: x as f32, y: y as f32, value: plane.at(x, y), gradient });
        }
    }
    let strength = |p: &Point| p.gradient.0.hypot(p.gradient.1);
    let strongest = points.iter().map(strength).fold(0.0, f32::max);
    points.retain(|p| strength(p) > 0.05 * strongest);
    let stride = points.len().div_ceil(MAX_POINTS).max(1);
    points.into_iter().step_by(stride).collect()
}
