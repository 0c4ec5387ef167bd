//! Boxes and their numbers, drawn by distance to the line, so that they are smooth at any size.

use cameras::Rect;
use image::RgbImage;

use super::{DARK, WHITE, blend};

type Point = (f32, f32);

/// A stroke of a digit in a cell 0.6 wide and 1 high, `y` downwards.
enum Stroke {
    Line(&'static [Point]),
    /// Around a centre, with two radii, from one angle to another in degrees; 0 is right, 90 is down.
    Arc(Point, Point, [f32; 2]),
}

use Stroke::{Arc, Line};

const DIGIT_WIDTH: f32 = 0.6;

const DIGITS: [&[Stroke]; 10] = [
    &[Arc((0.3, 0.5), (0.3, 0.5), [0.0, 360.0])],
    &[Line(&[(0.08, 0.22), (0.36, 0.0), (0.36, 1.0)])],
    &[Arc((0.3, 0.29), (0.29, 0.29), [185.0, 398.0]), Line(&[(0.53, 0.47), (0.0, 1.0), (0.6, 1.0)])],
    &[Arc((0.29, 0.25), (0.26, 0.25), [205.0, 450.0]), Arc((0.29, 0.74), (0.3, 0.26), [270.0, 515.0])],
    &[Line(&[(0.45, 1.0), (0.45, 0.0), (0.0, 0.7), (0.62, 0.7)])],
    &[Line(&[(0.54, 0.0), (0.1, 0.0), (0.06, 0.46)]), Arc((0.28, 0.68), (0.31, 0.32), [222.0, 505.0])],
    &[Arc((0.3, 0.69), (0.3, 0.31), [0.0, 360.0]), Line(&[(0.46, 0.0), (0.16, 0.34), (0.02, 0.62)])],
    &[Line(&[(0.0, 0.0), (0.6, 0.0), (0.2, 1.0)])],
    &[Arc((0.3, 0.25), (0.25, 0.25), [0.0, 360.0]), Arc((0.3, 0.74), (0.3, 0.26), [0.0, 360.0])],
    &[Arc((0.3, 0.31), (0.3, 0.31), [0.0, 360.0]), Line(&[(0.58, 0.38), (0.44, 0.66), (0.14, 1.0)])],
];

/// Draws `rect` with its number at the top left corner; what lies outside of the picture is left out.
pub(super) fn draw_box(image: &mut RgbImage, rect: Rect, number: usize, line_px: f32) {
    // Through the centres of pixels, so that a thin line is crisp.
    let gap = (2.0 * line_px).round() - 0.5;
    let (left, top) = (rect.x as f32 - gap, rect.y as f32 - gap);
    let (right, bottom) = (rect.x as f32 + rect.width as f32 + gap, rect.y as f32 + rect.height as f32 + gap);
    let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    for (half_px, colour, opacity) in [(1.3 * line_px, DARK, 0.6), (0.6 * line_px, WHITE, 1.0)] {
        for pair in corners.windows(2) {
            shade(image, bounds(pair, half_px), |at| {
                let distance = to_segment(at, pair[0], pair[1]);
                (colour, opacity * coverage(distance - half_px))
            });
        }
    }
    draw_badge(image, (left, top), number, line_px);
}

fn draw_badge(image: &mut RgbImage, corner: Point, number: usize, line_px: f32) {
    let digits = digits_of(number);
    let height = 8.0 * line_px.max(1.2);
    let pitch = height * (DIGIT_WIDTH + 0.22);
    let text_width = pitch * digits.len() as f32 - height * 0.22;
    let radius = 0.5 * (height.hypot(text_width)) + 2.0 * line_px;
    // Outside of the corner, so that it does not hide a small defect; inside of the picture in any case.
    let inside = |at: f32, length: u32| (at - 0.7 * radius).min(length as f32 - radius - 1.0).max(radius + 1.0);
    let centre = (inside(corner.0, image.width()), inside(corner.1, image.height()));
    draw_disc(image, centre, radius, line_px);
    for (index, digit) in digits.into_iter().enumerate() {
        let origin = (centre.0 - text_width / 2.0 + pitch * index as f32, centre.1 - height / 2.0);
        for points in DIGITS[digit].iter().map(polyline) {
            let placed: Vec<Point> =
                points.iter().map(|(x, y)| (origin.0 + x * height, origin.1 + y * height)).collect();
            draw_polyline(image, &placed, 0.65 * line_px.max(1.2));
        }
    }
}

fn digits_of(number: usize) -> Vec<usize> {
    number.to_string().bytes().map(|byte| usize::from(byte - b'0')).collect()
}

fn draw_disc(image: &mut RgbImage, centre: Point, radius: f32, line_px: f32) {
    for (radius, colour) in [(radius, WHITE), (radius - 0.8 * line_px, DARK)] {
        let distance = |at: Point| (at.0 - centre.0).hypot(at.1 - centre.1) - radius;
        shade(image, bounds(&[centre], radius), |at| (colour, coverage(distance(at))));
    }
}

fn draw_polyline(image: &mut RgbImage, points: &[Point], half_px: f32) {
    let distance = |at| points.windows(2).map(|pair| to_segment(at, pair[0], pair[1])).fold(f32::INFINITY, f32::min);
    shade(image, bounds(points, half_px), |at| (WHITE, coverage(distance(at) - half_px)));
}

fn polyline(stroke: &Stroke) -> Vec<Point> {
    match stroke {
        Line(points) => points.to_vec(),
        Arc((x, y), (across, down), [from, to]) => (0..=24)
            .map(|step| (from + (to - from) * step as f32 / 24.0).to_radians())
            .map(|angle| (x + across * angle.cos(), y + down * angle.sin()))
            .collect(),
    }
}

/// Returns the box around `points`, `margin` wider on each side: left, top, right, bottom.
fn bounds(points: &[Point], margin: f32) -> [f32; 4] {
    let start = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
    let [left, top, right, bottom] = points
        .iter()
        .fold(start, |[left, top, right, bottom], &(x, y)| [left.min(x), top.min(y), right.max(x), bottom.max(y)]);
    [left - margin - 1.0, top - margin - 1.0, right + margin + 1.0, bottom + margin + 1.0]
}

/// Blends what `paint` says about the centre of each pixel inside `bounds` over it.
fn shade(image: &mut RgbImage, bounds: [f32; 4], paint: impl Fn(Point) -> (image::Rgb<u8>, f32)) {
    let [left, top, right, bottom] = bounds;
    // A cast of a negative number is 0.
    let columns = left as u32..(right.ceil() as u32).min(image.width());
    for y in top as u32..(bottom.ceil() as u32).min(image.height()) {
        for x in columns.clone() {
            let (colour, opacity) = paint((x as f32 + 0.5, y as f32 + 0.5));
            if opacity > 0.0 {
                blend(image.get_pixel_mut(x, y), colour, opacity);
            }
        }
    }
}

/// Returns how much of a pixel is covered by a shape whose edge is `distance` pixels away, negative inside.
fn coverage(distance: f32) -> f32 {
    (0.5 - distance).clamp(0.0, 1.0)
}

fn to_segment(at: Point, from: Point, to: Point) -> f32 {
    let (along_x, along_y) = (to.0 - from.0, to.1 - from.1);
    let squared = (along_x * along_x + along_y * along_y).max(f32::MIN_POSITIVE);
    let place = (((at.0 - from.0) * along_x + (at.1 - from.1) * along_y) / squared).clamp(0.0, 1.0);
    (at.0 - from.0 - place * along_x).hypot(at.1 - from.1 - place * along_y)
}
