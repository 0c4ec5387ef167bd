use super::*;

const LINE: SyntheticLine = SyntheticLine::new(7, 0.25);

/// Returns FNV-1a over the bytes of a picture.
fn fingerprint(picture: &RgbImage) -> u64 {
    picture
        .as_raw()
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

fn mean_difference(a: &RgbImage, b: &RgbImage, rect: Rect) -> f64 {
    let pixels = (rect.y..rect.y + rect.height).flat_map(|y| (rect.x..rect.x + rect.width).map(move |x| (x, y)));
    let (sum, count) = pixels.fold((0_u64, 0_u64), |(sum, count), (x, y)| {
        let (a, b) = (a.get_pixel(x, y).0, b.get_pixel(x, y).0);
        (sum + a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>(), count + 3)
    });
    sum as f64 / count as f64
}

#[test]
fn the_same_seed_gives_the_same_pictures() {
    for index in [0, 3] {
        assert_eq!(fingerprint(&LINE.sample(index).picture), fingerprint(&LINE.sample(index).picture));
    }
    let prints = [
        fingerprint(&LINE.sample(0).picture),
        fingerprint(&LINE.sample(1).picture),
        fingerprint(&LINE.golden(0).picture),
        fingerprint(&SyntheticLine::new(8, 0.25).sample(0).picture),
    ];
    for (i, print) in prints.iter().enumerate() {
        assert!(!prints[..i].contains(print), "{i}");
    }
}

/// The sines of other systems' libraries may differ in the last bit.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_pictures_of_a_seed_stay_what_they_are() {
    let prints = [LINE.golden(0), LINE.with_defect(1, DefectKind::Smear)].map(|sample| fingerprint(&sample.picture));
    assert_eq!(prints.map(|print| format!("{print:016x}")), ["2b4ce7eafbd8b429", "33b34384f4c31f88"]);
}

#[test]
fn every_defect_is_where_the_truth_says_and_nowhere_else() {
    // A line without defects draws the same part in the same light, with the same noise.
    let good = SyntheticLine::new(7, 0.0);
    for kind in DefectKind::ALL {
        for index in 0..6 {
            let sample = LINE.with_defect(index, kind);
            let reference = good.sample(index).picture;
            let truth = sample.truth.unwrap();
            let rect = truth.rect_in_frame;
            assert_eq!(truth.kind, kind);
            assert!(rect.x + rect.width <= 640 && rect.y + rect.height <= 480, "{truth:?}");
            let inside = mean_difference(&sample.picture, &reference, rect);
            assert!(inside > 3.0, "{truth:?}: differs by {inside}");
            // Shadows and the lens reach a few pixels further.
            let (left, top) = (rect.x.saturating_sub(9), rect.y.saturating_sub(9));
            let (right, bottom) = (rect.x + rect.width + 9, rect.y + rect.height + 9);
            for (x, y, pixel) in sample.picture.enumerate_pixels() {
                if !(left..right).contains(&x) || !(top..bottom).contains(&y) {
                    assert_eq!(pixel, reference.get_pixel(x, y), "{truth:?} at {x}, {y}");
                }
            }
        }
    }
}

#[test]
fn the_share_of_defects_is_as_asked_for() {
    for (ratio, expected) in [(0.0, 0..=0), (0.25, 200..=300), (1.0, 1_000..=1_000)] {
        let line = SyntheticLine::new(3, ratio);
        let found = (0..1_000).filter_map(|index| line.truth(index)).collect::<Vec<_>>();
        assert!(expected.contains(&found.len()), "{ratio}: {}", found.len());
        if ratio > 0.0 {
            assert!(DefectKind::ALL.iter().all(|kind| found.iter().any(|truth| truth.kind == *kind)), "{ratio}");
        }
    }
    assert_eq!(LINE.sample(5).truth, LINE.truth(5));
}

#[test]
fn a_source_numbers_paces_and_ends() {
    let config = SyntheticConfig { frames: Some(2), interval_millis: 60, ..SyntheticConfig::default() };
    let mut source = SyntheticSource::open(&config, "line").unwrap();
    let start = Instant::now();
    let mut seqs = Vec::new();
    loop {
        match source.grab(Duration::from_millis(5)).unwrap() {
            Grab::Frame(frame) => seqs.push(frame.id().seq),
            Grab::Idle => {}
            Grab::Ended => break,
            Grab::Broken(broken) => panic!("{broken:?}"),
        }
    }
    assert_eq!(seqs, [0, 1]);
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[test]
fn refuses_a_share_out_of_range() {
    for defect_ratio in [-0.1, 1.5, f64::NAN] {
        let config = SyntheticConfig { defect_ratio, ..SyntheticConfig::default() };
        let message = SyntheticSource::open(&config, "line").unwrap_err().to_string();
        assert_eq!(message, format!("defect_ratio: expected a number in 0..=1, found {defect_ratio}"));
    }
}
