use image::Rgb;

use super::*;

fn textured(width: u32, height: u32) -> Picture {
    Picture::from_fn(width, height, |x, y| {
        let grey = 120 + ((x * 7 + y * 13) % 11) as u8 * 3 + (x / 16 % 2 * 20) as u8;
        Rgb([grey, grey - 10, grey / 2])
    })
}

fn difference(a: &Picture, b: &Picture, pixel: usize) -> f32 {
    let brightness = |picture: &Picture| brightness(picture).values[pixel];
    (brightness(a) - brightness(b)).abs()
}

#[test]
fn the_same_seed_paints_the_same() {
    let picture = textured(96, 64);
    let painting = |seed| paint(&picture, &[], &mut Draws::new(seed));
    assert_eq!(painting(3), painting(3));
    assert_ne!(painting(3), painting(4));
}

#[test]
fn every_kind_changes_what_it_covers_and_little_else() {
    let picture = textured(160, 128);
    let others = [textured(96, 200)];
    for (kind, _) in SHARES {
        let (mut inside, mut outside) = ((0.0, 0), (0.0, 0));
        for seed in 0..12 {
            let painting = painted(&picture, &others, &[kind], &mut Draws::new(seed));
            let (before, after) = (brightness(&picture), brightness(&painting.picture));
            for (pixel, &covered) in painting.covered.iter().enumerate() {
                let sums = if covered { &mut inside } else { &mut outside };
                *sums = (sums.0 + (before.values[pixel] - after.values[pixel]).abs(), sums.1 + 1);
            }
        }
        let [inside, outside] = [inside, outside].map(|(sum, count)| sum / count as f32);
        assert!(inside > 8.0 && outside < 2.5, "{kind:?}: {inside} where it covers, {outside} elsewhere");
    }
}

#[test]
fn what_lies_far_from_a_defect_has_noise_alone() {
    let picture = textured(160, 160);
    for seed in 0..6 {
        let painting = painted(&picture, &[], &[Kind::Pit], &mut Draws::new(seed));
        let mask = Plane { width: 160, height: 160, values: painting.covered.clone() };
        let is_near = |pixel: usize| {
            let (x, y) = (pixel % 160, pixel / 160);
            (-6..=6).any(|dy| (-6..=6).any(|dx| mask.beside(x, y, (dx, dy))))
        };
        for pixel in (0..160 * 160).step_by(61).filter(|&pixel| !is_near(pixel)) {
            let changed = difference(&picture, &painting.picture, pixel);
            assert!(changed < 7.0, "seed {seed}, pixel {pixel}: {changed}");
        }
    }
}

#[test]
fn paints_on_black_on_white_and_on_the_smallest_picture() {
    for grey in [0, 255] {
        for (width, height) in [(64, 64), (1, 1), (3, 200)] {
            let picture = Picture::from_pixel(width, height, Rgb([grey; 3]));
            for seed in 0..20 {
                let painting = paint(&picture, std::slice::from_ref(&picture), &mut Draws::new(seed));
                assert_eq!(painting.covered.len(), (width * height) as usize);
                assert_eq!(painting.picture.dimensions(), (width, height));
            }
        }
    }
}

#[test]
fn shares_of_kinds_add_up() {
    let sum: f32 = SHARES.iter().map(|(_, share)| share).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    let mut draws = Draws::new(1);
    let lines = (0..4000).filter(|_| any_kind(&mut draws) == Kind::Line).count();
    assert!((800..1200).contains(&lines), "{lines} of 4000");
}
