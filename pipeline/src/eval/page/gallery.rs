use base64::{Engine as _, engine::general_purpose::STANDARD};
use cameras::{Frame, Rect, Size};
use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops, imageops::FilterType};
use imageproc::drawing::draw_hollow_rect_mut;
use models::HeatMap;

use super::veil::Veil;
use crate::eval::{
    Dataset, Judged, Round, Sample,
    metrics::{DetectionCounts, Labelled},
    runner::decode,
};

/// Pictures of each kind.
const SHOWN: usize = 6;
/// Longest side of a picture on the page.
const SIDE_PX: u32 = 360;
const JPEG_QUALITY: u8 = 82;
const TRUTH: Rgb<u8> = Rgb([40, 200, 120]);
const FOUND: Rgb<u8> = Rgb([235, 70, 50]);

/// One image on the page, as it is and with what was found.
pub(super) struct Picture {
    pub(super) name: String,
    pub(super) class: String,
    pub(super) score: String,
    /// `fail` for a wrong verdict, `pass` for a right one.
    pub(super) kind: &'static str,
    pub(super) verdict: &'static str,
    /// How the heat is drawn, where not from the threshold on.
    pub(super) caption: &'static str,
    pub(super) plain: String,
    pub(super) marked: String,
}

/// Returns the images that were judged worst: good ones that look strangest, defective ones that look least so, pairs with
/// the most wrong boxes.
pub(super) fn worst(dataset: &Dataset, round: &Round) -> Vec<Picture> {
    let mut ranked: [Vec<(f64, usize)>; 3] = Default::default();
    for (index, (sample, judged)) in dataset.samples.iter().zip(&round.judged).enumerate() {
        let Ok(judged) = judged else { continue };
        let ratio = judged.score / judged.threshold.max(f64::MIN_POSITIVE);
        match (sample.truths.is_empty(), sample.is_defect) {
            (false, _) => ranked[0].push((wrong_boxes(&judged.boxes(sample)), index)),
            (true, true) => ranked[1].push((-ratio, index)),
            (true, false) => ranked[2].push((ratio, index)),
        }
    }
    let mut shown = Vec::new();
    for mut kind in ranked {
        kind.sort_by(|a, b| b.0.total_cmp(&a.0));
        shown.extend(kind.into_iter().take(SHOWN).map(|(_, index)| index));
    }
    shown.into_iter().filter_map(|index| picture(&dataset.samples[index], round.judged[index].as_ref().ok()?)).collect()
}

fn wrong_boxes(image: &Labelled) -> f64 {
    let DetectionCounts { false_alarms, misses, .. } = DetectionCounts::of([image]);
    (false_alarms + misses) as f64
}

/// `None` when the file has gone since it was judged: the page does without.
fn picture(sample: &Sample, judged: &Judged) -> Option<Picture> {
    let frame = decode(&sample.path).ok()?;
    let (plain, scale) = thumbnail(&frame);
    let mut marked = plain.clone();
    let veil = tint(&mut marked, &judged.heat_map);
    if let Some(mask) = sample.mask.as_ref().and_then(|path| decode(path).ok()) {
        outline(&mut marked, &mask);
    }
    let truths = sample.truths.iter().map(|truth| (truth.rect, TRUTH));
    let found = judged.regions.iter().map(|region| (region.rect, FOUND));
    for (rect, colour) in truths.chain(found) {
        draw_box(&mut marked, rect, scale, colour);
    }
    Some(Picture {
        name: sample.path.file_name()?.to_string_lossy().into_owned(),
        class: sample.class.clone(),
        score: format!("{:.3} of {:.3}", judged.score, judged.threshold),
        kind: if judged.is_rejected == sample.is_defect { "pass" } else { "fail" },
        verdict: judged.verdict(sample),
        caption: veil.map_or("", Veil::caption),
        plain: data_uri(&plain)?,
        marked: data_uri(&marked)?,
    })
}

/// The picture at most [`SIDE_PX`] on a side, and by how much it was reduced.
fn thumbnail(frame: &Frame) -> (RgbImage, f32) {
    let picture = frame.to_rgb_image();
    let longest = picture.width().max(picture.height());
    let scale = (SIDE_PX as f32 / longest as f32).min(1.0);
    let side = |px: u32| ((px as f32 * scale).round() as u32).max(1);
    (imageops::resize(&picture, side(picture.width()), side(picture.height()), FilterType::Triangle), scale)
}

/// Heat as a red veil, denser where it is hotter. `None` when the map is malformed.
fn tint(picture: &mut RgbImage, heat: &HeatMap) -> Option<Veil> {
    // Before it is resized, which lowers peaks: the gate has judged by these.
    let veil = Veil::of(heat);
    let heat = heat.resized(Size::new(picture.width(), picture.height()))?;
    for (pixel, &value) in picture.pixels_mut().zip(&heat.values) {
        let weight = veil.density(value);
        for (channel, target) in pixel.0.iter_mut().zip([255.0, 60.0, 30.0]) {
            *channel = (f32::from(*channel) * (1.0 - weight) + target * weight) as u8;
        }
    }
    Some(veil)
}

/// The border of the true defect.
fn outline(picture: &mut RgbImage, mask: &Frame) {
    let (width, height) = picture.dimensions();
    let mask = imageops::resize(&mask.to_rgb_image(), width, height, FilterType::Triangle);
    let is_defect =
        |x: u32, y: u32| mask.get_pixel(x.min(width - 1), y.min(height - 1)).0.iter().any(|&value| value > 0);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let here = is_defect(x, y);
        if here != is_defect(x + 1, y) || here != is_defect(x, y + 1) {
            *pixel = TRUTH;
        }
    }
}

fn draw_box(picture: &mut RgbImage, rect: Rect, scale: f32, colour: Rgb<u8>) {
    let scaled = |px: u32| (px as f32 * scale).round();
    let rect = imageproc::rect::Rect::at(scaled(rect.x) as i32, scaled(rect.y) as i32)
        .of_size(scaled(rect.width).max(1.0) as u32, scaled(rect.height).max(1.0) as u32);
    draw_hollow_rect_mut(picture, rect, colour);
}

fn data_uri(picture: &RgbImage) -> Option<String> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(picture).ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)))
}
