use super::plane::Plane;

/// A disc of pixels around each pixel, over which the largest or smallest value is taken.
#[derive(Debug, Clone)]
pub(super) struct Disc {
    /// How far the disc reaches to both sides in the row `dy` above and below its centre, by `dy`.
    reach_px: Vec<usize>,
}

impl Disc {
    pub(super) fn new(radius_px: usize) -> Self {
        let square = radius_px * radius_px;
        Self { reach_px: (0..=radius_px).map(|dy| (square - dy * dy).isqrt()).collect() }
    }

    /// Returns the largest value within the disc around each pixel; beyond the border there is nothing.
    pub(super) fn highest<T: Copy + PartialOrd>(&self, plane: &Plane<T>) -> Plane<T> {
        self.extreme(plane, |a, b| if a > b { a } else { b })
    }

    /// Returns the smallest value within the disc around each pixel; beyond the border there is nothing.
    pub(super) fn lowest<T: Copy + PartialOrd>(&self, plane: &Plane<T>) -> Plane<T> {
        self.extreme(plane, |a, b| if a < b { a } else { b })
    }

    fn extreme<T: Copy>(&self, plane: &Plane<T>, pick: impl Fn(T, T) -> T + Copy) -> Plane<T> {
        // Entry `n` reaches `n` pixels to both sides; the plane itself is the entry before the first.
        let mut widened: Vec<Plane<T>> = Vec::new();
        for _ in 1..self.reach_px.len() {
            widened.push(widen(widened.last().unwrap_or(plane), pick));
        }
        let reaching = |reach: usize| if reach == 0 { plane } else { &widened[reach - 1] };
        let mut out = reaching(self.reach_px[0]).clone();
        for (dy, &reach) in self.reach_px.iter().enumerate().skip(1) {
            for y in 0..plane.height {
                let above = y.checked_sub(dy);
                let below = Some(y + dy).filter(|&row| row < plane.height);
                for source in [above, below].into_iter().flatten() {
                    merge(out.row_mut(y), reaching(reach).row(source), pick);
                }
            }
        }
        out
    }
}

/// Returns the smallest of each pixel and its four neighbours: what is left is at least three pixels thick.
pub(super) fn thick_core(plane: &Plane<f32>) -> Plane<f32> {
    let pick = |a: f32, b: f32| if a < b { a } else { b };
    let mut out = widen(plane, pick);
    for y in 0..plane.height {
        for source in [y.saturating_sub(1), (y + 1).min(plane.height - 1)] {
            merge(out.row_mut(y), plane.row(source), pick);
        }
    }
    out
}

/// Returns each pixel picked among itself and its neighbours to the left and right.
fn widen<T: Copy>(plane: &Plane<T>, pick: impl Fn(T, T) -> T + Copy) -> Plane<T> {
    let mut out = plane.clone();
    for y in 0..plane.height {
        let source = plane.row(y);
        let row = out.row_mut(y);
        merge(&mut row[1..], &source[..plane.width - 1], pick);
        merge(&mut row[..plane.width - 1], &source[1..], pick);
    }
    out
}

fn merge<T: Copy>(into: &mut [T], from: &[T], pick: impl Fn(T, T) -> T) {
    for (value, &other) in into.iter_mut().zip(from) {
        *value = pick(*value, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot() -> Plane<f32> {
        let mut plane = Plane::filled(7, 7, 0.0);
        plane.row_mut(3)[3] = 1.0;
        plane
    }

    #[test]
    fn a_disc_spreads_the_largest_value_to_its_radius() {
        for (radius, covered) in [(0, 1), (1, 5), (2, 13), (3, 29)] {
            let spread = Disc::new(radius).highest(&dot());
            assert_eq!(spread.values.iter().filter(|&&v| v > 0.0).count(), covered, "radius {radius}");
            for y in 0..7_usize {
                for x in 0..7_usize {
                    let inside = x.abs_diff(3).pow(2) + y.abs_diff(3).pow(2) <= radius * radius;
                    assert_eq!(spread.at(x, y) > 0.0, inside, "radius {radius}, {x} {y}");
                }
            }
        }
    }

    #[test]
    fn the_lowest_is_the_highest_of_the_negative() {
        let disc = Disc::new(2);
        let lowest = disc.lowest(&dot().map(|v| -v));
        assert_eq!(lowest.map(|v| -v), disc.highest(&dot()));
    }

    #[test]
    fn a_core_needs_three_pixels() {
        let plus = Disc::new(1).highest(&dot());
        assert_eq!(thick_core(&plus), dot());
        assert_eq!(thick_core(&dot()), Plane::filled(7, 7, 0.0));
    }
}
