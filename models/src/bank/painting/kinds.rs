//! What a defect looks like.

use cameras::Size;

use crate::template::plane::Plane;

use super::{
    Picture,
    draws::Draws,
    shapes::{blob, line, side},
    texture::{brightness, noise, smoothed},
};

/// Kinds of painted defects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A small dark or bright hole.
    Pit,
    /// A scratch or a crack.
    Line,
    /// A piece of another good part, or of another place.
    Patch,
    /// A blurred, grainy place.
    Matte,
    /// A step of brightness or contrast.
    Step,
    /// Material that is missing at the border.
    Cut,
}

/// Kinds with the share of defects that are of each; the shares add up to 1.
pub(super) const SHARES: [(Kind, f32); 6] = [
    (Kind::Pit, 0.22),
    (Kind::Line, 0.25),
    (Kind::Patch, 0.15),
    (Kind::Matte, 0.12),
    (Kind::Step, 0.16),
    (Kind::Cut, 0.10),
];

/// What covers a part of a picture.
#[derive(Debug)]
pub(super) struct Defect {
    /// Where it is.
    pub(super) mask: Plane<bool>,
    /// The brightness it has there.
    content: Plane<f32>,
    /// Standard deviation of its outline.
    softness_px: f32,
    /// By what the softened mask is multiplied before it is cut at 1.
    strength: f32,
}

impl Defect {
    /// Returns what `brightness` becomes under the defect.
    pub(super) fn over(&self, brightness: &Plane<f32>) -> Plane<f32> {
        let mask = self.mask.map(|covered| if covered { 1.0 } else { 0.0 });
        let mut painted = smoothed(&mask, self.softness_px);
        for ((value, below), content) in painted.values.iter_mut().zip(&brightness.values).zip(&self.content.values) {
            let share = (*value * self.strength).min(1.0);
            *value = below + share * (content - below);
        }
        painted
    }
}

/// Returns a defect of a kind on a picture of this brightness; `others` are pictures of good parts.
pub(super) fn defect(kind: Kind, on: &Plane<f32>, others: &[Picture], draws: &mut Draws) -> Defect {
    match kind {
        Kind::Pit => pit(on, draws),
        Kind::Line => scratch(on, draws),
        Kind::Patch => patch(on, others, draws),
        Kind::Matte => matte(on, draws),
        Kind::Step => step(on, draws),
        Kind::Cut => cut(on, draws),
    }
}

fn place(size: Size, draws: &mut Draws) -> (f32, f32) {
    (draws.uniform(0.0..=size.width_px as f32), draws.uniform(0.0..=size.height_px as f32))
}

/// Returns a factor of brightness, from `darkest`: holes and cracks are dark more often than they shine.
fn shade(darkest: f32, draws: &mut Draws) -> f32 {
    if draws.chance(0.8) { draws.uniform(darkest..=0.8) } else { draws.uniform(1.25..=1.8) }
}

fn pit(on: &Plane<f32>, draws: &mut Draws) -> Defect {
    let centre = place(on.size(), draws);
    let radius_px = draws.log_uniform(2.5..=18.0);
    let mask = blob(on.size(), centre, radius_px, draws);
    let (shade, blur_px) = (shade(0.3, draws), draws.uniform(0.5..=3.0));
    let content = smoothed(on, blur_px).map(|value| shade * value);
    Defect { mask, content, softness_px: draws.uniform(0.5..=1.5), strength: 1.0 }
}

fn scratch(on: &Plane<f32>, draws: &mut Draws) -> Defect {
    let mask = line(on.size(), draws);
    let shade = shade(0.35, draws);
    let content = smoothed(on, 1.0).map(|value| shade * value);
    Defect { mask, content, softness_px: draws.uniform(0.5..=1.0), strength: 1.3 }
}

fn patch(on: &Plane<f32>, others: &[Picture], draws: &mut Draws) -> Defect {
    let centre = place(on.size(), draws);
    let radius_px = draws.log_uniform(10.0..=90.0);
    let mask = blob(on.size(), centre, radius_px, draws);
    let other = others.get(draws.below(others.len())).map_or_else(|| on.clone(), brightness);
    let mut content = elsewhere(&other, on.size(), draws);
    if draws.chance(0.6) {
        let mean = |plane: &Plane<f32>| {
            let covered = plane.values.iter().zip(&mask.values).filter(|&(_, &covered)| covered);
            let (sum, count) = covered.fold((0.0, 0.0_f32), |(sum, count), (value, _)| (sum + value, count + 1.0));
            sum / count.max(1.0)
        };
        let factor = mean(on) / (mean(&content) + 1.0);
        content = content.map(|value| factor * value);
    }
    Defect { mask, content, softness_px: draws.uniform(0.5..=2.0), strength: 1.0 }
}

/// Returns a random window of a picture that was turned by quarters, mirrored at its borders where it is too small.
fn elsewhere(picture: &Plane<f32>, size: Size, draws: &mut Draws) -> Plane<f32> {
    let (width, height) = (size.width_px as usize, size.height_px as usize);
    let turns = draws.below(4);
    let (turned_width, turned_height) =
        if turns.is_multiple_of(2) { (picture.width, picture.height) } else { (picture.height, picture.width) };
    let left = draws.below(turned_width.saturating_sub(width) + 1);
    let top = draws.below(turned_height.saturating_sub(height) + 1);
    let mirrored = |place: usize, side: usize| (place % (2 * side)).min(2 * side - 1 - place % (2 * side));
    let mut window = Plane::filled(width, height, 0.0);
    for row in 0..height {
        let y = mirrored(row + top, turned_height);
        for (col, value) in window.row_mut(row).iter_mut().enumerate() {
            let x = mirrored(col + left, turned_width);
            *value = match turns {
                0 => picture.at(x, y),
                1 => picture.at(y, turned_width - 1 - x),
                2 => picture.at(turned_width - 1 - x, turned_height - 1 - y),
                _ => picture.at(turned_height - 1 - y, x),
            };
        }
    }
    window
}

fn matte(on: &Plane<f32>, draws: &mut Draws) -> Defect {
    let centre = place(on.size(), draws);
    let radius_px = draws.log_uniform(10.0..=90.0);
    let mask = blob(on.size(), centre, radius_px, draws);
    let mut content = smoothed(on, draws.uniform(1.5..=8.0));
    let shade = draws.uniform(0.6..=1.3);
    content.values.iter_mut().for_each(|value| *value *= shade);
    let (grain_px, strength) = (draws.uniform(0.5..=2.5), draws.uniform(0.0..=6.0));
    add_grain(&mut content, grain_px, strength, draws);
    Defect { mask, content, softness_px: draws.uniform(0.5..=2.0), strength: 1.0 }
}

fn add_grain(content: &mut Plane<f32>, grain_px: f32, strength: f32, draws: &mut Draws) {
    let grain = noise(content.size(), grain_px, draws);
    content.values.iter_mut().zip(grain.values).for_each(|(value, grain)| *value += strength * grain);
}

fn step(on: &Plane<f32>, draws: &mut Draws) -> Defect {
    let centre = place(on.size(), draws);
    let mask = if draws.chance(0.7) {
        side(on.size(), centre, draws)
    } else {
        let radius_px = draws.uniform(30.0..=100.0);
        blob(on.size(), centre, radius_px, draws)
    };
    let shade = if draws.chance(0.5) { draws.uniform(0.6..=0.85) } else { draws.uniform(1.18..=1.6) };
    let mut content = on.map(|value| shade * value);
    if draws.chance(0.5) {
        let contrast = if draws.chance(0.6) { draws.uniform(0.2..=0.7) } else { draws.uniform(1.4..=2.0) };
        let around = smoothed(&content, 6.0);
        content
            .values
            .iter_mut()
            .zip(around.values)
            .for_each(|(value, mean)| *value = mean + contrast * (*value - mean));
    }
    Defect { mask, content, softness_px: draws.uniform(0.7..=4.0), strength: 1.0 }
}

fn cut(on: &Plane<f32>, draws: &mut Draws) -> Defect {
    let (x, y) = place(on.size(), draws);
    let (right, bottom) = ((on.width - 1) as f32, (on.height - 1) as f32);
    let centre = draws.one_of([(x, 0.0), (x, bottom), (0.0, y), (right, y)]);
    let radius_px = draws.log_uniform(6.0..=50.0);
    let mask = blob(on.size(), centre, radius_px, draws);
    let mut content = if draws.chance(0.6) {
        Plane::filled(on.width, on.height, draws.uniform(5.0..=50.0))
    } else {
        let shade = draws.uniform(0.5..=0.9);
        smoothed(on, 2.0).map(|value| shade * value)
    };
    let strength = draws.uniform(0.0..=8.0);
    add_grain(&mut content, 2.0, strength, draws);
    Defect { mask, content, softness_px: draws.uniform(0.5..=1.5), strength: 1.0 }
}
