use super::canvas::{Canvas, Rgba, rgb};

const SHADOW: Rgba = [0, 0, 0, 90];
const STEEL: [(f32, Rgba); 3] = [(0.0, rgb(250, 250, 248)), (0.45, rgb(186, 190, 194)), (1.0, rgb(88, 92, 98))];
const LEAD: [(f32, Rgba); 3] = [(0.0, rgb(150, 154, 158)), (0.4, rgb(228, 230, 232)), (1.0, rgb(120, 124, 128))];
const MOULD: [Rgba; 2] = [rgb(54, 56, 60), rgb(26, 27, 30)];

/// Paints a cross-head screw that was turned by `angle` radians.
pub(super) fn screw(canvas: &mut Canvas, [x, y]: [f32; 2], angle: f32) {
    const RADIUS: f32 = 16.0;
    canvas.disc([x + 2.0, y + 2.5], RADIUS, SHADOW);
    canvas.ball([x, y], RADIUS, &STEEL);
    canvas.ball([x, y], RADIUS - 3.5, &[(0.0, rgb(228, 230, 232)), (1.0, rgb(136, 140, 146))]);
    let (sin, cos) = angle.sin_cos();
    for [dx, dy] in [[cos, sin], [-sin, cos]] {
        let arm = |length: f32, shift: f32| {
            [[x - length * dx + shift, y - length * dy + shift], [x + length * dx + shift, y + length * dy + shift]]
        };
        canvas.line(&arm(7.5, 0.8), 4.4, [245, 246, 248, 150]);
        canvas.line(&arm(7.5, 0.0), 4.0, rgb(50, 53, 58));
    }
    canvas.disc([x, y], 2.6, rgb(34, 36, 40));
}

/// Paints the threaded hole under a screw that is not there.
pub(super) fn hole(canvas: &mut Canvas, [x, y]: [f32; 2]) {
    canvas.disc([x, y], 10.5, rgb(122, 92, 40));
    canvas.ball([x, y], 9.0, &[(0.0, rgb(6, 6, 8)), (0.7, rgb(22, 22, 24)), (1.0, rgb(58, 54, 46))]);
}

/// Paints a square package with leads on four sides.
pub(super) fn quad_flat_pack(canvas: &mut Canvas, [x, y]: [f32; 2], side: f32) {
    const LEADS: usize = 12;
    const LENGTH: f32 = 11.0;
    let half = side / 2.0;
    for i in 0..LEADS {
        let along = (i as f32 - (LEADS - 1) as f32 / 2.0) * 7.0 - 1.8;
        for edge in [-half - LENGTH, half] {
            canvas.bar([x + along, y + edge], [3.6, LENGTH], &LEAD);
            canvas.bar([x + edge, y + along], [LENGTH, 3.6], &LEAD);
        }
    }
    body(canvas, [x - half, y - half], [side, side]);
    canvas.disc([x - half + 11.0, y - half + 11.0], 3.6, rgb(20, 21, 23));
}

/// Paints an upright package with leads left and right.
pub(super) fn small_outline(canvas: &mut Canvas, [x, y]: [f32; 2], [width, height]: [f32; 2]) {
    const LEADS: usize = 7;
    for i in 0..LEADS {
        let row = y + (i as f32 - (LEADS - 1) as f32 / 2.0) * 11.0 - 2.2;
        canvas.bar([x - width / 2.0 - 10.0, row], [10.0, 4.4], &LEAD);
        canvas.bar([x + width / 2.0, row], [10.0, 4.4], &LEAD);
    }
    body(canvas, [x - width / 2.0, y - height / 2.0], [width, height]);
    canvas.disc([x, y - height / 2.0 + 1.0], 5.0, rgb(22, 23, 26));
}

/// Paints an electrolytic capacitor seen from above.
pub(super) fn can_capacitor(canvas: &mut Canvas, [x, y]: [f32; 2], radius: f32) {
    let base = 1.08 * radius;
    canvas.panel([x - base + 3.0, y - base + 4.0], [2.0 * base, 2.0 * base], 6.0, [SHADOW, SHADOW]);
    canvas.panel([x - base, y - base], [2.0 * base, 2.0 * base], 6.0, MOULD);
    canvas.ball([x, y], radius, &STEEL);
    canvas.ball([x, y], 0.86 * radius, &[(0.0, rgb(232, 234, 236)), (1.0, rgb(150, 154, 160))]);
    let (reach, start) = (0.82 * radius, 0.45 * radius);
    canvas.polygon(
        &[
            [x - start, y - 0.7 * radius],
            [x - reach, y - 0.2 * radius],
            [x - reach, y + 0.2 * radius],
            [x - start, y + 0.7 * radius],
        ],
        rgb(44, 46, 52),
    );
}

/// Paints an oscillator in a metal can.
pub(super) fn crystal(canvas: &mut Canvas, [x, y]: [f32; 2], [width, height]: [f32; 2]) {
    let corner = [x - width / 2.0, y - height / 2.0];
    canvas.panel([corner[0] + 2.5, corner[1] + 3.0], [width, height], 13.0, [SHADOW, SHADOW]);
    canvas.panel(corner, [width, height], 13.0, [rgb(238, 238, 236), rgb(128, 132, 138)]);
    canvas.panel(
        [corner[0] + 3.0, corner[1] + 3.0],
        [width - 6.0, height - 6.0],
        10.0,
        [rgb(206, 208, 210), rgb(170, 174, 178)],
    );
}

/// Paints a flat resistor.
pub(super) fn chip_resistor(canvas: &mut Canvas, centre: [f32; 2]) {
    two_terminals(canvas, centre, [rgb(40, 42, 46), rgb(24, 25, 28)]);
}

/// Paints a flat ceramic capacitor.
pub(super) fn chip_capacitor(canvas: &mut Canvas, centre: [f32; 2]) {
    two_terminals(canvas, centre, [rgb(184, 150, 108), rgb(140, 108, 72)]);
}

/// Paints a white label with a bar code.
pub(super) fn label(canvas: &mut Canvas, [x, y]: [f32; 2], size: [f32; 2]) {
    const BARS: [u8; 24] = [2, 1, 1, 3, 1, 2, 4, 1, 1, 2, 3, 1, 2, 2, 1, 4, 1, 1, 3, 2, 1, 1, 2, 3];
    canvas.panel([x + 1.5, y + 1.5], size, 3.0, [SHADOW, SHADOW]);
    canvas.panel([x, y], size, 3.0, [rgb(246, 246, 242), rgb(226, 227, 224)]);
    let mut left = x + 8.0;
    for (i, &width) in BARS.iter().enumerate() {
        let width = 2.1 * f32::from(width);
        if i % 2 == 0 {
            canvas.rect([left, y + 6.0], [width, size[1] - 19.0], rgb(24, 24, 26));
        }
        left += width;
    }
    super::lettering::write(canvas, "L-1 0042 7", [x + 24.0, y + size[1] - 10.0], 6.0, rgb(40, 40, 44));
}

fn body(canvas: &mut Canvas, [x, y]: [f32; 2], size: [f32; 2]) {
    canvas.panel([x + 3.0, y + 4.0], size, 4.0, [SHADOW, SHADOW]);
    canvas.panel([x, y], size, 3.0, [rgb(84, 87, 92), rgb(14, 15, 17)]);
    canvas.panel([x + 1.5, y + 1.5], [size[0] - 3.0, size[1] - 3.0], 3.0, MOULD);
}

fn two_terminals(canvas: &mut Canvas, [x, y]: [f32; 2], fill: [Rgba; 2]) {
    const SIZE: [f32; 2] = [24.0, 11.0];
    let corner = [x - SIZE[0] / 2.0, y - SIZE[1] / 2.0];
    canvas.rect([corner[0] + 1.5, corner[1] + 2.0], SIZE, SHADOW);
    canvas.bar(corner, SIZE, &LEAD);
    canvas.panel([corner[0] + 5.0, corner[1]], [SIZE[0] - 10.0, SIZE[1]], 1.0, fill);
}
