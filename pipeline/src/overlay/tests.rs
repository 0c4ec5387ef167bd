use cameras::{FrameId, PixelFormat, Rect, Size};

use super::*;
use crate::report::tests::full_example;

fn grey_frame(width: u32, height: u32) -> Frame {
    let pixels = vec![128; (width * height) as usize];
    Frame::new(FrameId { source: "top".into(), seq: 0 }, Size::new(width, height), PixelFormat::Grey8, pixels).unwrap()
}

fn heat(values: Vec<f32>) -> HeatMap {
    HeatMap { size: Size::new(2, 1), values, threshold: 2.0 }
}

fn boxed(bbox: Rect) -> Defect {
    Defect { bbox, ..full_example().defects.remove(0) }
}

const PLAIN: Rgb<u8> = Rgb([128; 3]);

#[test]
fn colours_only_where_it_is_strange() {
    let painted = paint(&grey_frame(80, 40), Some(&heat(vec![0.0, 8.0])), &[]);
    assert_eq!(*painted.get_pixel(5, 20), PLAIN);
    let hot = painted.get_pixel(75, 20).0;
    let (_, opacity) = strength(4.0);
    let mut expected = PLAIN;
    blend(&mut expected, ramp::colours()[255], opacity);
    assert_eq!(hot, expected.0);
}

#[test]
fn boxes_are_drawn_around_not_over_the_defect() {
    let bbox = Rect { x: 100, y: 80, width: 60, height: 40 };
    let painted = paint(&grey_frame(300, 300), None, &[boxed(bbox)]);
    assert_eq!(*painted.get_pixel(130, 100), PLAIN, "inside");
    let edge = (74..80).any(|y| *painted.get_pixel(140, y) == WHITE);
    assert!(edge, "above");
}

#[test]
fn odd_input_is_painted_without_a_panic() {
    let far = Rect { x: u32::MAX, y: 0, width: u32::MAX, height: 1 };
    let maps = [
        heat(vec![1.0]),
        heat(vec![f32::NAN, f32::INFINITY]),
        HeatMap { threshold: 0.0, ..heat(vec![0.0, 1.0]) },
        HeatMap { size: Size::new(0, 0), values: vec![], threshold: 1.0 },
    ];
    for (width, height) in [(1, 1), (1, 50), (300, 2)] {
        for map in &maps {
            let painted = paint(&grey_frame(width, height), Some(map), &[boxed(far), boxed(Rect { x: 0, ..far })]);
            assert_eq!(painted.dimensions(), (width, height));
        }
    }
}
