use super::{align::Affine, local::Field, plane::Plane};

/// Where on the template each pixel of a frame lies.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    x: Plane<f32>,
    y: Plane<f32>,
}

impl Mapping {
    /// Returns the places that `affine` gives.
    pub(super) fn of_affine(affine: &Affine, width: usize, height: usize) -> Self {
        let mut mapping = Self { x: Plane::filled(width, height, 0.0), y: Plane::filled(width, height, 0.0) };
        let (right_x, right_y) = affine.step_right();
        for row in 0..height {
            let (start_x, start_y) = affine.apply(0.0, row as f64);
            let xs = mapping.x.row_mut(row).iter_mut().zip(mapping.y.row_mut(row));
            for (col, (x, y)) in xs.enumerate() {
                *x = (start_x + right_x * col as f64) as f32;
                *y = (start_y + right_y * col as f64) as f32;
            }
        }
        mapping
    }

    /// Moves each place by what `field` says at that pixel.
    pub(super) fn add(&mut self, field: &Field) {
        for row in 0..self.x.height {
            let (dx, dy) = field.row(row, self.x.width);
            for (x, d) in self.x.row_mut(row).iter_mut().zip(dx) {
                *x += d;
            }
            for (y, d) in self.y.row_mut(row).iter_mut().zip(dy) {
                *y += d;
            }
        }
    }

    /// Returns `plane`, which covers the template, as the frame sees it.
    pub(super) fn warp(&self, plane: &Plane<f32>) -> Plane<f32> {
        let places = self.x.values.iter().zip(&self.y.values);
        let values = places.map(|(&x, &y)| plane.sample(x, y)).collect();
        Plane { width: self.x.width, height: self.x.height, values }
    }

    /// Returns 1 where the template is known at least `border_px` around a pixel of the frame, else 0.
    pub(super) fn known(&self, template: &Plane<f32>, border_px: usize) -> Plane<f32> {
        // A pixel's place is off by rounding even where nothing moves.
        let low = border_px as f32 - 0.01;
        let high = |side: usize| side as f32 - 1.0 - low;
        let (right, bottom) = (high(template.width), high(template.height));
        let (width, height) = (self.x.width, self.x.height);
        let mut known = Plane::filled(width, height, 0.0);
        if width <= 2 * border_px {
            return known;
        }
        for row in border_px..height.saturating_sub(border_px) {
            let places = self.x.row(row).iter().zip(self.y.row(row)).skip(border_px);
            let inner = &mut known.row_mut(row)[border_px..width - border_px];
            for (value, (&x, &y)) in inner.iter_mut().zip(places) {
                let inside = x > low && x < right && y > low && y < bottom;
                *value = f32::from(u8::from(inside));
            }
        }
        known
    }
}
