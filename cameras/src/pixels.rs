use std::borrow::Cow;

use image::{GrayImage, RgbImage};

use crate::{Frame, FrameId, PixelFormat, Size};

impl Frame {
    /// Returns a frame captured now that holds `picture`.
    ///
    /// # Panics
    /// Never: a picture of crate `image` fits its own size.
    pub fn from_rgb_image(id: FrameId, picture: RgbImage) -> Self {
        let size = Size::new(picture.width(), picture.height());
        Self::new(id, size, PixelFormat::Rgb8, picture.into_raw()).expect("a picture fits its own size")
    }

    /// Returns the pixels as red, green, blue, one byte each.
    ///
    /// Borrowed when the frame is [`PixelFormat::Rgb8`]. Grey is replicated; 16 bit are divided by 257 and rounded to nearest,
    /// so that 0 stays 0 and 65535 becomes 255.
    ///
    /// # Shapes
    /// `[height_px, width_px, 3]`, row-major, no padding.
    pub fn rgb8(&self) -> Cow<'_, [u8]> {
        match self.format() {
            PixelFormat::Rgb8 => Cow::Borrowed(self.pixels()),
            PixelFormat::Grey8 => self.pixels().iter().flat_map(|&v| [v; 3]).collect(),
            PixelFormat::Grey16 => narrowed(self.pixels()).flat_map(|v| [v; 3]).collect(),
            PixelFormat::Rgb16 => narrowed(self.pixels()).collect(),
        }
    }

    /// Returns the brightness of every pixel, one byte each; borrowed when the frame is [`PixelFormat::Grey8`].
    ///
    /// Colour is weighed 0.299 red, 0.587 green, 0.114 blue (Rec. 601, as in JPEG) on the gamma-encoded values, rounded to
    /// nearest. 16 bit are narrowed first, as in [`Self::rgb8`].
    ///
    /// # Shapes
    /// `[height_px, width_px]`, row-major, no padding.
    pub fn luma8(&self) -> Cow<'_, [u8]> {
        match self.format() {
            PixelFormat::Grey8 => Cow::Borrowed(self.pixels()),
            PixelFormat::Grey16 => narrowed(self.pixels()).collect(),
            PixelFormat::Rgb8 | PixelFormat::Rgb16 => {
                self.rgb8().as_chunks::<3>().0.iter().map(|&rgb| luma_rec601(rgb)).collect()
            }
        }
    }

    /// Returns [`Self::rgb8`] as a picture of crate `image`, to draw on, to resize or to save.
    ///
    /// # Panics
    /// Never: a frame's buffer fits its size.
    pub fn to_rgb_image(&self) -> RgbImage {
        let Size { width_px, height_px } = self.size();
        RgbImage::from_raw(width_px, height_px, self.rgb8().into_owned()).expect("a frame's buffer fits its size")
    }

    /// Returns [`Self::luma8`] as a picture of crate `image`.
    ///
    /// # Panics
    /// Never: a frame's buffer fits its size.
    pub fn to_luma_image(&self) -> GrayImage {
        let Size { width_px, height_px } = self.size();
        GrayImage::from_raw(width_px, height_px, self.luma8().into_owned()).expect("a frame's buffer fits its size")
    }
}

/// Returns 16 bit samples in native order as 8 bit: `round(v / 257)`, since 65535 = 255 * 257.
fn narrowed(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|&pair| ((u32::from(u16::from_ne_bytes(pair)) + 128) / 257) as u8)
}

fn luma_rec601([red, green, blue]: [u8; 3]) -> u8 {
    ((299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue) + 500) / 1000) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(format: PixelFormat, pixels: Vec<u8>) -> Frame {
        let width_px = (pixels.len() / format.bytes_per_pixel()) as u32;
        Frame::new(FrameId { source: "test".into(), seq: 0 }, Size::new(width_px, 1), format, pixels).unwrap()
    }

    fn wide(samples: &[u16]) -> Vec<u8> {
        samples.iter().flat_map(|v| v.to_ne_bytes()).collect()
    }

    #[test]
    fn views_of_every_format() {
        let cases = [
            (frame(PixelFormat::Grey8, vec![0, 7, 255]), vec![0, 0, 0, 7, 7, 7, 255, 255, 255], vec![0, 7, 255]),
            (
                frame(PixelFormat::Grey16, wide(&[0, 128, 129, 65535, 65407])),
                vec![0, 0, 0, 0, 0, 0, 1, 1, 1, 255, 255, 255, 255, 255, 255],
                vec![0, 0, 1, 255, 255],
            ),
            (frame(PixelFormat::Rgb8, vec![255, 0, 0, 0, 255, 0]), vec![255, 0, 0, 0, 255, 0], vec![76, 150]),
            (frame(PixelFormat::Rgb16, wide(&[0, 0, 65535, 257, 514, 771])), vec![0, 0, 255, 1, 2, 3], vec![29, 2]),
        ];
        for (frame, rgb, luma) in cases {
            assert_eq!(*frame.rgb8(), *rgb, "{frame:?}");
            assert_eq!(*frame.luma8(), *luma, "{frame:?}");
            assert_eq!(frame.to_rgb_image().into_raw(), rgb, "{frame:?}");
            assert_eq!(frame.to_luma_image().into_raw(), luma, "{frame:?}");
        }
    }

    #[test]
    fn views_borrow_where_nothing_changes() {
        assert!(matches!(frame(PixelFormat::Rgb8, vec![1, 2, 3]).rgb8(), Cow::Borrowed(_)));
        assert!(matches!(frame(PixelFormat::Grey8, vec![1, 2, 3]).luma8(), Cow::Borrowed(_)));
    }
}
