use super::{DefectKind, rng::Rng};

/// Centres of the screws on the board.
pub(super) const SCREWS: [[f32; 2]; 4] = [[74.0, 74.0], [566.0, 74.0], [74.0, 366.0], [566.0, 366.0]];

/// Radius of the gold ring around a screw.
pub(super) const SCREW_PAD_RADIUS: f32 = 23.0;

/// Pins of the connector.
pub(super) const PIN_COUNT: usize = 14;

/// Distance between two pins.
pub(super) const PIN_PITCH: f32 = 26.0;

/// Width of a pin.
pub(super) const PIN_WIDTH: f32 = 8.0;

/// Where pins leave their housing.
pub(super) const PIN_ROOT_Y: f32 = 392.0;

/// Where a bent pin leaves the straight line.
pub(super) const PIN_KNEE_Y: f32 = 408.0;

/// Where pins end.
pub(super) const PIN_TIP_Y: f32 = 450.0;

/// Returns the centre line of pin `index`.
pub(super) fn pin_x(index: usize) -> f32 {
    320.0 + (index as f32 - (PIN_COUNT - 1) as f32 / 2.0) * PIN_PITCH
}

/// One defect with its place, in board coordinates.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Flaw {
    /// The screw of this index is not there.
    MissingScrew(usize),
    /// The tip of a pin lies `tip_shift` to the right of where it should be.
    BentPin { pin: usize, tip_shift: f32 },
    /// The pin of this index is not there.
    MissingPin(usize),
    /// A line through the solder mask.
    Scratch { points: Vec<[f32; 2]>, width: f32 },
    /// Overlapping stains of flux: centre and half axes.
    Smear { blobs: Vec<([f32; 2], [f32; 2])> },
}

impl Flaw {
    /// Returns a flaw of `kind` at a place that `rng` chooses.
    pub(super) fn plan(kind: DefectKind, rng: &mut Rng) -> Self {
        match kind {
            DefectKind::MissingScrew => Self::MissingScrew(rng.below(SCREWS.len())),
            DefectKind::BentPin => {
                Self::BentPin { pin: rng.below(PIN_COUNT), tip_shift: rng.sign() * rng.range(6.0, 12.0) }
            }
            DefectKind::MissingPin => Self::MissingPin(rng.below(PIN_COUNT)),
            DefectKind::Scratch => scratch(rng),
            DefectKind::Smear => smear(rng),
        }
    }

    /// Returns left, top, right and bottom of what differs from a good board.
    pub(super) fn bounds(&self) -> [f32; 4] {
        match self {
            Self::MissingScrew(index) => around(&[SCREWS[*index]], SCREW_PAD_RADIUS - 6.0),
            Self::BentPin { pin, tip_shift } => {
                let x = pin_x(*pin);
                around(&[[x, PIN_KNEE_Y], [x, PIN_TIP_Y], [x + tip_shift, PIN_TIP_Y]], PIN_WIDTH / 2.0)
            }
            Self::MissingPin(pin) => {
                let x = pin_x(*pin);
                around(&[[x, PIN_ROOT_Y], [x, PIN_TIP_Y]], PIN_WIDTH / 2.0)
            }
            Self::Scratch { points, width } => around(points, width / 2.0 + 1.0),
            Self::Smear { blobs } => {
                let corners: Vec<_> = blobs
                    .iter()
                    // The stain fades out: its outer tenth cannot be seen.
                    .map(|([x, y], [a, b])| ([*x, *y], [0.9 * a, 0.9 * b]))
                    .flat_map(|([x, y], [a, b])| [[x - a, y - b], [x + a, y + b]])
                    .collect();
                around(&corners, 0.0)
            }
        }
    }
}

fn scratch(rng: &mut Rng) -> Flaw {
    const STEPS: usize = 14;
    let (mut x, mut y) = (rng.range(130.0, 420.0), rng.range(100.0, 290.0));
    let (sign, rise) = (rng.sign(), rng.range(0.15, 0.9));
    let step = rng.range(4.5, 9.0);
    let bow = rng.range(-0.05, 0.05);
    let points = (0..STEPS)
        .map(|i| {
            x += step;
            y += sign * step * rise + i as f32 * bow + rng.range(-0.5, 0.5);
            [x, y.clamp(60.0, 325.0)]
        })
        .collect();
    Flaw::Scratch { points, width: rng.range(1.3, 2.2) }
}

fn smear(rng: &mut Rng) -> Flaw {
    let (x, y) = (rng.range(120.0, 520.0), rng.range(95.0, 310.0));
    let (spread, size) = (rng.range(9.0, 18.0), rng.range(17.0, 28.0));
    let blobs = (0..4)
        .map(|_| {
            let centre = [x + rng.range(-spread, spread), y + 0.6 * rng.range(-spread, spread)];
            (centre, [size * rng.range(0.7, 1.2), 0.75 * size * rng.range(0.7, 1.2)])
        })
        .collect();
    Flaw::Smear { blobs }
}

fn around(points: &[[f32; 2]], margin: f32) -> [f32; 4] {
    points.iter().fold([f32::MAX, f32::MAX, f32::MIN, f32::MIN], |[left, top, right, bottom], &[x, y]| {
        [left.min(x - margin), top.min(y - margin), right.max(x + margin), bottom.max(y + margin)]
    })
}
