//! How much of a leaf on plain ground has lost its green.

mod scene;

use cameras::Frame;
use image::{GrayImage, ImageBuffer, Luma, imageops};
use imageproc::{
    distance_transform::Norm,
    morphology::{close, erode, open},
    region_labelling::{Connectivity, connected_components},
};

use scene::Scene;

/// Less of a picture is no leaf that somebody photographed.
const LEAST_LEAF_SHARE: f64 = 0.1;
/// A leaf that covers more of the picture's edge is cut off, or is no single leaf.
const MOST_EDGE_SHARE: f64 = 0.3;
/// Gaps up to twice as wide belong to the leaf: veins and shine.
const GAP_PX: u8 = 3;
/// The rim is mixed with the ground and its shadow.
const RIM_PX: u8 = 3;
const IN: Luma<u8> = Luma([u8::MAX]);
const OUT: Luma<u8> = Luma([0]);

/// Returns the share of the leaf in a frame that is redder than its own green, in 0..=1: yellowed, brown or black spots, but not a leaf that is
/// yellow all over; docs/accuracy.md compares it with estimates. `None` where the ground is not plain, or no leaf stands out from it and lies
/// mostly inside the picture.
pub fn discoloured_share(frame: &Frame) -> Option<f64> {
    let scene = Scene::of(frame)?;
    let leaf = without_holes(&largest(&closed(&open(&scene.plant(), Norm::L1, 1)))?);
    let leaf_share = share(&leaf, |_, _| true);
    let edge_share = share(&leaf, |x, y| is_edge(&leaf, x, y));
    if leaf_share < LEAST_LEAF_SHARE || edge_share > MOST_EDGE_SHARE {
        return None;
    }
    let inner = erode(&leaf, Norm::L1, RIM_PX);
    let discoloured = open(&scene.discoloured(&inner), Norm::L1, 1);
    Some(share(&discoloured, |x, y| *inner.get_pixel(x, y) == IN))
}

/// Returns the share of the pixels that `counts` takes which are in the mask; 0 where it takes none.
fn share(mask: &GrayImage, counts: impl Fn(u32, u32) -> bool) -> f64 {
    let counted = mask.enumerate_pixels().filter(|&(x, y, _)| counts(x, y));
    let (inside, all) =
        counted.fold((0_u32, 0_u32), |(inside, all), (.., &pixel)| (inside + u32::from(pixel == IN), all + 1));
    f64::from(inside) / f64::from(all.max(1))
}

/// Returns the mask with its gaps closed, none of them towards the edge of the picture, which is no part of a leaf.
fn closed(mask: &GrayImage) -> GrayImage {
    let margin = u32::from(GAP_PX) + 1;
    let (width, height) = mask.dimensions();
    let mut wide = GrayImage::new(width + 2 * margin, height + 2 * margin);
    imageops::replace(&mut wide, mask, margin.into(), margin.into());
    imageops::crop_imm(&close(&wide, Norm::L1, GAP_PX), margin, margin, width, height).to_image()
}

/// Returns the largest connected part of the mask, or `None` of an empty one.
fn largest(mask: &GrayImage) -> Option<GrayImage> {
    let labels = connected_components(mask, Connectivity::Four, OUT);
    let mut sizes = vec![0_u32; mask.len() + 1];
    for label in labels.pixels().filter(|label| label.0[0] > 0) {
        sizes[label.0[0] as usize] += 1;
    }
    let (most, &size) = sizes.iter().enumerate().max_by_key(|&(_, &size)| size)?;
    (size > 0).then(|| from_labels(&labels, |label| label as usize == most))
}

/// Returns the mask and what it encloses.
fn without_holes(mask: &GrayImage) -> GrayImage {
    let around = connected_components(mask, Connectivity::Four, IN);
    let mut is_open = vec![false; mask.len() + 1];
    for (.., label) in around.enumerate_pixels().filter(|&(x, y, _)| is_edge(mask, x, y)) {
        is_open[label.0[0] as usize] |= label.0[0] > 0;
    }
    from_labels(&around, |label| !is_open[label as usize])
}

fn is_edge(mask: &GrayImage, x: u32, y: u32) -> bool {
    x == 0 || y == 0 || x + 1 == mask.width() || y + 1 == mask.height()
}

fn from_labels(labels: &ImageBuffer<Luma<u32>, Vec<u32>>, is_in: impl Fn(u32) -> bool) -> GrayImage {
    GrayImage::from_fn(
        labels.width(),
        labels.height(),
        |x, y| if is_in(labels.get_pixel(x, y).0[0]) { IN } else { OUT },
    )
}

#[cfg(test)]
mod tests {
    use cameras::FrameId;
    use image::{Rgb, RgbImage};
    use imageproc::drawing::{draw_filled_circle_mut, draw_filled_ellipse_mut};

    use super::*;

    const GREEN: Rgb<u8> = Rgb([60, 120, 50]);
    const BROWN: Rgb<u8> = Rgb([110, 70, 40]);

    fn ground(colour: [u8; 3]) -> RgbImage {
        RgbImage::from_pixel(320, 256, Rgb(colour))
    }

    fn leaf(colour: Rgb<u8>) -> RgbImage {
        let mut picture = ground([150, 140, 160]);
        draw_filled_ellipse_mut(&mut picture, (160, 128), 120, 80, colour);
        picture
    }

    fn read(picture: RgbImage) -> Option<f64> {
        discoloured_share(&Frame::from_rgb_image(FrameId { source: "leaf".into(), seq: 0 }, picture))
    }

    #[test]
    fn brown_spots_are_measured_against_the_leaf() {
        let mut picture = leaf(GREEN);
        for (x, y) in [(100, 128), (160, 90), (160, 160), (220, 128)] {
            draw_filled_circle_mut(&mut picture, (x, y), 16, BROWN);
        }
        let spots = 4.0 * std::f64::consts::PI * 16.0 * 16.0;
        let share = read(picture).unwrap();
        let expected = spots / (std::f64::consts::PI * 120.0 * 80.0);
        assert!((share - expected).abs() < 0.25 * expected, "{share}, expected {expected}");
    }

    #[test]
    fn green_light_green_and_shadow_are_healthy_and_brown_is_not() {
        for healthy in [GREEN, Rgb([40, 70, 45]), Rgb([130, 180, 60])] {
            assert_eq!(read(leaf(healthy)), Some(0.0), "{healthy:?}");
        }
        let mut shadowed = ground([150, 140, 160]);
        draw_filled_ellipse_mut(&mut shadowed, (180, 140), 120, 80, Rgb([30, 24, 26]));
        draw_filled_ellipse_mut(&mut shadowed, (150, 120), 120, 80, GREEN);
        assert!(read(shadowed).unwrap() < 0.01);
        assert!(read(leaf(BROWN)).unwrap() > 0.95);
    }

    #[test]
    fn the_colour_of_the_light_does_not_matter() {
        let mut warm = leaf(GREEN);
        draw_filled_circle_mut(&mut warm, (160, 128), 30, BROWN);
        let plain = read(warm.clone()).unwrap();
        let lamp = |picture: &mut RgbImage, percent: u16| {
            for Rgb([red, _, blue]) in picture.pixels_mut() {
                *red = (u16::from(*red) * (100 + percent) / 100).min(255) as u8;
                *blue -= *blue / 4;
            }
        };
        lamp(&mut warm, 25);
        assert!((read(warm).unwrap() - plain).abs() < 0.01);
        // The ground is too bright to say how red the light is.
        let mut glaring = leaf(GREEN);
        lamp(&mut glaring, 80);
        assert_eq!(read(glaring), None);
    }

    #[test]
    fn a_long_leaf_in_a_wide_picture_is_measured() {
        let mut wide = RgbImage::from_pixel(1200, 240, Rgb([150, 140, 160]));
        draw_filled_ellipse_mut(&mut wide, (600, 120), 500, 80, GREEN);
        assert_eq!(read(wide), Some(0.0));
    }

    #[test]
    fn without_a_leaf_before_plain_ground_nothing_is_said() {
        let stripes = RgbImage::from_fn(320, 256, |x, _| if x % 40 < 20 { GREEN } else { Rgb([200, 190, 180]) });
        let mut cut_off = ground([150, 140, 160]);
        draw_filled_ellipse_mut(&mut cut_off, (160, 300), 300, 250, GREEN);
        for (name, picture) in [("ground", ground([150, 140, 160])), ("stripes", stripes), ("cut off", cut_off)] {
            assert_eq!(read(picture), None, "{name}");
        }
        for (width, height) in [(1, 1), (1, 300), (2, 2), (5, 4), (127, 300)] {
            assert_eq!(read(RgbImage::from_pixel(width, height, GREEN)), None, "{width} x {height}");
        }
    }
}
