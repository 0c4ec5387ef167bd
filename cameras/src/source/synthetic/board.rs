use super::{
    canvas::{Canvas, Rgba, rgb},
    flaw::{Flaw, PIN_COUNT, PIN_KNEE_Y, PIN_ROOT_Y, PIN_TIP_Y, PIN_WIDTH, SCREW_PAD_RADIUS, SCREWS, pin_x},
    lettering::write,
    parts,
};

/// Anodised aluminium: what lies around the board.
pub(super) const FIXTURE: Rgba = rgb(55, 58, 64);

const SHADOW: Rgba = [0, 0, 0, 80];
const TRACE: Rgba = rgb(46, 128, 78);
const SILK: Rgba = [232, 236, 228, 235];
const GOLD: [Rgba; 2] = [rgb(226, 190, 104), rgb(168, 126, 52)];

/// What differs from one part to the next.
pub(super) struct Part {
    /// How far each screw was turned, in radians.
    pub(super) screw_angles: [f32; 4],
    /// What is wrong with it.
    pub(super) flaw: Option<Flaw>,
}

/// Paints the fixture and the board that lies in it.
pub(super) fn paint(canvas: &mut Canvas, part: &Part) {
    fixture(canvas);
    canvas.panel([43.0, 47.0], [560.0, 362.0], 16.0, [SHADOW, SHADOW]);
    canvas.panel([40.0, 40.0], [560.0, 360.0], 14.0, [rgb(74, 140, 92), rgb(10, 48, 28)]);
    canvas.panel([41.5, 41.5], [557.0, 357.0], 13.0, [rgb(28, 104, 60), rgb(18, 82, 48)]);
    traces(canvas);
    components(canvas);
    for (index, (&centre, &angle)) in SCREWS.iter().zip(&part.screw_angles).enumerate() {
        screw_pad(canvas, centre);
        if part.flaw == Some(Flaw::MissingScrew(index)) {
            parts::hole(canvas, centre);
        } else {
            parts::screw(canvas, centre, angle);
        }
    }
    connector(canvas, part.flaw.as_ref());
    stain(canvas, part.flaw.as_ref());
}

fn fixture(canvas: &mut Canvas) {
    for row in 0..28 {
        let y = -20.0 + 20.0 * row as f32;
        canvas.line(&[[-40.0, y], [680.0, y]], 0.8, [255, 255, 255, 7]);
    }
    for x in [18.0, 622.0] {
        canvas.disc([x, 240.0], 9.0, rgb(30, 32, 36));
        canvas.ball([x, 240.0], 7.0, &[(0.0, rgb(150, 154, 160)), (1.0, rgb(70, 74, 80))]);
    }
}

fn traces(canvas: &mut Canvas) {
    for i in 0..PIN_COUNT {
        let (x, lane) = (pin_x(i), 258.0 + 20.0 * (i as f32 - 6.5) / 6.5);
        let landing = 320.0 + (i as f32 - 6.5) * 7.0;
        let slope = (x - landing).abs().min(60.0) * (x - landing).signum();
        canvas.line(
            &[[x, 340.0], [x, lane + 44.0], [x - slope, lane + 18.0], [landing, lane], [landing, 232.0]],
            2.6,
            TRACE,
        );
    }
    for i in 0..7 {
        let offset = 9.0 * i as f32;
        canvas.line(
            &[
                [380.0, 140.0 + offset],
                [412.0, 140.0 + offset],
                [436.0, 116.0 + 1.4 * offset],
                [470.0, 116.0 + 1.4 * offset],
            ],
            2.4,
            TRACE,
        );
        canvas.line(
            &[
                [262.0, 140.0 + offset],
                [232.0, 140.0 + offset],
                [208.0, 152.0 + 1.6 * offset],
                [150.0, 152.0 + 1.6 * offset],
            ],
            2.4,
            TRACE,
        );
    }
    for [x, y] in [
        [208.0, 120.0],
        [222.0, 268.0],
        [410.0, 250.0],
        [436.0, 274.0],
        [120.0, 300.0],
        [300.0, 88.0],
        [356.0, 82.0],
        [548.0, 232.0],
        [180.0, 96.0],
    ] {
        canvas.disc([x, y], 4.6, rgb(196, 160, 84));
        canvas.disc([x, y], 2.0, rgb(18, 22, 18));
    }
}

fn components(canvas: &mut Canvas) {
    parts::quad_flat_pack(canvas, [320.0, 172.0], 96.0);
    write(canvas, "LOUPE", [293.0, 158.0], 12.0, [176, 180, 184, 220]);
    write(canvas, "L-1 2407", [293.0, 178.0], 7.5, [150, 154, 158, 210]);
    parts::small_outline(canvas, [500.0, 148.0], [60.0, 84.0]);
    parts::can_capacitor(canvas, [134.0, 168.0], 27.0);
    parts::can_capacitor(canvas, [134.0, 236.0], 21.0);
    parts::crystal(canvas, [208.0, 206.0], [30.0, 56.0]);
    for (i, y) in [222.0, 242.0, 262.0].into_iter().enumerate() {
        parts::chip_resistor(canvas, [470.0, y]);
        parts::chip_capacitor(canvas, [512.0, y + 2.0 * (i % 2) as f32]);
    }
    for x in [252.0, 280.0, 360.0, 388.0] {
        parts::chip_capacitor(canvas, [x, 92.0]);
    }
    parts::label(canvas, [452.0, 284.0], [112.0, 40.0]);
    write(canvas, "LOUPE", [120.0, 62.0], 15.0, SILK);
    write(canvas, "REV A", [444.0, 66.0], 10.0, SILK);
    for (text, at) in [
        ("U1", [376.0, 108.0]),
        ("U2", [532.0, 98.0]),
        ("C1", [166.0, 142.0]),
        ("C2", [160.0, 218.0]),
        ("Y1", [200.0, 162.0]),
        ("J1", [112.0, 346.0]),
        ("R1", [446.0, 206.0]),
    ] {
        write(canvas, text, at, 9.0, SILK);
    }
}

fn screw_pad(canvas: &mut Canvas, centre: [f32; 2]) {
    canvas.ball(centre, SCREW_PAD_RADIUS, &[(0.0, GOLD[0]), (1.0, GOLD[1])]);
}

fn connector(canvas: &mut Canvas, flaw: Option<&Flaw>) {
    for i in 0..PIN_COUNT {
        canvas.bar(
            [pin_x(i) - 5.0, 336.0],
            [10.0, 16.0],
            &[(0.0, rgb(178, 182, 186)), (0.4, rgb(226, 228, 230)), (1.0, rgb(128, 132, 136))],
        );
    }
    canvas.panel([139.0, 354.0], [368.0, 46.0], 5.0, [SHADOW, SHADOW]);
    canvas.panel([134.0, 348.0], [372.0, 46.0], 4.0, [rgb(58, 60, 64), rgb(24, 25, 28)]);
    canvas.panel([138.0, 352.0], [364.0, 24.0], 3.0, [rgb(46, 48, 52), rgb(34, 36, 40)]);
    for i in 0..PIN_COUNT {
        canvas.rect([pin_x(i) - 7.0, 380.0], [14.0, 13.0], rgb(10, 10, 12));
        match flaw {
            Some(Flaw::MissingPin(missing)) if *missing == i => {}
            Some(Flaw::BentPin { pin, tip_shift }) if *pin == i => paint_pin(canvas, pin_x(i), *tip_shift),
            _ => paint_pin(canvas, pin_x(i), 0.0),
        }
    }
}

/// Paints a pin as strips of different brightness along its length, so that a bent one bends its highlight too.
fn paint_pin(canvas: &mut Canvas, x: f32, tip_shift: f32) {
    const STRIPS: [(f32, f32, Rgba); 4] = [
        (-0.5, -0.25, rgb(150, 142, 118)),
        (-0.25, 0.05, rgb(240, 234, 214)),
        (0.05, 0.3, rgb(196, 188, 164)),
        (0.3, 0.5, rgb(112, 104, 84)),
    ];
    let strip = |from: f32, to: f32, drop: f32| {
        let (a, b) = (from * PIN_WIDTH, to * PIN_WIDTH);
        let (tip, end) = (x + tip_shift, PIN_TIP_Y - 0.25 * tip_shift.abs());
        let taper = 0.55;
        [
            [x + a, PIN_ROOT_Y - 8.0],
            [x + b, PIN_ROOT_Y - 8.0],
            [x + b, PIN_KNEE_Y],
            [tip + b, end - 5.0],
            [tip + taper * b, end],
            [tip + taper * a, end],
            [tip + a, end - 5.0],
            [x + a, PIN_KNEE_Y],
        ]
        .map(|[x, y]| [x + drop, y + drop])
    };
    canvas.polygon(&strip(-0.5, 0.5, 4.0)[2..], SHADOW);
    for (from, to, metal) in STRIPS {
        canvas.polygon(&strip(from, to, 0.0), metal);
    }
}

fn stain(canvas: &mut Canvas, flaw: Option<&Flaw>) {
    match flaw {
        Some(Flaw::Scratch { points, width }) => {
            let edge: Vec<_> = points.iter().map(|[x, y]| [x + 0.9, y + 1.1]).collect();
            canvas.line(&edge, *width, [4, 24, 12, 120]);
            canvas.line(points, *width, [206, 214, 190, 215]);
        }
        Some(Flaw::Smear { blobs }) => {
            for &(centre, axes) in blobs {
                canvas.haze(centre, axes, [196, 160, 84, 110]);
            }
            let ([x, y], [a, b]) = blobs[0];
            canvas.haze([x - 0.3 * a, y - 0.3 * b], [0.32 * a, 0.2 * b], [255, 250, 230, 120]);
        }
        _ => {}
    }
}
