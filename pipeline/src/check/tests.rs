use cameras::FrameId;

use super::*;

fn frame(size: Size, format: PixelFormat, pixels: Vec<u8>) -> Frame {
    Frame::new(FrameId { source: "test".into(), seq: 0 }, size, format, pixels).unwrap()
}

fn grey(size: Size, luma: impl Fn(u32, u32) -> u8) -> Frame {
    let pixels = (0..size.height_px).flat_map(|y| (0..size.width_px).map(move |x| (x, y)));
    frame(size, PixelFormat::Grey8, pixels.map(|(x, y)| luma(x, y)).collect())
}

fn checkers(x: u32, y: u32) -> u8 {
    if (x / 8 + y / 8).is_multiple_of(2) { 60 } else { 180 }
}

fn first_problem(frame: &Frame, limits: &QualityLimits) -> String {
    check(frame, limits).problems.first().cloned().unwrap_or_default()
}

#[test]
fn names_what_is_wrong_with_a_picture() {
    let size = Size::new(64, 64);
    let cases = [
        (grey(size, |_, _| 0), "blank: all of it is about luma 0"),
        (grey(size, |_, _| 255), "blank: all of it is about luma 255"),
        (grey(size, |x, _| 100 + (x % 2) as u8), "blank: all of it is about luma 100"),
        (grey(Size::new(1, 1), |_, _| 9), "too small: expected at least 32 pixels a side, found 1 x 1"),
        (grey(Size::new(200, 31), checkers), "too small: expected at least 32 pixels a side, found 200 x 31"),
        (grey(size, |x, y| if x + y == 0 { 200 } else { 0 }), "too dark: 100 % of it is black"),
        (grey(size, |x, y| ((x * 7 + y * 5) % 9) as u8), "blank: all of it is about luma 4"),
        (grey(size, |x, y| if x + y == 0 { 20 } else { 255 }), ""),
        (grey(size, checkers), ""),
    ];
    for (frame, expected) in cases {
        assert_eq!(first_problem(&frame, &QualityLimits::default()), expected);
        assert_eq!(check(&frame, &QualityLimits::default()).ok, expected.is_empty());
    }
}

#[test]
fn a_station_can_limit_saturation() {
    let frame = grey(Size::new(64, 64), |x, y| if x < 6 { checkers(x, y) } else { 255 });
    let limits = QualityLimits { max_saturated_ratio: 0.9, ..QualityLimits::default() };
    assert_eq!(first_problem(&frame, &limits), "too bright: 91 % of it is saturated");
    assert_eq!(first_problem(&frame, &QualityLimits::default()), "");
}

#[test]
fn measures_agree_with_a_plain_computation() {
    let luma = |x: u32, y: u32| ((x * x + 3 * y * x + 7 * y) % 251) as u8;
    let size = Size::new(40, 33);
    let quality = check(&grey(size, luma), &QualityLimits::default());
    let laplacians: Vec<f64> = (1..size.height_px - 1)
        .flat_map(|y| (1..size.width_px - 1).map(move |x| (x, y)))
        .map(|(x, y)| {
            let at = |x: u32, y: u32| f64::from(luma(x, y));
            at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y)
        })
        .collect();
    let mean = laplacians.iter().sum::<f64>() / laplacians.len() as f64;
    let variance = laplacians.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / laplacians.len() as f64;
    assert!((quality.focus - variance).abs() < 1e-6 * variance, "{} {variance}", quality.focus);
}

#[test]
fn every_format_measures_the_same_picture() {
    let size = Size::new(48, 40);
    let plain = grey(size, checkers);
    let expected = check(&plain, &QualityLimits::default());
    let spread = |format: PixelFormat| {
        let wide = matches!(format, PixelFormat::Grey16 | PixelFormat::Rgb16);
        let channels = format.bytes_per_pixel() / if wide { 2 } else { 1 };
        let samples = plain.pixels().iter().flat_map(|&luma| std::iter::repeat_n(luma, channels));
        let bytes: Vec<u8> = if wide {
            samples.flat_map(|luma| (u16::from(luma) * 257).to_ne_bytes()).collect()
        } else {
            samples.collect()
        };
        frame(size, format, bytes)
    };
    for format in [PixelFormat::Grey16, PixelFormat::Rgb8, PixelFormat::Rgb16] {
        assert_eq!(check(&spread(format), &QualityLimits::default()), expected, "{format:?}");
    }
}

#[test]
fn blur_lowers_the_focus_and_a_limit_refuses_it() {
    let size = Size::new(128, 128);
    let sharp = grey(size, checkers);
    let blurred = grey(size, |x, y| {
        let around = (0..9).flat_map(|dx| (0..9).map(move |dy| (x + dx, y + dy)));
        (around.map(|(x, y)| u32::from(checkers(x, y))).sum::<u32>() / 81) as u8
    });
    let limits = QualityLimits { min_focus: 50.0, ..QualityLimits::default() };
    assert!(check(&sharp, &limits).ok);
    assert!(first_problem(&blurred, &limits).starts_with("out of focus"), "{:?}", check(&blurred, &limits));
}

#[test]
fn a_large_picture_measures_like_its_small_repetition() {
    let small = check(&grey(Size::new(256, 256), checkers), &QualityLimits::default());
    let large = check(&grey(Size::new(2048, 1536), checkers), &QualityLimits::default());
    assert!((small.mean_luma - large.mean_luma).abs() < 2.0, "{small:?} {large:?}");
    assert!((small.focus / large.focus - 1.0).abs() < 0.25, "{} {}", small.focus, large.focus);
}
