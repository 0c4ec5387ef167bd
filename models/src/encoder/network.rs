use crate::{
    ModelError,
    onnx::{Dim, Element, GraphBuilder, Node},
};

use super::folding::{Convolutions, Folded};

/// Names the network in the identity of features.
pub(super) const NAME: &str = "efficientnet-lite0";
/// Bytes, `[1, height, width, 3]`, red, green, blue.
pub(super) const INPUT: &str = "pixels";
/// Feature maps, finest first, `[1, rows, cols, dim]`.
pub(super) const OUTPUTS: [&str; 3] = ["fine", "coarse", "deep"];

/// Normalisation that the weights were trained with: `(x - 127) / 128`.
const INPUT_MEAN: f32 = 127.0;
const INPUT_SCALE: f32 = 1.0 / 128.0;

const STEM_CHANNELS: usize = 32;

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

/// Returns the graph from bytes to the feature maps of the gate.
pub(super) fn build(weights: &dyn Convolutions) -> Result<Vec<u8>, ModelError> {
    let mut network = Network::new(weights)?;
    let mut taps = Taps::default();
    let x = network.blocks(TEXTURE_BLOCK, &mut taps)?;
    taps.expansions.push(network.expanded(TEXTURE_BLOCK, &BLOCKS[TEXTURE_BLOCK], &x)?);
    network.outputs(&taps);
    network.graph.into_bytes()
}

/// Tensors that become features: expansions and outputs by block.
#[derive(Default)]
pub(super) struct Taps {
    pub(super) expansions: Vec<String>,
    pub(super) outputs: Vec<String>,
}

/// A convolution's place and shape.
struct Conv<'a> {
    name: &'a str,
    norm: &'a str,
    dims: [usize; 4],
    stride: usize,
    groups: usize,
}

/// The network under construction.
pub(super) struct Network<'a> {
    pub(super) graph: GraphBuilder,
    weights: &'a dyn Convolutions,
}

impl<'a> Network<'a> {
    /// Returns the network with its input and constants.
    pub(super) fn new(weights: &'a dyn Convolutions) -> Result<Self, ModelError> {
        let mut network = Self { graph: GraphBuilder::inline(NAME), weights };
        network.declare()?;
        Ok(network)
    }

    /// Adds the stem and the first `count` blocks and returns the output of the last.
    pub(super) fn blocks(&mut self, count: usize, taps: &mut Taps) -> Result<String, ModelError> {
        let mut x = self.stem()?;
        for (index, block) in BLOCKS.iter().enumerate().take(count) {
            x = self.bottleneck(index, block, &x, taps)?;
        }
        Ok(x)
    }

    /// Adds the whole network and returns its last map of stride 32, `[1, 1280, rows, cols]`.
    pub(super) fn whole(&mut self, taps: &mut Taps) -> Result<String, ModelError> {
        let x = self.blocks(BLOCKS.len(), taps)?;
        let dims = [SHAPE_DIM, 320, 1, 1];
        let y = self.conv(&x, &Conv { name: "_conv_head", norm: "_bn1", dims, stride: 1, groups: 1 })?;
        Ok(self.relu6(&y))
    }

    fn declare(&mut self) -> Result<(), ModelError> {
        let [height, width] = [Dim::Named("height"), Dim::Named("width")];
        self.graph.input(INPUT, Element::U8, &[Dim::Fixed(1), height, width, Dim::Fixed(3)]);
        for (name, value) in [("zero", 0.0), ("six", 6.0), ("mean", INPUT_MEAN), ("scale", INPUT_SCALE)] {
            self.graph.constant_f32(name, &[], &[value])?;
        }
        Ok(())
    }

    fn stem(&mut self) -> Result<String, ModelError> {
        self.graph.node(Node::new("Cast", &[INPUT], &["floats"]).int("to", Element::F32 as i64));
        // HWC -> CHW
        self.graph.node(Node::new("Transpose", &["floats"], &["planes"]).ints("perm", &[0, 3, 1, 2]));
        self.graph.node(Node::new("Sub", &["planes", "mean"], &["centred"]));
        self.graph.node(Node::new("Mul", &["centred", "scale"], &["normalised"]));
        let dims = [STEM_CHANNELS, 3, 3, 3];
        let x = self.conv("normalised", &Conv { name: "_conv_stem", norm: "_bn0", dims, stride: 2, groups: 1 })?;
        Ok(self.relu6(&x))
    }

    fn bottleneck(&mut self, index: usize, block: &Block, x: &str, taps: &mut Taps) -> Result<String, ModelError> {
        let part = |name: &str| format!("_blocks.{index}.{name}");
        let &Block { channels_out, kernel, stride, .. } = block;
        let inner = block.inner();
        let mut y = self.expanded(index, block, x)?;
        taps.expansions.push(y.clone());
        let (name, norm) = (part("_depthwise_conv"), part("_bn1"));
        let dims = [inner, 1, kernel, kernel];
        y = self.conv(&y, &Conv { name: &name, norm: &norm, dims, stride, groups: inner })?;
        y = self.relu6(&y);
        let (name, norm) = (part("_project_conv"), part("_bn2"));
        let dims = [channels_out, inner, 1, 1];
        y = self.conv(&y, &Conv { name: &name, norm: &norm, dims, stride: 1, groups: 1 })?;
        if block.is_residual() {
            let sum = part("sum");
            self.graph.node(Node::new("Add", &[y.as_str(), x], &[sum.as_str()]));
            y = sum;
        }
        taps.outputs.push(y.clone());
        Ok(y)
    }

    /// Adds the expansion of a block, where it has one, and returns its output.
    fn expanded(&mut self, index: usize, block: &Block, x: &str) -> Result<String, ModelError> {
        if block.expansion == 1 {
            return Ok(x.to_owned());
        }
        let (name, norm) = (format!("_blocks.{index}._expand_conv"), format!("_blocks.{index}._bn0"));
        let dims = [block.inner(), block.channels_in, 1, 1];
        let y = self.conv(x, &Conv { name: &name, norm: &norm, dims, stride: 1, groups: 1 })?;
        Ok(self.relu6(&y))
    }

    /// Adds a convolution and returns its output.
    fn conv(&mut self, x: &str, conv: &Conv<'_>) -> Result<String, ModelError> {
        let &Conv { name, norm, dims, stride, groups } = conv;
        let Folded { weight, bias } = self.weights.folded(name, norm, dims)?;
        let (weight_name, bias_name) = (format!("{name}.weight"), format!("{name}.bias"));
        self.graph.constant_f32(&weight_name, &dims, &weight)?;
        self.graph.constant_f32(&bias_name, &dims[..1], &bias)?;
        // Sides are multiples of every stride, so TensorFlow's SAME padding is kernel - stride, the odd pixel at the end.
        let [kernel, stride, groups] = [dims[2], stride, groups].map(|size| i64::try_from(size).unwrap_or(i64::MAX));
        let total = kernel - stride;
        let (before, after) = (total / 2, total - total / 2);
        self.graph.node(
            Node::new("Conv", &[x, &weight_name, &bias_name], &[name])
                .ints("kernel_shape", &[kernel, kernel])
                .ints("strides", &[stride; 2])
                .ints("pads", &[before, before, after, after])
                .int("group", groups),
        );
        Ok(name.to_owned())
    }

    fn relu6(&mut self, x: &str) -> String {
        let y = format!("{x}.relu6");
        self.graph.node(Node::new("Clip", &[x, "zero", "six"], &[y.as_str()]));
        y
    }

    fn outputs(&mut self, taps: &Taps) {
        let fine = [self.halved(&taps.expansions[3]), taps.expansions[5].clone()];
        let coarse = [self.halved(&taps.outputs[4]), taps.outputs[7].clone(), taps.outputs[10].clone()];
        self.output(OUTPUTS[0], ["fine_rows", "fine_cols"], &fine);
        self.output(OUTPUTS[1], ["coarse_rows", "coarse_cols"], &coarse);
        self.output(OUTPUTS[2], ["deep_rows", "deep_cols"], &taps.expansions[11..]);
    }

    /// Adds the mean of every 2 x 2 cells.
    fn halved(&mut self, x: &str) -> String {
        let y = format!("{x}.halved");
        let pool = Node::new("AveragePool", &[x], &[y.as_str()]);
        self.graph.node(pool.ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]));
        y
    }

    /// Adds the neighbourhood average of several tensors of one grid, cells last to channels last.
    fn output(&mut self, name: &'static str, [rows, cols]: [&'static str; 2], parts: &[String]) {
        let (joined, averaged) = (format!("{name}.joined"), format!("{name}.averaged"));
        self.graph.node(Node::new("Concat", parts, &[joined.as_str()]).int("axis", 1));
        let pool = Node::new("AveragePool", &[joined.as_str()], &[averaged.as_str()]);
        // Cells outside of the frame are left out of the mean.
        self.graph.node(pool.ints("kernel_shape", &[3, 3]).ints("pads", &[1; 4]).int("count_include_pad", 0));
        // CHW -> HWC
        self.graph.node(Node::new("Transpose", &[averaged.as_str()], &[name]).ints("perm", &[0, 2, 3, 1]));
        // The channels of both maps are fixed, but only the parts know how many they are.
        let dims = [Dim::Fixed(1), Dim::Named(rows), Dim::Named(cols), Dim::Named(name)];
        self.graph.output(name, Element::F32, &dims);
    }
}
