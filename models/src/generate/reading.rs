use std::{ops::Range, sync::Arc};

use crate::{ModelError, decoder::TextDecoder};

/// What a model is given to read: tokens, with rows of image features in the place of some.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    ids: Vec<u32>,
    images: Vec<PlacedFeatures>,
}

/// Image features and the tokens whose place they take.
#[derive(Debug, Clone)]
pub struct PlacedFeatures {
    /// Which tokens, by index.
    pub at: Range<usize>,
    /// What stands there.
    pub features: Arc<FrameFeatures>,
}

/// What a vision encoder makes of one frame.
#[derive(Debug, PartialEq)]
pub struct FrameFeatures {
    /// Tells frames apart: equal keys mean equal rows.
    pub key: u128,
    /// `[tokens, hidden]`, row-major.
    pub rows: Vec<f32>,
}

/// One position of a reading. Equal elements behind equal elements leave the same trace in a decoder's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Token(u32),
    Image { key: u128, row: usize },
}

impl From<Vec<u32>> for Reading {
    fn from(ids: Vec<u32>) -> Self {
        Self { ids, images: Vec::new() }
    }
}

impl Reading {
    /// Returns `ids` with `images` in their places.
    ///
    /// # Errors
    /// When a place is empty, lies outside of `ids`, or overlaps the one before it; or rows do not divide among its tokens.
    pub fn new(ids: Vec<u32>, images: Vec<PlacedFeatures>) -> Result<Self, ModelError> {
        let mut free = 0;
        for PlacedFeatures { at, features } in &images {
            let fits = free <= at.start && !at.is_empty() && at.end <= ids.len();
            if !fits || features.rows.is_empty() || !features.rows.len().is_multiple_of(at.len()) {
                return Err(ModelError::mismatch(
                    "image features",
                    format!("rows for places from {free} to {}, in order", ids.len()),
                    format!("{} values for {at:?}", features.rows.len()),
                ));
            }
            free = at.end;
        }
        Ok(Self { ids, images })
    }

    /// Returns the image features, in the order of their places.
    pub fn images(&self) -> &[PlacedFeatures] {
        &self.images
    }

    /// Returns the number of positions.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the tokens, with whatever stands in the places of images.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Appends tokens.
    pub fn extend(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
    }

    pub(super) fn elements(&self) -> Vec<Element> {
        let mut elements: Vec<Element> = self.ids.iter().copied().map(Element::Token).collect();
        for PlacedFeatures { at, features } in &self.images {
            for (row, element) in elements[at.clone()].iter_mut().enumerate() {
                *element = Element::Image { key: features.key, row };
            }
        }
        elements
    }

    /// Returns whether image features stand at or behind position `start`.
    pub(super) fn has_images_from(&self, start: usize) -> bool {
        self.images.last().is_some_and(|image| image.at.end > start)
    }

    /// Returns the embeddings of all positions from `start` on, `[positions, hidden]`.
    ///
    /// # Errors
    /// When an id is outside the vocabulary of `decoder` or image features are not as wide as its embeddings.
    pub(crate) fn embeddings(&self, start: usize, decoder: &impl TextDecoder) -> Result<Vec<f32>, ModelError> {
        let mut rows = decoder.embed(&self.ids[start..])?;
        let hidden = rows.len() / (self.ids.len() - start).max(1);
        for PlacedFeatures { at, features } in &self.images {
            let width = features.rows.len() / at.len();
            if width != hidden {
                return Err(ModelError::mismatch("image features", format!("rows of {hidden} values"), width));
            }
            let first = at.start.max(start);
            if first < at.end {
                let features = &features.rows[(first - at.start) * hidden..];
                rows[(first - start) * hidden..(at.end - start) * hidden].copy_from_slice(features);
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::Input;

    /// A decoder whose embedding of token `i` is `[i, i]`.
    #[derive(Debug)]
    struct Twin;

    impl TextDecoder for Twin {
        fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
            Ok(ids.iter().flat_map(|&id| [id as f32; 2]).collect())
        }

        fn extend(&mut self, _: Input<'_>) -> Result<&[f32], ModelError> {
            unreachable!("nothing is read")
        }

        fn truncate(&mut self, _: usize) {}

        fn position(&self) -> usize {
            0
        }

        fn capacity(&self) -> usize {
            0
        }
    }

    fn placed(at: Range<usize>, rows: &[f32]) -> PlacedFeatures {
        PlacedFeatures { at, features: Arc::new(FrameFeatures { key: 7, rows: rows.to_vec() }) }
    }

    #[test]
    fn puts_features_in_their_places_wherever_reading_starts() {
        let reading = Reading::new(vec![1, 9, 9, 2], vec![placed(1..3, &[0.1, 0.2, 0.3, 0.4])]).unwrap();
        let whole = [1.0, 1.0, 0.1, 0.2, 0.3, 0.4, 2.0, 2.0];
        for start in 0..4 {
            assert_eq!(reading.embeddings(start, &Twin).unwrap(), whole[2 * start..], "from {start}");
            assert_eq!(reading.has_images_from(start), start < 3);
        }
        let image = |row| Element::Image { key: 7, row };
        assert_eq!(reading.elements(), [Element::Token(1), image(0), image(1), Element::Token(2)]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let cases = [
            vec![placed(3..5, &[0.0; 4])],
            vec![placed(1..1, &[0.0; 4])],
            vec![placed(1..3, &[0.0; 3])],
            vec![placed(1..3, &[])],
            vec![placed(1..3, &[0.0; 4]), placed(2..4, &[0.0; 4])],
        ];
        for images in cases {
            assert!(Reading::new(vec![1, 9, 9, 2], images).is_err());
        }
        let wide = Reading::new(vec![9], vec![placed(0..1, &[0.0; 3])]).unwrap();
        let error = wide.embeddings(0, &Twin).unwrap_err().to_string();
        assert_eq!(error, "image features: expected rows of 2 values, found 3");
    }
}
