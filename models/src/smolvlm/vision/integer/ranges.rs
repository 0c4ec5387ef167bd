//! Ranges of activations that were found once, on pictures for calibration, instead of anew for each row of each frame.

use crate::{
    ModelError,
    kernels::{IntegerRows, Range, Simd},
    smolvlm::{Tensors, VlmConfig},
};

/// Where a copy of a model keeps its ranges, `[blocks * places, 2]`: least and greatest.
pub(in crate::smolvlm) const TENSOR: &str = "loupe.vision_model.activation_ranges";

/// Where rows are rounded in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before queries, keys and values.
    Attention,
    /// What attention has mixed.
    Mixed,
    /// Before the feed-forward layer.
    FeedForward,
    /// Between its two matrices.
    Inner,
}

impl Place {
    const COUNT: usize = 4;

    fn of(self, block: usize) -> usize {
        block * Self::COUNT + self as usize
    }
}

/// The least and the greatest input of every layer in the blocks of a vision encoder. What attention and connector round, they
/// round over ranges of rows in any case.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationRanges {
    /// `[blocks * places]`.
    extremes: Vec<[f32; 2]>,
}

impl ActivationRanges {
    /// Returns the shape of the tensor that holds the ranges of a model.
    fn dims(config: &VlmConfig) -> [usize; 2] {
        [config.vision.layers * Place::COUNT, 2]
    }

    fn none(config: &VlmConfig) -> Self {
        Self { extremes: vec![[f32::INFINITY, f32::NEG_INFINITY]; Self::dims(config)[0]] }
    }

    fn read(tensors: &dyn Tensors, config: &VlmConfig) -> Result<Self, ModelError> {
        let values = tensors.read(TENSOR, &Self::dims(config))?;
        let extremes = values.as_chunks::<2>().0.to_vec();
        match extremes.iter().find(|extremes| !is_range(**extremes)) {
            None => Ok(Self { extremes }),
            Some([low, high]) => Err(tensors.flaw(TENSOR, "ranges", &format!("one from {low} to {high}"))),
        }
    }

    /// Returns the tensor's shape and its bytes.
    pub(in crate::smolvlm) fn tensor(&self) -> ([usize; 2], Vec<u8>) {
        let bytes = self.extremes.as_flattened().iter().flat_map(|value| value.to_le_bytes());
        ([self.extremes.len(), 2], bytes.collect())
    }

    /// Makes every range as wide as it must be to hold that of `other` too.
    pub(super) fn widen(&mut self, other: &Self) {
        for (mine, theirs) in self.extremes.iter_mut().zip(&other.extremes) {
            *mine = [mine[0].min(theirs[0]), mine[1].max(theirs[1])];
        }
    }

    /// Returns whether every range is one, as after a frame that was seen.
    pub(super) fn is_known(&self) -> bool {
        self.extremes.iter().copied().all(is_range)
    }

    fn steps(&self) -> Vec<Range> {
        self.extremes.iter().map(|&[low, high]| Range { scale: (high - low) / 255.0, low }).collect()
    }
}

/// Returns whether steps between least and greatest can be computed with.
fn is_range([low, high]: [f32; 2]) -> bool {
    low <= high && (high - low).is_finite()
}

#[cfg(test)]
impl From<Vec<[f32; 2]>> for ActivationRanges {
    fn from(extremes: Vec<[f32; 2]>) -> Self {
        Self { extremes }
    }
}

/// How rows are rounded.
#[derive(Debug, Clone)]
pub(super) enum Rounding {
    /// Over the range of each row.
    Rows,
    /// Likewise, and it is noted how far they go.
    Noted(ActivationRanges),
    /// Over ranges that are known before; what lies outside of them is cut.
    Fixed(Vec<Range>),
}

impl Rounding {
    /// Returns how the inputs of a model's layers are rounded: over the ranges that it comes with, if it does.
    pub(super) fn of(tensors: &dyn Tensors, config: &VlmConfig) -> Result<Self, ModelError> {
        if !tensors.has(TENSOR) {
            return Ok(Self::Rows);
        }
        Ok(Self::Fixed(ActivationRanges::read(tensors, config)?.steps()))
    }

    /// Returns how activations are rounded whose ranges are to be found.
    pub(super) fn noted(config: &VlmConfig) -> Self {
        Self::Noted(ActivationRanges::none(config))
    }

    /// Rounds `values` to row `row` of `rows`.
    pub(super) fn round(
        &mut self,
        (simd, block, place): (Simd, usize, Place),
        (row, values): (usize, &[f32]),
        rows: &mut IntegerRows,
    ) {
        match self {
            Self::Rows => {
                rows.set(simd, row, values);
            }
            Self::Noted(ranges) => {
                let Range { scale, low } = rows.set(simd, row, values);
                let [least, greatest] = &mut ranges.extremes[place.of(block)];
                (*least, *greatest) = (least.min(low), greatest.max(low + 255.0 * scale));
            }
            Self::Fixed(ranges) => rows.set_within(simd, row, ranges[place.of(block)], values),
        }
    }
}
