//! Hashes are those of the reference: transformers 5.23 (its slow image processor) over Pillow 13.

use std::fs;

use cameras::{FrameId, PixelFormat};

use super::*;
use crate::{HeatMap, Region, hash::sha256};

const SMOLVLM_256M: ProcessorSettings = ProcessorSettings {
    longest_edge_px: 2048,
    tile_px: 512,
    tiling: Tiling::Split,
    rescale_factor: 0.003_921_568_627_450_98,
    mean: [0.5; 3],
    std: [0.5; 3],
    tokens_per_frame: 64,
};
const VISION: VisionGeometry = VisionGeometry { image_px: 512, patch_px: 16, shuffle: 4 };

fn frame(size: Size, pixels: Vec<u8>) -> Frame {
    Frame::new(FrameId { source: "test".into(), seq: 0 }, size, PixelFormat::Rgb8, pixels).unwrap()
}

/// Returns the picture of the published hashes.
fn ramps(width_px: u32, height_px: u32) -> Frame {
    let colours = |x, y| [7 * x + 13 * y, 3 * x + 5 * y, x ^ y].map(|value| value as u8);
    let rows = (0..height_px).flat_map(|y| (0..width_px).flat_map(move |x| colours(x, y)));
    frame(Size::new(width_px, height_px), rows.collect())
}

/// Returns bytes without order; of two `levels`, only 0 and 255, so that sums leave the range of a byte.
fn noise(width_px: u32, height_px: u32, levels: u32) -> Frame {
    let size = Size::new(width_px, height_px);
    let bytes = (0..3 * size.area_px() as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8);
    frame(size, bytes.map(|byte| if levels == 2 { 255 * (byte >> 7) } else { byte }).collect())
}

fn processor(settings: ProcessorSettings) -> Processor {
    Processor::new(settings).unwrap()
}

fn sides(size: Size) -> (u32, u32) {
    (size.width_px, size.height_px)
}

#[test]
fn plans_the_published_grids() {
    let (small, large) = (SMOLVLM_256M, ProcessorSettings { longest_edge_px: 1536, tile_px: 384, ..SMOLVLM_256M });
    let cases = [
        (small, 4, (512, 512), (2048, 2048), (2048, 2048), (4, 4)),
        (small, 4, (224, 224), (2048, 2048), (2048, 2048), (4, 4)),
        (small, 4, (640, 480), (2048, 1536), (2048, 1536), (3, 4)),
        (small, 4, (1280, 720), (2048, 1152), (2048, 1536), (3, 4)),
        (small, 4, (1920, 1080), (2048, 1152), (2048, 1536), (3, 4)),
        (small, 4, (1080, 1920), (1152, 2048), (1536, 2048), (4, 3)),
        (small, 4, (2448, 2048), (2048, 1714), (2048, 2048), (4, 4)),
        (small, 4, (4096, 3000), (2048, 1500), (2048, 1536), (3, 4)),
        (small, 4, (300, 1200), (512, 2048), (512, 2048), (4, 1)),
        (small, 4, (1000, 333), (2048, 682), (2048, 1024), (2, 4)),
        (small, 4, (2048, 100), (2048, 100), (2048, 512), (1, 4)),
        (small, 2, (512, 512), (1024, 1024), (1024, 1024), (2, 2)),
        (small, 2, (640, 480), (1024, 768), (1024, 1024), (2, 2)),
        (small, 2, (1280, 720), (1024, 576), (1024, 1024), (2, 2)),
        (small, 2, (300, 1200), (256, 1024), (512, 1024), (2, 1)),
        (small, 2, (1000, 333), (1024, 340), (1024, 512), (1, 2)),
        (small, 1, (640, 480), (512, 384), (512, 512), (0, 0)),
        (small, 1, (300, 1200), (128, 512), (512, 512), (0, 0)),
        (large, 4, (640, 480), (1536, 1152), (1536, 1152), (3, 4)),
        (large, 4, (77, 77), (1536, 1536), (1536, 1536), (4, 4)),
    ];
    for (settings, tiles, (width_px, height_px), resized, canvas, grid) in cases {
        let settings = ProcessorSettings { longest_edge_px: tiles * settings.tile_px, ..settings };
        let plan = processor(settings).plan(Size::new(width_px, height_px)).unwrap();
        let found = (sides(plan.resized), sides(plan.canvas), (plan.rows, plan.cols));
        assert_eq!(found, (resized, canvas, grid), "{width_px} x {height_px}, {tiles} tiles a side");
        assert_eq!(plan.frames(), plan.cells().count() + 1);
    }
}

#[test]
fn plans_extreme_pictures() {
    let sizes = [1, 2, 3, 7, 511, 513, 4095, 65_535, u32::MAX];
    let edges = [(1, 1), (1001, 512), (3136, 64), (4097, 4096), (65_536, 97), (65_535, 1)];
    for (longest_edge_px, tile_px) in edges {
        let processor = processor(ProcessorSettings { longest_edge_px, tile_px, ..SMOLVLM_256M });
        for (width_px, height_px) in sizes.iter().flat_map(|&width| sizes.map(|height| (width, height))) {
            let plan = processor.plan(Size::new(width_px, height_px)).unwrap();
            let (resized, canvas) = (sides(plan.resized), sides(plan.canvas));
            assert!(resized.0 >= 1 && resized.1 >= 1 && resized.0.max(resized.1) <= 4096, "{plan:?}");
            assert!(canvas.0 >= tile_px && canvas.1 >= tile_px && canvas.0 <= 8192 && canvas.1 <= 8192, "{plan:?}");
            assert_eq!((canvas.0 % tile_px, canvas.1 % tile_px), (0, 0), "{plan:?}");
        }
    }
}

#[test]
fn makes_the_published_frames() {
    let cases = [
        ((640, 480), 2048, Tiling::Split, "55802e5a81b0389961bfd7f0dbcd09a155230d95a2dc51ff76eaaf492c139644"),
        ((640, 480), 1024, Tiling::Split, "61b4f1b74c1d9211182be16c7b17fd88a0214c61ccf8c04a4e7ecfbe85ecc1c4"),
        ((640, 480), 512, Tiling::Split, "09685623daacff04241fdd4c5d27b4ae2f7f6f53e86f46ca8c49ae21438786ed"),
        ((1280, 720), 2048, Tiling::Split, "e9102277526b1962646d9b2a523e5a9b1a5d42689714696dee8d9e8b2f582d7e"),
        ((1000, 333), 2048, Tiling::Split, "e828483ff8730f712aca897ce03fc43595df2a6a656aad5a1864ca1b919a0b39"),
        ((640, 480), 2048, Tiling::Single, "f974ace5dbefb1f44575e3f4243393db3e41bb89b628f6b5a2f13a4b58229bf2"),
    ];
    for ((width_px, height_px), longest_edge_px, tiling, expected) in cases {
        let processor = processor(ProcessorSettings { longest_edge_px, tiling, ..SMOLVLM_256M });
        let frames = processor.frames(&ramps(width_px, height_px)).unwrap();
        assert_eq!(sha256(frames.pixels()), expected, "{width_px} x {height_px} at {longest_edge_px}, {tiling:?}");
    }
}

#[test]
fn scales_as_published_at_each_step() {
    let cases = [
        ((640, 480), "e7393c4bdc4a2c0b", vec![((2048, 1536), "ba02c547b1cfa4e3")]),
        ((640, 480), "e7393c4bdc4a2c0b", vec![((1024, 768), "49d108c441d4901d"), ((1024, 1024), "d925ff7e46ace1e5")]),
        ((640, 480), "e7393c4bdc4a2c0b", vec![((512, 384), "2dce6d8275a9c03c")]),
        ((1280, 720), "bf6316c542bb83e6", vec![((2048, 1152), "689759d1eeb97eb6"), ((2048, 1536), "3cc584773c156397")]),
        ((1000, 333), "ef942071c97dbd7d", vec![((2048, 682), "34cb3b3116c0541d"), ((2048, 1024), "74dbbbd62d8a7d86")]),
    ];
    for ((width_px, height_px), expected, steps) in cases {
        let frame = ramps(width_px, height_px);
        assert_eq!(sha256(frame.pixels())[..16], *expected);
        let mut picture = Picture::of(&frame);
        for ((width_px, height_px), expected) in steps {
            picture = picture.scaled(Size::new(width_px, height_px));
            assert_eq!(sha256(picture.pixels())[..16], *expected, "{width_px} x {height_px}");
        }
    }
}

#[test]
fn makes_the_published_pixels() {
    let picture = ramps(640, 480);
    let tiles = processor(SMOLVLM_256M).frames(&picture).unwrap();
    let single = processor(ProcessorSettings { longest_edge_px: 512, ..SMOLVLM_256M }).frames(&picture).unwrap();
    let cases = [
        (&tiles, 0, (0, 511), [89, 221, 159]),
        (&tiles, 0, (255, 256), [53, 124, 18]),
        (&tiles, 0, (511, 0), [30, 29, 159]),
        (&tiles, 0, (511, 511), [114, 238, 27]),
        (&tiles, 12, (0, 0), [1, 0, 0]),
        (&tiles, 12, (0, 511), [120, 125, 127]),
        (&tiles, 12, (255, 256), [227, 108, 176]),
        (&tiles, 12, (511, 511), [203, 216, 160]),
        (&single, 0, (0, 0), [2, 1, 0]),
        (&single, 0, (255, 256), [230, 107, 176]),
        (&single, 0, (511, 511), [202, 215, 160]),
    ];
    for (frames, index, (row, col), expected) in cases {
        let tile = frames.iter().nth(index).unwrap();
        assert_eq!(tile.as_chunks::<3>().0[row * 512 + col], expected, "frame {index}, row {row}, column {col}");
    }
}

/// Sizes at random, some so tall that columns are scaled before rows, with the hashes of the frames and of what they become for the encoder (f32, little endian).
#[test]
fn agrees_with_the_reference_on_noise() {
    let cases = [
        (noise(97, 61, 256), (256, 64), Tiling::Split, 13, ["08ddd913de043d7e", "2b6bdd6a7199b8d3"]),
        (noise(61, 97, 2), (300, 64), Tiling::Split, 21, ["3b30c541279fb27f", "aa4db1debb315728"]),
        (noise(1, 40, 256), (256, 64), Tiling::Split, 5, ["b3cf656ff804012b", "0dcbd035509acee9"]),
        (noise(500, 3, 256), (256, 64), Tiling::Split, 5, ["38be846c1dc1fe76", "ee338fbbf007348b"]),
        (noise(301, 299, 2), (97, 97), Tiling::Split, 1, ["e1c529556adc6cf0", "a0836f0e1447ddea"]),
        (noise(33, 50, 256), (512, 128), Tiling::Single, 1, ["9e9cb45a38b45fc7", "911eb2fe66fb496e"]),
        (noise(2, 7, 256), (300, 64), Tiling::Split, 11, ["6123ba1dbcf3771c", "6542d482204144a3"]),
        (noise(26, 95, 256), (256, 64), Tiling::Split, 9, ["253153bbec05971d", "b6b795f43dad3cf6"]),
        (noise(452, 1091, 2), (512, 512), Tiling::Split, 1, ["d52421c56573fe57", "d1c347bfc5e881ae"]),
        (noise(700, 500, 256), (1536, 384), Tiling::Split, 13, ["6b3edb3a58551b2a", "50b619a8caec3d4c"]),
        (noise(1000, 700, 2), (300, 128), Tiling::Split, 10, ["f5b7fbc84207e484", "dd6d792873a24816"]),
        (noise(5000, 7, 256), (5000, 256), Tiling::Split, 17, ["f2751044ef6604b9", "24939faeebd9ab3a"]),
    ];
    for (picture, (longest_edge_px, tile_px), tiling, count, expected) in cases {
        let processor = processor(ProcessorSettings { longest_edge_px, tile_px, tiling, ..SMOLVLM_256M });
        let frames = processor.frames(&picture).unwrap();
        let values = processor.normalise(frames.pixels()).unwrap();
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let found = [sha256(frames.pixels()), sha256(&values)];
        assert_eq!(frames.iter().len(), count, "{picture:?}");
        assert_eq!([&found[0][..16], &found[1][..16]], expected, "{picture:?} at {longest_edge_px} of {tile_px}");
    }
}

#[test]
fn crops_keep_native_pixels_and_order() {
    let picture = ramps(640, 480);
    let processor = processor(ProcessorSettings { longest_edge_px: 512, tile_px: 128, ..SMOLVLM_256M });
    let rect = |x, y, width, height| Rect { x, y, width, height };
    let crops = [rect(639, 479, 1, 1), rect(300, 200, 128, 128), rect(10, 20, 200, 50), rect(0, 0, 640, 480)];
    let frames = processor.guided(&picture, &crops).unwrap();
    let cells = [(1, 1), (2, 3), (2, 3), (3, 4)].map(|(row, col)| Cell { row, col });
    assert_eq!(frames.cells(), cells);
    let found: Vec<String> = frames.iter().map(|tile| sha256(tile)[..16].to_owned()).collect();
    let expected = ["d5afc501567cc84e", "22d52431090b65a8", "3984894f01c650df", "10b0523632dea23f", "7171d545361a170a"];
    assert_eq!(found, expected);
    let split = processor.frames(&picture).unwrap();
    assert_eq!(frames.iter().last(), split.iter().last(), "the whole picture");
    let native = frames.iter().nth(1).unwrap();
    assert_eq!(native[..3 * 128], picture.pixels()[3 * (200 * 640 + 300)..][..3 * 128]);
}

#[test]
fn crops_of_an_undivided_picture_are_its_first_tile() {
    let settings = ProcessorSettings { longest_edge_px: 64, tile_px: 64, tiling: Tiling::Single, ..SMOLVLM_256M };
    let processor = processor(settings);
    let frames = processor.guided(&ramps(90, 70), &[Rect { x: 80, y: 60, width: 10, height: 10 }]).unwrap();
    assert_eq!(frames.cells(), [Cell { row: 1, col: 1 }]);
    assert_eq!(frames.iter().len(), 2);
}

#[test]
fn regions_are_enlarged_as_far_as_stock_tiles_enlarge() {
    let processor = processor(SMOLVLM_256M);
    let rect = Rect { x: 300, y: 200, width: 20, height: 10 };
    let region = Region { rect, score: 2.0, area_px: 9, code: None, probability: None };
    let heat_map = HeatMap { size: Size::new(1, 1), values: vec![0.0], threshold: 1.0 };
    let mut reading = GateReading { score: 2.0, threshold: 1.0, p_value: None, heat_map, regions: vec![region] };
    let shown = processor.crops(Size::new(640, 480), &reading, 2).unwrap();
    // 2,048 pixels over 640: a tile of 512 shows 160.
    assert_eq!(shown, [Rect { x: 230, y: 125, width: 160, height: 160 }]);
    assert_eq!(processor.guided(&ramps(640, 480), &shown).unwrap().cells(), [Cell { row: 2, col: 2 }]);
    let outside = processor.crops(Size::new(300, 480), &reading, 2).unwrap_err().to_string();
    assert!(outside.starts_with("region: expected a box within 300 x 480 pixels, found Rect"), "{outside}");
    reading.heat_map.values.push(0.0);
    let malformed = processor.crops(Size::new(640, 480), &reading, 2).unwrap_err().to_string();
    assert_eq!(malformed, "heat map: expected 1 x 1 values, found 2");
    reading.threshold = 2.0;
    assert_eq!(processor.crops(Size::new(640, 480), &reading, 2).unwrap(), []);
}

#[test]
fn narrows_grey_and_16_bit_first() {
    let processor = processor(ProcessorSettings { longest_edge_px: 64, tile_px: 64, ..SMOLVLM_256M });
    let samples: Vec<u16> = (0..30 * 20).map(|index: u16| index.wrapping_mul(40_503)).collect();
    let bytes = samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect::<Vec<u8>>();
    let id = FrameId { source: "test".into(), seq: 0 };
    let grey = Frame::new(id, Size::new(30, 20), PixelFormat::Grey16, bytes).unwrap();
    let colour = frame(Size::new(30, 20), grey.rgb8().into_owned());
    assert_eq!(processor.frames(&grey).unwrap(), processor.frames(&colour).unwrap());
}

#[test]
fn refuses_what_is_no_picture() {
    let processor = processor(SMOLVLM_256M);
    for (width_px, height_px) in [(0, 0), (0, 5), (5, 0)] {
        let error = processor.frames(&frame(Size::new(width_px, height_px), Vec::new())).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("picture: expected at least 1 x 1 pixels, found {width_px} x {height_px}")
        );
    }
    let rects = [(0, 0, 0, 1), (0, 0, 1, 0), (39, 0, 2, 1), (0, 30, 1, 1), (u32::MAX, 0, 2, 1), (1, 1, u32::MAX, 1)];
    for (x, y, width, height) in rects {
        let error = processor.guided(&ramps(40, 30), &[Rect { x, y, width, height }]).unwrap_err().to_string();
        assert!(error.starts_with("crop: expected a box within 40 x 30 pixels, found Rect"), "{error}");
    }
    let error = processor.normalise(&[0; 100]).unwrap_err().to_string();
    assert_eq!(error, "frames: expected a multiple of 786432 bytes, found 100 bytes");
}

#[test]
fn refuses_settings_out_of_range() {
    let base = SMOLVLM_256M;
    let cases = [
        (ProcessorSettings { longest_edge_px: 0, ..base }, "longest edge: expected 1 to 65536 px, found 0 px"),
        (ProcessorSettings { tile_px: 0, ..base }, "side of a tile: expected 1 to 4096 px, found 0 px"),
        (ProcessorSettings { tile_px: 4097, ..base }, "side of a tile: expected 1 to 4096 px, found 4097 px"),
        (ProcessorSettings { std: [0.5, 0.0, 0.5], ..base }, "rescale factor, mean and deviation: expected"),
        (ProcessorSettings { rescale_factor: f64::NAN, ..base }, "rescale factor, mean and deviation: expected"),
    ];
    for (settings, expected) in cases {
        let error = Processor::new(settings).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

const PREPROCESSOR: &str = r#"{
    "do_convert_rgb": true, "do_image_splitting": true, "do_normalize": true, "do_pad": true, "do_rescale": true,
    "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "Idefics3ImageProcessor",
    "image_std": [0.5, 0.5, 0.5], "max_image_size": {"longest_edge": 512}, "processor_class": "Idefics3Processor",
    "resample": 1, "rescale_factor": 0.00392156862745098, "size": {"longest_edge": 2048}
}"#;

fn read(preprocessor: Option<&str>, processor: Option<&str>) -> Result<ProcessorSettings, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("preprocessor_config.json", preprocessor), ("processor_config.json", processor)] {
        if let Some(text) = text {
            fs::write(folder.path().join(name), text).unwrap();
        }
    }
    ProcessorSettings::read(folder.path(), VISION)
}

#[test]
fn reads_settings_wherever_they_stand() {
    let nested = format!(r#"{{"image_processor": {PREPROCESSOR}, "image_seq_len": 64}}"#);
    let fast = PREPROCESSOR.replace("Idefics3ImageProcessor", "SmolVLMImageProcessorFast");
    let cases = [
        (Some(PREPROCESSOR), Some(r#"{"image_seq_len": 64}"#)),
        (Some(PREPROCESSOR), None),
        (Some(&*fast), None),
        (None, Some(&*nested)),
    ];
    for (preprocessor, processor) in cases {
        assert_eq!(read(preprocessor, processor).unwrap(), SMOLVLM_256M);
    }
    let short = r#"{"image_processor_type": "SmolVLMImageProcessor", "max_image_size": {"longest_edge": 512}}"#;
    let defaults = ProcessorSettings { longest_edge_px: 1456, rescale_factor: 1.0 / 255.0, ..SMOLVLM_256M };
    assert_eq!(read(Some(short), None).unwrap(), defaults);
    let single = PREPROCESSOR.replace(r#""do_image_splitting": true"#, r#""do_image_splitting": false"#);
    assert_eq!(read(Some(&single), None).unwrap().tiling, Tiling::Single);
}

#[test]
fn refuses_settings_of_another_processor() {
    let cases = [
        ("Idefics3ImageProcessor", "CLIPImageProcessor", "image_processor_type: Idefics3ImageProcessor or"),
        (
            "image_processor_type",
            "type",
            "image_processor_type: Idefics3ImageProcessor or SmolVLMImageProcessor, found no",
        ),
        (r#""do_rescale": true"#, r#""do_rescale": false"#, "do_rescale: true, found false"),
        (r#""resample": 1"#, r#""resample": 3"#, "resample: 1 (Lanczos), found 3"),
        ("[0.5, 0.5, 0.5]", "[0.5, 0.5]", "image_std: three numbers other than 0, found [0.5,0.5]"),
        (r#""image_std": [0.5"#, r#""image_std": [0"#, "image_std: three numbers other than 0, found [0,0.5,0.5]"),
        (r#""longest_edge": 2048"#, r#""longest_edge": 0"#, "size.longest_edge: 1 to 65536 pixels, found 0"),
        (r#""longest_edge": 2048"#, r#""longest_edge": "2""#, "size.longest_edge: 1 to 65536 pixels, found \"2\""),
        (r#""longest_edge": 512"#, r#""longest_edge": 384"#, "max_image_size.longest_edge: the 512 px of the vision"),
        ("0.00392156862745098", "\"x\"", "rescale_factor: a number, found \"x\""),
        (PREPROCESSOR, "[1]", "one JSON object, found [1]"),
        (PREPROCESSOR, "{", "one JSON object, found EOF"),
    ];
    for (from, to, expected) in cases {
        let error = read(Some(&PREPROCESSOR.replace(from, to)), None).unwrap_err().to_string();
        assert!(error.contains(&format!("preprocessor_config.json: expected {expected}")), "{error}");
    }
    let error = read(Some(PREPROCESSOR), Some(r#"{"image_seq_len": 169}"#)).unwrap_err().to_string();
    assert!(
        error
            .ends_with("processor_config.json: expected image_seq_len: the 64 tokens of the vision encoder, found 169")
    );
    assert!(matches!(read(None, None), Err(ModelError::Io { .. })));
}

#[test]
fn counts_tokens_of_a_frame() {
    let count = |image_px, patch_px, shuffle| VisionGeometry { image_px, patch_px, shuffle }.tokens_per_frame().ok();
    let cases = [
        ((512, 16, 4), Some(64)),
        ((384, 14, 3), Some(81)),
        ((64, 8, 2), Some(16)),
        ((512, 16, 5), None),
        ((512, 0, 4), None),
        ((512, 16, 0), None),
        ((8, 16, 1), None),
    ];
    for ((image_px, patch_px, shuffle), expected) in cases {
        assert_eq!(count(image_px, patch_px, shuffle), expected, "{image_px}, {patch_px}, {shuffle}");
    }
}
