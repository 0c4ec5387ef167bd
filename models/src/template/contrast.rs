use super::plane::Plane;

/// The dark and the bright part of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Contrast {
    /// Brightness between the two parts.
    pub(super) level: f32,
    /// By how much the bright part is brighter than the dark one.
    pub(super) step: f32,
}

impl Contrast {
    /// Returns the two parts that Otsu's threshold separates.
    pub(super) fn of(plane: &Plane<f32>) -> Self {
        let bytes = plane.values.iter().map(|v| v.round() as u8).collect();
        let image = image::GrayImage::from_raw(plane.width as u32, plane.height as u32, bytes)
            .expect("a plane has width times height values");
        let level = f32::from(imageproc::contrast::otsu_level(&image)) + 0.5;
        let mean = |bright: bool| {
            let part: Vec<_> = plane.values.iter().filter(|&&v| (v >= level) == bright).collect();
            (!part.is_empty()).then(|| part.iter().map(|&&v| f64::from(v)).sum::<f64>() / part.len() as f64)
        };
        match (mean(false), mean(true)) {
            (Some(dark), Some(bright)) => {
                Self { level: f64::midpoint(dark, bright) as f32, step: (bright - dark) as f32 }
            }
            _ => Self { level, step: 0.0 },
        }
    }
}
