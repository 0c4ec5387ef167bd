//! The colours of heat: yellow, orange, red, purple, mixed in Oklab so that equal steps of heat look equally far apart.
//!
//! Oklab and its matrices: Björn Ottosson, "A perceptual color space for image processing", 2020.

use std::sync::LazyLock;

use image::Rgb;

const ANCHORS: [[u8; 3]; 4] = [[255, 226, 84], [255, 138, 36], [224, 44, 60], [138, 20, 116]];

/// Returns 256 colours from the threshold's to the strongest.
pub(super) fn colours() -> &'static [Rgb<u8>; 256] {
    static COLOURS: LazyLock<[Rgb<u8>; 256]> =
        LazyLock::new(|| std::array::from_fn(|index| colour_at(index as f32 / 255.0)));
    &COLOURS
}

fn colour_at(place: f32) -> Rgb<u8> {
    let along = place * (ANCHORS.len() - 1) as f32;
    let first = (along as usize).min(ANCHORS.len() - 2);
    let (from, to) = (oklab(ANCHORS[first]), oklab(ANCHORS[first + 1]));
    let weight = along - first as f32;
    srgb(std::array::from_fn(|axis| from[axis] + (to[axis] - from[axis]) * weight))
}

type Matrix = [[f32; 3]; 3];

const CONES_FROM_RGB: Matrix = [
    [0.412_221_47, 0.536_332_5, 0.051_445_99],
    [0.211_903_5, 0.680_699_5, 0.107_396_96],
    [0.088_302_46, 0.281_718_85, 0.629_978_7],
];

const LAB_FROM_CONES: Matrix = [
    [0.210_454_26, 0.793_617_8, -0.004_072_047],
    [1.977_998_5, -2.428_592_2, 0.450_593_7],
    [0.025_904_037, 0.782_771_77, -0.808_675_77],
];

const CONES_FROM_LAB: Matrix =
    [[1.0, 0.396_337_78, 0.215_803_76], [1.0, -0.105_561_346, -0.063_854_17], [1.0, -0.089_484_18, -1.291_485_5]];

const RGB_FROM_CONES: Matrix = [
    [4.076_741_7, -3.307_711_6, 0.230_969_94],
    [-1.268_438, 2.609_757_4, -0.341_319_38],
    [-0.004_196_086, -0.703_418_6, 1.707_614_7],
];

fn times(matrix: &Matrix, vector: [f32; 3]) -> [f32; 3] {
    matrix.map(|row| row.iter().zip(vector).map(|(weight, value)| weight * value).sum())
}

fn oklab(colour: [u8; 3]) -> [f32; 3] {
    let light = colour.map(|level| linear(f32::from(level) / 255.0));
    times(&LAB_FROM_CONES, times(&CONES_FROM_RGB, light).map(f32::cbrt))
}

fn srgb(lab: [f32; 3]) -> Rgb<u8> {
    let light = times(&RGB_FROM_CONES, times(&CONES_FROM_LAB, lab).map(|cone| cone.powi(3)));
    Rgb(light.map(|value| (gamma(value.clamp(0.0, 1.0)) * 255.0).round() as u8))
}

fn linear(level: f32) -> f32 {
    if level <= 0.040_45 { level / 12.92 } else { ((level + 0.055) / 1.055).powf(2.4) }
}

fn gamma(light: f32) -> f32 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_through_its_anchors() {
        for (index, anchor) in [(0, ANCHORS[0]), (85, ANCHORS[1]), (170, ANCHORS[2]), (255, ANCHORS[3])] {
            for (found, expected) in colours()[index].0.into_iter().zip(anchor) {
                assert!(found.abs_diff(expected) <= 1, "{index}: {:?} {anchor:?}", colours()[index]);
            }
        }
    }

    #[test]
    fn darkens_all_the_way() {
        let lightness: Vec<f32> = colours().iter().map(|colour| oklab(colour.0)[0]).collect();
        for (index, pair) in lightness.windows(2).enumerate() {
            assert!(pair[1] < pair[0] + 0.003, "{index}: {pair:?}");
        }
    }
}
