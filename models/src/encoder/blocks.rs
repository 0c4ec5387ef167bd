//! The shape of EfficientNet-Lite0.

/// One inverted bottleneck: 1 x 1 expansion, depthwise convolution, 1 x 1 projection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub(crate) channels_in: usize,
    pub(crate) channels_out: usize,
    pub(crate) expansion: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
}

impl Block {
    /// Returns the channels that the depthwise convolution works on.
    pub(crate) const fn inner(&self) -> usize {
        self.channels_in * self.expansion
    }

    /// Returns whether its input is added to its output.
    pub(crate) const fn is_residual(&self) -> bool {
        self.stride == 1 && self.channels_in == self.channels_out
    }
}

const fn block(channels_in: usize, channels_out: usize, expansion: usize, kernel: usize, stride: usize) -> Block {
    Block { channels_in, channels_out, expansion, kernel, stride }
}

/// The blocks of EfficientNet-Lite0 (Tan and Le, arXiv 1905.11946, table 1, without squeeze and excitation).
pub(crate) const BLOCKS: [Block; 16] = [
    block(32, 16, 1, 3, 1),
    block(16, 24, 6, 3, 2),
    block(24, 24, 6, 3, 1),
    block(24, 40, 6, 5, 2),
    block(40, 40, 6, 5, 1),
    block(40, 80, 6, 3, 2),
    block(80, 80, 6, 3, 1),
    block(80, 80, 6, 3, 1),
    block(80, 112, 6, 5, 1),
    block(112, 112, 6, 5, 1),
    block(112, 112, 6, 5, 1),
    block(112, 192, 6, 5, 2),
    block(192, 192, 6, 5, 1),
    block(192, 192, 6, 5, 1),
    block(192, 192, 6, 5, 1),
    block(192, 320, 6, 3, 1),
];
/// The gate's features need of this block only the expansion, the last map of stride 16, and of the later ones nothing.
pub(crate) const TEXTURE_BLOCK: usize = 11;
/// Channels of that expansion.
pub(crate) const TEXTURE_DIM: usize = 672;
/// Channels of the head convolution, the last map of stride 32.
pub(crate) const SHAPE_DIM: usize = 1280;
