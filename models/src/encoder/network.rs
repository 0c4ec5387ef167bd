use std::collections::BTreeMap;

use crate::{
    ModelError,
    onnx::{Dim, Element, GraphBuilder, Node},
};

use super::{
    blocks::{BLOCKS, Block, SHAPE_DIM, TEXTURE_BLOCK},
    eight_bit::{self, Rounded},
    folding::{Convolutions, Folded},
};

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
/// What the names of activated maps end with.
pub(super) const RELU6: &str = ".relu6";

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
    activation: Activation,
}

impl<'a> Conv<'a> {
    /// Returns a convolution of 1 x 1 from and to so many channels.
    const fn of_cells([name, norm]: [&'a str; 2], [out, from]: [usize; 2], activation: Activation) -> Self {
        Self { name, norm, dims: [out, from, 1, 1], stride: 1, groups: 1, activation }
    }
}

/// What follows a convolution.
#[derive(Clone, Copy)]
enum Activation {
    Relu6,
    Nothing,
}

/// The network under construction.
pub(super) struct Network<'a> {
    pub(super) graph: GraphBuilder,
    weights: &'a dyn Convolutions,
    /// Maps that have gone through 8 bits, with the steps of their bytes.
    narrowed: BTreeMap<String, f32>,
}

impl<'a> Network<'a> {
    /// Returns the network with its input and constants.
    pub(super) fn new(weights: &'a dyn Convolutions) -> Result<Self, ModelError> {
        let mut network = Self { graph: GraphBuilder::inline(NAME), weights, narrowed: BTreeMap::new() };
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
        self.conv(&x, &Conv::of_cells(["_conv_head", "_bn1"], [SHAPE_DIM, 320], Activation::Relu6))
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
        let activation = Activation::Relu6;
        self.conv("normalised", &Conv { name: "_conv_stem", norm: "_bn0", dims, stride: 2, groups: 1, activation })
    }

    fn bottleneck(&mut self, index: usize, block: &Block, x: &str, taps: &mut Taps) -> Result<String, ModelError> {
        let part = |name: &str| format!("_blocks.{index}.{name}");
        let &Block { channels_out, kernel, stride, .. } = block;
        let inner = block.inner();
        let mut y = self.expanded(index, block, x)?;
        taps.expansions.push(y.clone());
        let (name, norm) = (part("_depthwise_conv"), part("_bn1"));
        let dims = [inner, 1, kernel, kernel];
        let activation = Activation::Relu6;
        y = self.conv(&y, &Conv { name: &name, norm: &norm, dims, stride, groups: inner, activation })?;
        let (name, norm) = (part("_project_conv"), part("_bn2"));
        y = self.conv(&y, &Conv::of_cells([&name, &norm], [channels_out, inner], Activation::Nothing))?;
        if block.is_residual() {
            y = self.sum(&part("sum"), &y, x)?;
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
        self.conv(x, &Conv::of_cells([&name, &norm], [block.inner(), block.channels_in], Activation::Relu6))
    }

    /// Adds the sum of two maps, in 8 bits where `y` is, and returns its name.
    fn sum(&mut self, name: &str, y: &str, x: &str) -> Result<String, ModelError> {
        let is_narrow = self.narrowed.contains_key(y);
        let x = if is_narrow { self.narrowed(x)? } else { x.to_owned() };
        self.graph.node(Node::new("Add", &[y, x.as_str()], &[name]));
        if is_narrow { self.narrowed(name) } else { Ok(name.to_owned()) }
    }

    /// Adds a convolution with what follows it, in 8 bits where its weights are, and returns its output.
    fn conv(&mut self, x: &str, conv: &Conv<'_>) -> Result<String, ModelError> {
        let rounded = self.weights.rounded(conv.name, conv.dims)?;
        match rounded {
            Some(rounded) => self.conv_of_bytes(x, conv, rounded)?,
            None => self.conv_of_floats(x, conv)?,
        }
        let y = match conv.activation {
            Activation::Relu6 => self.relu6(conv.name),
            Activation::Nothing => conv.name.to_owned(),
        };
        if rounded.is_some() { self.narrowed(&y) } else { Ok(y) }
    }

    fn conv_of_floats(&mut self, x: &str, conv: &Conv<'_>) -> Result<(), ModelError> {
        let Folded { weight, bias } = self.weights.folded(conv.name, conv.norm, conv.dims)?;
        let [weight_name, bias_name] = ["weight", "bias"].map(|part| format!("{}.{part}", conv.name));
        self.graph.constant_f32(&weight_name, &conv.dims, &weight)?;
        self.graph.constant_f32(&bias_name, &conv.dims[..1], &bias)?;
        self.convolve([x, &weight_name, &bias_name], conv);
        Ok(())
    }

    fn conv_of_bytes(&mut self, x: &str, conv: &Conv<'_>, rounded: &Rounded) -> Result<(), ModelError> {
        let x = self.narrowed(x)?;
        let [weight, bias] = eight_bit::constants(&mut self.graph, (conv.name, conv.dims), rounded, self.narrowed[&x])?;
        self.convolve([&x, &weight, &bias], conv);
        Ok(())
    }

    /// Returns the map `x` after it has gone through 8 bits, which it does once.
    fn narrowed(&mut self, x: &str) -> Result<String, ModelError> {
        if self.narrowed.contains_key(x) {
            return Ok(x.to_owned());
        }
        let span = self.weights.span(x)?;
        let y = eight_bit::narrowed_name(x);
        if !self.narrowed.contains_key(&y) {
            eight_bit::narrow(&mut self.graph, x, span)?;
            self.narrowed.insert(y.clone(), span.step());
        }
        Ok(y)
    }

    fn convolve(&mut self, inputs: [&str; 3], conv: &Conv<'_>) {
        let &Conv { name, dims, stride, groups, .. } = conv;
        // Sides are multiples of every stride, so TensorFlow's SAME padding is kernel - stride, the odd pixel at the end.
        let [kernel, stride, groups] = [dims[2], stride, groups].map(|size| i64::try_from(size).unwrap_or(i64::MAX));
        let total = kernel - stride;
        let (before, after) = (total / 2, total - total / 2);
        self.graph.node(
            Node::new("Conv", &inputs, &[name])
                .ints("kernel_shape", &[kernel, kernel])
                .ints("strides", &[stride; 2])
                .ints("pads", &[before, before, after, after])
                .int("group", groups),
        );
    }

    fn relu6(&mut self, x: &str) -> String {
        let y = format!("{x}{RELU6}");
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
