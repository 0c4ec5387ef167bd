use cameras::{FrameId, PixelFormat, Rect};

use super::*;

const WIDTH: u32 = 200;
const HEIGHT: u32 = 160;
const LAMINATE: u8 = 220;
const COPPER: u8 = 30;

/// Left, top, width and height in pixels.
type Drawn = (u32, u32, u32, u32);

/// A picture of a board that things are drawn on, and how the camera sees it.
#[derive(Clone)]
struct Board {
    pixels: Vec<u8>,
    shift: (u32, u32),
    gain: f32,
    offset: f32,
}

impl Board {
    /// Two traces, a wide pad and a hole in it.
    fn good() -> Self {
        let size = (WIDTH * HEIGHT) as usize;
        let board = Self { pixels: vec![LAMINATE; size], shift: (0, 0), gain: 1.0, offset: 0.0 };
        let board = board.draw((20, 30, 140, 10), COPPER).draw((20, 60, 140, 10), COPPER);
        board.draw((60, 95, 80, 40), COPPER).draw((68, 103, 12, 12), LAMINATE).draw((150, 60, 10, 60), COPPER)
    }

    fn draw(mut self, (left, top, width, height): Drawn, brightness: u8) -> Self {
        for y in top..top + height {
            for x in left..left + width {
                self.pixels[(y * WIDTH + x) as usize] = brightness;
            }
        }
        self
    }

    fn shifted(self, right: u32, down: u32) -> Self {
        Self { shift: (right, down), ..self }
    }

    fn lit(self, gain: f32, offset: f32) -> Self {
        Self { gain, offset, ..self }
    }

    fn seen(&self) -> Vec<u8> {
        let (right, down) = self.shift;
        let places =
            (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x.saturating_sub(right), y.saturating_sub(down))));
        let light = |v: u8| (f32::from(v) * self.gain + self.offset).round().clamp(0.0, 255.0) as u8;
        places.map(|(x, y)| light(self.pixels[(y * WIDTH + x) as usize])).collect()
    }

    fn frame(&self) -> Frame {
        frame(Size::new(WIDTH, HEIGHT), PixelFormat::Grey8, self.seen())
    }
}

fn frame(size: Size, format: PixelFormat, pixels: Vec<u8>) -> Frame {
    Frame::new(FrameId { source: "test".into(), seq: 7 }, size, format, pixels).unwrap()
}

fn flat(width: u32, height: u32, brightness: u8) -> Frame {
    frame(Size::new(width, height), PixelFormat::Grey8, vec![brightness; (width * height) as usize])
}

fn template_of(golden: &[Frame]) -> Template {
    Template::from_golden(golden, TemplateOptions::bare_board(Conductor::Dark)).unwrap()
}

/// A good board with a little noise that depends on `seed`, 1 px off for odd seeds.
fn noisy(seed: u32) -> Frame {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut pixels = Board::good().shifted(seed % 2, 0).seen();
    for value in &mut pixels {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        *value = value.saturating_add_signed((state % 9) as i8 - 4);
    }
    frame(Size::new(WIDTH, HEIGHT), PixelFormat::Grey8, pixels)
}

const DEFECTS: [(&str, Drawn, u8); 6] = [
    ("pcb_open", (90, 30, 8, 10), LAMINATE),
    ("pcb_short", (100, 40, 7, 20), COPPER),
    ("pcb_mousebite", (50, 65, 8, 5), LAMINATE),
    ("pcb_spur", (40, 40, 7, 9), COPPER),
    ("pcb_spurious_copper", (20, 100, 9, 9), COPPER),
    ("pcb_pinhole", (110, 110, 8, 8), LAMINATE),
];

#[test]
fn finds_and_names_each_defect_wherever_the_board_lies() {
    let template = template_of(&[Board::good().frame()]);
    for (code, drawn, brightness) in DEFECTS {
        for (right, down) in [(0, 0), (1, 0), (0, 2), (2, 1), (7, 5)] {
            for (gain, offset) in [(1.0, 0.0), (0.8, 30.0)] {
                let board = Board::good().draw(drawn, brightness).shifted(right, down).lit(gain, offset);
                let reading = template.judge(&board.frame()).unwrap();
                let case = format!("{code} shifted by {right}, {down}, light {gain} {offset}: {:?}", reading.regions);
                assert!(reading.is_suspect(), "{case}");
                let [region] = reading.regions.as_slice() else { panic!("{case}") };
                assert_eq!(region.code.as_deref(), Some(code), "{case}");
                let (x, y, width, height) = drawn;
                let true_rect = Rect { x: x + right, y: y + down, width, height };
                assert!(region.rect.iou(true_rect) > 0.6, "{case}");
                assert!(region.area_px >= 3 * u64::from(width * height) / 5, "{case}");
            }
        }
    }
}

#[test]
fn names_change_with_the_colour_of_copper() {
    let negative = |board: &Board| {
        let pixels = board.seen().iter().map(|v| 255 - v).collect();
        frame(Size::new(WIDTH, HEIGHT), PixelFormat::Grey8, pixels)
    };
    let golden = negative(&Board::good());
    let template = Template::from_golden(&[golden], TemplateOptions::bare_board(Conductor::Bright)).unwrap();
    for (code, drawn, brightness) in DEFECTS {
        let reading = template.judge(&negative(&Board::good().draw(drawn, brightness))).unwrap();
        let codes: Vec<_> = reading.regions.iter().map(|r| r.code.as_deref()).collect();
        assert_eq!(codes, [Some(code)]);
    }
}

#[test]
fn good_boards_pass_wherever_they_lie() {
    let template = template_of(&[Board::good().frame()]);
    for (right, down) in [(0, 0), (1, 1), (2, 0), (5, 9)] {
        for (gain, offset) in [(1.0, 0.0), (0.7, 10.0), (1.1, 0.0)] {
            let board = Board::good().shifted(right, down).lit(gain, offset);
            let reading = template.judge(&board.frame()).unwrap();
            assert!(!reading.is_suspect() && reading.regions.is_empty(), "{right} {down} {gain}: {}", reading.score);
        }
    }
}

#[test]
fn a_margin_grows_boxes_up_to_the_border() {
    let options = TemplateOptions { margin_px: 10, ..TemplateOptions::default() };
    let template = Template::from_golden(&[Board::good().frame()], options).unwrap();
    let reading = template.judge(&Board::good().draw((4, 100, 9, 9), COPPER).frame()).unwrap();
    assert_eq!(reading.regions.len(), 1);
    let region = &reading.regions[0];
    assert_eq!(region.rect, Rect { x: 0, y: 90, width: 23, height: 29 });
    assert_eq!(region.code, None);
}

#[test]
fn learns_from_several_golden_images_how_much_good_parts_differ() {
    let golden: Vec<_> = (0..8).map(noisy).collect();
    let template = template_of(&golden);
    assert_eq!(template.explanation(), "8 good parts: at most 31 % false alarms with 95 % confidence, 11 % expected");
    let good = template.judge(&noisy(100)).unwrap();
    assert!(good.p_value.unwrap() > 1.0 / 9.0, "{}", good.score);
    let faint = Board::good().draw((20, 100, 9, 9), LAMINATE - 40);
    let bad = template.judge(&faint.frame()).unwrap();
    assert!((bad.p_value.unwrap() - 1.0 / 9.0).abs() < 1e-9 && bad.is_suspect(), "{}", bad.score);
    let single = template_of(&golden[..1]).judge(&faint.frame()).unwrap();
    assert!(single.p_value.is_none() && !single.is_suspect(), "{}", single.score);
}

#[test]
fn sees_a_change_of_colour_alone() {
    let colour = |patch: Option<[u8; 3]>| {
        let mut pixels: Vec<u8> = Board::good().seen().iter().flat_map(|&v| [v, v / 2 + 40, v]).collect();
        for (y, x) in (100..110).flat_map(|y| (20..30).map(move |x| (y, x))) {
            let at = 3 * (y * WIDTH as usize + x);
            pixels[at..at + 3].copy_from_slice(&patch.unwrap_or([220, 150, 220]));
        }
        frame(Size::new(WIDTH, HEIGHT), PixelFormat::Rgb8, pixels)
    };
    let template = Template::from_golden(&[colour(None)], TemplateOptions::default()).unwrap();
    assert!(!template.judge(&colour(None)).unwrap().is_suspect());
    // As bright as before, to three grey levels.
    let reading = template.judge(&colour(Some([120, 190, 255]))).unwrap();
    assert!(reading.is_suspect());
    let rects: Vec<_> = reading.regions.iter().map(|region| region.rect).collect();
    assert_eq!(rects, [Rect { x: 20, y: 100, width: 10, height: 10 }]);
}

#[test]
fn bit_depth_makes_no_difference() {
    let board = Board::good().draw(DEFECTS[1].1, COPPER);
    let wide = |board: &Board| {
        let pixels = board.seen().iter().flat_map(|&v| (u16::from(v) * 257).to_ne_bytes()).collect();
        frame(Size::new(WIDTH, HEIGHT), PixelFormat::Grey16, pixels)
    };
    let narrow_reading = template_of(&[Board::good().frame()]).judge(&board.frame()).unwrap();
    let wide_reading = template_of(&[wide(&Board::good())]).judge(&wide(&board)).unwrap();
    assert_eq!(narrow_reading, wide_reading);
}

#[test]
fn a_saved_template_judges_as_before() {
    let folder = tempfile::tempdir().unwrap();
    for count in [1, 4] {
        let golden: Vec<_> = (0..count).map(noisy).collect();
        let template = template_of(&golden);
        let path = folder.path().join(format!("{count}.template"));
        template.save(&path).unwrap();
        let opened = Template::open(&path).unwrap();
        let board = Board::good().draw(DEFECTS[0].1, DEFECTS[0].2).frame();
        assert_eq!(opened.judge(&board).unwrap(), template.judge(&board).unwrap());
        assert_eq!((opened.options(), opened.explanation()), (template.options(), template.explanation()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().filter(|e| e.as_ref().unwrap().path() == path).count(), 1);
    }
}

#[test]
fn refuses_a_file_that_is_no_template() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.template");
    template_of(&[Board::good().frame()]).save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut newer = whole.clone();
    let version = newer.windows(16).position(|w| w == b"loupe.template/1").unwrap() + 15;
    newer[version] = b'9';
    let cases = [
        (Vec::new(), "expected safetensors"),
        (b"text".to_vec(), "expected safetensors"),
        (whole[..whole.len() / 2].to_vec(), "expected safetensors"),
        (newer, "expected format loupe.template/1, found loupe.template/9"),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&path, bytes).unwrap();
        let message = Template::open(&path).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()) && message.contains(expected), "{message}");
    }
    let missing = Template::open(&folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, ModelError::Io { .. }), "{missing}");
}

#[test]
fn refuses_what_cannot_be_compared() {
    let small = template_of(&[flat(40, 30, 9)]);
    let wrong_size = small.judge(&flat(30, 40, 9)).unwrap_err();
    assert_eq!(wrong_size.to_string(), "frame test#7: expected 40 x 30, found 30 x 40");
    assert!(small.judge(&flat(1, 1, 9)).is_err());
    let options = TemplateOptions::default();
    let cases = [
        (vec![], options, "golden images: expected at least 1, found 0"),
        (vec![flat(1, 1, 0)], options, "golden image test#7: expected at least 16 x 16, found 1 x 1"),
        (
            vec![flat(40, 30, 0), flat(30, 40, 0)],
            options,
            "golden image test#7: expected 40 x 30 as golden image test#7 has, found 30 x 40",
        ),
        (
            vec![flat(40, 30, 0)],
            TemplateOptions { tolerance_px: 9, ..options },
            "template option tolerance_px: expected 0 to 8, found 9",
        ),
    ];
    for (golden, options, expected) in cases {
        assert_eq!(Template::from_golden(&golden, options).unwrap_err().to_string(), expected);
    }
}

#[test]
fn black_frames_are_judged_too() {
    let template = template_of(&[Board::good().frame()]);
    let reading = template.judge(&flat(WIDTH, HEIGHT, 0)).unwrap();
    assert!(reading.is_suspect() && reading.score.is_finite());
    for side in [16, 17, 33] {
        let black = template_of(&[flat(side, side, 0)]);
        assert!(!black.judge(&flat(side, side, 0)).unwrap().is_suspect());
    }
}
