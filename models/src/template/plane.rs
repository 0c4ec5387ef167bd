use cameras::{Frame, PixelFormat, Size};

/// One value a pixel, row-major from the top left.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plane<T> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// `[height, width]`
    pub(crate) values: Vec<T>,
}

impl<T: Copy> Plane<T> {
    pub(crate) fn filled(width: usize, height: usize, value: T) -> Self {
        Self { width, height, values: vec![value; width * height] }
    }

    pub(crate) fn map<U>(&self, f: impl Fn(T) -> U) -> Plane<U> {
        let values = self.values.iter().map(|&v| f(v)).collect();
        Plane { width: self.width, height: self.height, values }
    }

    pub(crate) fn row(&self, y: usize) -> &[T] {
        &self.values[y * self.width..][..self.width]
    }

    pub(crate) fn row_mut(&mut self, y: usize) -> &mut [T] {
        &mut self.values[y * self.width..][..self.width]
    }

    pub(crate) fn at(&self, x: usize, y: usize) -> T {
        self.values[y * self.width + x]
    }

    /// Returns the value `dx`, `dy` away from a pixel; beyond the border the nearest one of the border stands in.
    pub(crate) fn beside(&self, x: usize, y: usize, (dx, dy): (isize, isize)) -> T {
        self.at(x.saturating_add_signed(dx).min(self.width - 1), y.saturating_add_signed(dy).min(self.height - 1))
    }

    pub(crate) const fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl Plane<f32> {
    /// Returns the bilinear value at `(x, y)`; the border goes on beyond the edges.
    ///
    /// Both sides have 2 px or more: smaller planes show nothing to align, so nobody asks.
    pub(crate) fn sample(&self, x: f32, y: f32) -> f32 {
        let (x0, fx) = split(x, self.width);
        let (y0, fy) = split(y, self.height);
        let start = y0 * self.width + x0;
        let above = &self.values[start..start + 2];
        let below = &self.values[start + self.width..start + self.width + 2];
        let top = above[0] + fx * (above[1] - above[0]);
        let bottom = below[0] + fx * (below[1] - below[0]);
        top + fy * (bottom - top)
    }

    /// Returns the plane at `1/factor` of its size: each value is the mean of a `factor` by `factor` square.
    pub(crate) fn shrink(&self, factor: usize) -> Self {
        let (width, height) = ((self.width / factor).max(1), (self.height / factor).max(1));
        let mut small = Self::filled(width, height, 0.0);
        let scale = 1.0 / (factor * factor) as f32;
        for y in 0..height {
            let out = small.row_mut(y);
            for dy in 0..factor {
                let row = self.row((y * factor + dy).min(self.height - 1));
                for (sum, square) in out.iter_mut().zip(row.chunks(factor)) {
                    *sum += square.iter().sum::<f32>() * scale;
                }
            }
        }
        small
    }

    /// Returns the plane smoothed with the binomial filter 1 4 6 4 1 in both directions.
    pub(crate) fn smooth(&self) -> Self {
        self.smooth_rows().transpose().smooth_rows().transpose()
    }

    fn smooth_rows(&self) -> Self {
        let mut out = self.clone();
        for y in 0..self.height {
            for (x, value) in out.row_mut(y).iter_mut().enumerate() {
                let near = self.beside(x, y, (-1, 0)) + self.beside(x, y, (1, 0));
                let far = self.beside(x, y, (-2, 0)) + self.beside(x, y, (2, 0));
                *value = (6.0 * *value + 4.0 * near + far) / 16.0;
            }
        }
        out
    }

    fn transpose(&self) -> Self {
        let mut out = Self::filled(self.height, self.width, 0.0);
        for y in 0..self.height {
            for (x, &value) in self.row(y).iter().enumerate() {
                out.values[x * self.height + y] = value;
            }
        }
        out
    }

    /// Returns mean and standard deviation.
    pub(crate) fn mean_and_spread(&self) -> (f32, f32) {
        let n = self.values.len() as f64;
        let mean = self.values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = self.values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        (mean as f32, variance.sqrt() as f32)
    }
}

/// Returns the pixel before a place along a side, one that has a pixel after it where there is any, and the way from it.
pub(crate) fn split(place: f32, side: usize) -> (usize, f32) {
    let place = place.clamp(0.0, (side - 1) as f32);
    let before = (place as usize).min(side.saturating_sub(2));
    (before, place - before as f32)
}

/// What of a frame is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channels {
    /// Brightness alone.
    Luma,
    /// Red, green and blue, each by itself.
    Colour,
}

impl Channels {
    /// Returns colour when one of `frames` has any.
    pub(crate) fn of(frames: &[Frame]) -> Self {
        if frames.iter().any(has_colour) { Self::Colour } else { Self::Luma }
    }
}

fn has_colour(frame: &Frame) -> bool {
    match frame.format() {
        PixelFormat::Grey8 | PixelFormat::Grey16 => false,
        PixelFormat::Rgb8 | PixelFormat::Rgb16 => {
            let [red, green, blue] = [0, 1, 2].map(|c| channel(frame, c));
            red.values != green.values || green.values != blue.values
        }
    }
}

/// Returns the planes of a frame that are compared, each in `0..=255` whatever the bit depth: one, or red, green, blue.
pub(crate) fn planes(frame: &Frame, channels: Channels) -> Vec<Plane<f32>> {
    match channels {
        Channels::Luma => vec![luma(frame)],
        Channels::Colour => (0..3).map(|c| channel(frame, c)).collect(),
    }
}

/// Returns the brightness that `planes` have together (ITU-R BT.601 weights).
pub(crate) fn brightness(planes: &[Plane<f32>]) -> Plane<f32> {
    let [red, green, blue] = planes else { return planes[0].clone() };
    let mut out = red.clone();
    let rest = green.values.iter().zip(&blue.values);
    for (value, (green, blue)) in out.values.iter_mut().zip(rest) {
        *value = 0.299 * *value + 0.587 * green + 0.114 * blue;
    }
    out
}

fn luma(frame: &Frame) -> Plane<f32> {
    match frame.format() {
        PixelFormat::Grey8 | PixelFormat::Grey16 => channel(frame, 0),
        PixelFormat::Rgb8 | PixelFormat::Rgb16 => brightness(&planes(frame, Channels::Colour)),
    }
}

/// Returns one channel of a frame in `0..=255`; a grey frame has the same in all.
fn channel(frame: &Frame, index: usize) -> Plane<f32> {
    let wide = |at: usize| {
        let pixels = frame.pixels();
        f32::from(u16::from_ne_bytes([pixels[at], pixels[at + 1]])) / 257.0
    };
    let pixels = frame.pixels();
    let values = match frame.format() {
        PixelFormat::Grey8 => pixels.iter().map(|&v| f32::from(v)).collect(),
        PixelFormat::Grey16 => (0..pixels.len() / 2).map(|i| wide(2 * i)).collect(),
        PixelFormat::Rgb8 => pixels.iter().skip(index).step_by(3).map(|&v| f32::from(v)).collect(),
        PixelFormat::Rgb16 => (0..pixels.len() / 6).map(|i| wide(6 * i + 2 * index)).collect(),
    };
    Plane { width: frame.size().width_px as usize, height: frame.size().height_px as usize, values }
}
