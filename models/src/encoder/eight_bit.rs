//! The network in 8 bits: bytes as weights and, from layer to layer, as maps.
//!
//! The graph says so by pairs of `QuantizeLinear` and `DequantizeLinear`, which ONNX Runtime turns into operators on bytes. The number 0
//! is a byte in every map, because padding is made of it.

use std::collections::BTreeMap;

use crate::{
    ModelError,
    onnx::{GraphBuilder, Node},
};

use super::{
    blocks::{BLOCKS, TEXTURE_BLOCK},
    folding::{Convolutions, Folded},
    front::Weights,
    network::RELU6,
};

/// The stem and the blocks before this one stay in floats: the kernels of block 0 hold weights so unlike that rounding them alone moves a
/// description more than rounding all other layers does (least cosine 0.9945 against 0.9992).
const FIRST_BLOCK: usize = 2;
/// Greatest weight in 8 bits; -128 is left out, so that the sign costs nothing.
const WEIGHT_MAX: f32 = 127.0;
/// Steps of a map in 8 bits.
const MAP_STEPS: f32 = 255.0;
/// Weights that are this small are nothing, whatever a map holds.
const LEAST_SCALE: f32 = 1e-12;
/// Greatest bias in steps of a sum of products, which leaves room for the products.
const BIAS_MAX: f32 = (1 << 30) as f32;

/// A linear layer with its weights in 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rounded {
    /// One row for each output, in units of its scale.
    pub(crate) weight: Vec<i8>,
    /// Of each output; above 0.
    pub(crate) scale: Vec<f32>,
    /// Of each output.
    pub(crate) bias: Vec<f32>,
}

impl Rounded {
    /// Returns a layer whose `weight` has one row for each bias.
    pub(crate) fn of(weight: &[f32], bias: &[f32]) -> Self {
        let row_len = (weight.len() / bias.len().max(1)).max(1);
        let scale: Vec<f32> = weight.chunks(row_len).map(scale_of).collect();
        let rows = weight.chunks(row_len).zip(&scale);
        let weight = rows.flat_map(|(row, scale)| row.iter().map(move |value| to_byte(value / scale))).collect();
        Self { weight, scale, bias: bias.to_vec() }
    }

    /// Returns the weights as floats.
    pub(crate) fn restored(&self) -> Vec<f32> {
        let rows = self.weight.chunks(self.row_len()).zip(&self.scale);
        rows.flat_map(|(row, scale)| row.iter().map(move |&value| f32::from(value) * scale)).collect()
    }

    /// Returns the layer with scales that let each bias be counted in steps of what inputs in steps of `input` give: where a bias is too
    /// great for that, the weights beside it are nothing.
    fn with_room_for_bias(&self, input: f32) -> Self {
        let least = self.bias.iter().map(|bias| bias.abs() / (input * BIAS_MAX));
        let scale: Vec<f32> = self.scale.iter().zip(least).map(|(scale, least)| scale.max(least)).collect();
        let rows = self.weight.chunks(self.row_len()).zip(self.scale.iter().zip(&scale));
        let weight = rows
            .flat_map(|(row, (from, to))| row.iter().map(move |&value| to_byte(f32::from(value) * from / to)))
            .collect();
        Self { weight, scale, bias: self.bias.clone() }
    }

    fn row_len(&self) -> usize {
        (self.weight.len() / self.bias.len().max(1)).max(1)
    }
}

fn scale_of(row: &[f32]) -> f32 {
    let greatest = row.iter().fold(0.0_f32, |greatest, value| greatest.max(value.abs()));
    (greatest / WEIGHT_MAX).max(LEAST_SCALE)
}

fn to_byte(value: f32) -> i8 {
    value.round().clamp(-WEIGHT_MAX, WEIGHT_MAX) as i8
}

/// The least and the greatest number that a map in 8 bits can hold. 0 lies between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    least: f32,
    most: f32,
}

impl Span {
    /// What the activation of this network lets through.
    pub(crate) const RELU6: Self = Self { least: 0.0, most: 6.0 };

    /// Returns the span between two numbers and 0, if it can be cut into steps.
    pub(crate) fn new(least: f32, most: f32) -> Option<Self> {
        let span = Self { least: least.min(0.0), most: most.max(0.0) };
        let is_whole = least.is_finite() && most.is_finite() && least <= most;
        (is_whole && (LEAST_SCALE..=1e12).contains(&span.step())).then_some(span)
    }

    /// Returns both ends.
    pub(crate) const fn ends(self) -> [f32; 2] {
        [self.least, self.most]
    }

    /// Returns the difference between neighbouring bytes.
    pub(crate) fn step(self) -> f32 {
        (self.most - self.least) / MAP_STEPS
    }

    /// Returns the byte that stands for 0.
    pub(crate) fn zero(self) -> u8 {
        (-self.least / self.step()).round() as u8
    }
}

/// The convolutions of the network, most of them in 8 bits, and the spans of the maps between them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EightBit {
    pub(crate) floats: Weights,
    pub(crate) rounded: BTreeMap<String, Rounded>,
    /// By [`linear_maps`].
    pub(crate) spans: BTreeMap<String, Span>,
}

impl EightBit {
    /// Returns `weights` rounded, for maps of these spans.
    pub(crate) fn of(weights: &Weights, spans: BTreeMap<String, Span>) -> Self {
        let (floats, others): (Weights, Weights) = weights.clone().into_iter().partition(|(name, _)| stays_float(name));
        let rounded = |(name, folded): (String, Folded)| (name, Rounded::of(&folded.weight, &folded.bias));
        Self { floats, rounded: others.into_iter().map(rounded).collect(), spans }
    }
}

/// Returns whether a convolution stays in floats.
pub(crate) fn stays_float(name: &str) -> bool {
    name == "_conv_stem" || (0..FIRST_BLOCK).any(|block| name.starts_with(&format!("_blocks.{block}.")))
}

/// Returns the names of the maps in 8 bits that no activation has cut to [`Span::RELU6`].
pub(crate) fn linear_maps() -> Vec<String> {
    let mut maps = Vec::new();
    for (index, block) in BLOCKS.iter().enumerate().skip(FIRST_BLOCK - 1) {
        maps.push(format!("_blocks.{index}._project_conv"));
        if block.is_residual() {
            maps.push(format!("_blocks.{index}.sum"));
        }
    }
    maps
}

impl Convolutions for EightBit {
    fn folded(&self, conv: &str, norm: &str, dims: [usize; 4]) -> Result<Folded, ModelError> {
        let Some(rounded) = self.rounded.get(conv) else { return self.floats.folded(conv, norm, dims) };
        let restored = Folded { weight: rounded.restored(), bias: rounded.bias.clone() };
        Weights::from([(conv.to_owned(), restored)]).folded(conv, norm, dims)
    }

    fn rounded(&self, conv: &str, dims: [usize; 4]) -> Result<Option<&Rounded>, ModelError> {
        // Descriptions hold this map, and some of its channels hardly ever move: steps of 6 / 255 would make every picture a stranger.
        if conv == format!("_blocks.{TEXTURE_BLOCK}._expand_conv") {
            return Ok(None);
        }
        let Some(rounded) = self.rounded.get(conv) else { return Ok(None) };
        if rounded.weight.len() == dims.iter().product::<usize>() && rounded.bias.len() == dims[0] {
            return Ok(Some(rounded));
        }
        let found = format!("{} weights, {} biases", rounded.weight.len(), rounded.bias.len());
        Err(ModelError::mismatch("weights of the eyes", format!("{conv} of shape {dims:?}"), found))
    }

    fn span(&self, map: &str) -> Result<Span, ModelError> {
        if map.ends_with(RELU6) {
            return Ok(Span::RELU6);
        }
        self.spans.get(map).copied().ok_or_else(|| ModelError::mismatch("ranges of the eyes", map, "none"))
    }
}

/// Adds the weights and biases of convolution `name` for inputs in steps of `input`, and returns their names.
pub(super) fn constants(
    graph: &mut GraphBuilder,
    (name, dims): (&str, [usize; 4]),
    rounded: &Rounded,
    input: f32,
) -> Result<[String; 2], ModelError> {
    let Rounded { weight, scale, bias } = rounded.with_room_for_bias(input);
    let sum_scale: Vec<f32> = scale.iter().map(|scale| scale * input).collect();
    let bias: Vec<i32> = bias.iter().zip(&sum_scale).map(|(bias, scale)| (bias / scale).round() as i32).collect();
    let part = |part: &str| format!("{name}.{part}");
    graph.constant_i8(&part("weight.bytes"), &dims, &weight)?;
    graph.constant_f32(&part("weight.scale"), &dims[..1], &scale)?;
    graph.constant_i32(&part("bias.steps"), &dims[..1], &bias)?;
    graph.constant_f32(&part("bias.scale"), &dims[..1], &sum_scale)?;
    let [weight, bias] = [part("weight"), part("bias")];
    restore(graph, [&part("weight.bytes"), &part("weight.scale")], &weight);
    restore(graph, [&part("bias.steps"), &part("bias.scale")], &bias);
    Ok([weight, bias])
}

fn restore(graph: &mut GraphBuilder, inputs: [&str; 2], output: &str) {
    graph.node(Node::new("DequantizeLinear", &inputs, &[output]).int("axis", 0));
}

/// Returns what [`narrow`] calls the map `x` after it has gone through bytes.
pub(super) fn narrowed_name(x: &str) -> String {
    format!("{x}.restored")
}

/// Adds the map `x` rounded to bytes of `span`.
pub(super) fn narrow(graph: &mut GraphBuilder, x: &str, span: Span) -> Result<(), ModelError> {
    let [step, zero, bytes] = ["step", "zero", "bytes"].map(|part| format!("{x}.{part}"));
    graph.constant_f32(&step, &[], &[span.step()])?;
    graph.constant_u8(&zero, &[], &[span.zero()])?;
    graph.node(Node::new("QuantizeLinear", &[x, &step, &zero], &[bytes.as_str()]));
    graph.node(Node::new("DequantizeLinear", &[bytes, step, zero], &[narrowed_name(x)]));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_within_half_a_step_of_each_row() {
        let weight: Vec<f32> = (0..60).map(|i| ((i * 37) % 23) as f32 - 11.0).collect();
        let rounded = Rounded::of(&weight, &[0.5; 4]);
        assert_eq!((rounded.weight.len(), rounded.scale.len()), (60, 4));
        for (row, (values, restored)) in weight.chunks(15).zip(rounded.restored().chunks(15)).enumerate() {
            for (value, restored) in values.iter().zip(restored) {
                assert!((value - restored).abs() <= rounded.scale[row] / 1.99, "row {row}: {value} {restored}");
            }
        }
        let again = Rounded::of(&rounded.restored(), &[0.5; 4]);
        assert_eq!(again.weight, rounded.weight, "what was rounded is not rounded again");
    }

    #[test]
    fn a_row_of_nothing_and_one_beside_a_great_bias_are_nothing() {
        let rounded = Rounded::of(&[0.0, 0.0, 1e-30, -1e-30, 1.0, -0.5], &[5.0, 0.0, 2.0]);
        assert_eq!(rounded.weight, [0, 0, 0, 0, 127, -64]);
        assert!(rounded.scale.iter().all(|scale| *scale > 0.0));
        let with_room = rounded.with_room_for_bias(6.0 / 255.0);
        assert_eq!((with_room.weight, with_room.scale[2]), (rounded.weight, rounded.scale[2]));
        let steps = 5.0 / (with_room.scale[0] * 6.0 / 255.0);
        assert!((0.99 * BIAS_MAX..1.01 * BIAS_MAX).contains(&steps), "{steps}");
    }

    #[test]
    fn zero_is_a_byte_of_every_span() {
        for (least, most) in [(-3.0, 5.0), (0.5, 2.0), (-4.0, -1.0), (-1e-6, 80.0)] {
            let span = Span::new(least, most).unwrap();
            let (step, zero) = (span.step(), f32::from(span.zero()));
            let [lowest, highest] = [-zero * step, (MAP_STEPS - zero) * step];
            let slack = step / 1.99;
            assert!(lowest <= least.min(0.0) + slack && highest >= most.max(0.0) - slack, "{lowest} {highest}");
        }
        let refused = [(0.0, 0.0), (f32::NAN, 1.0), (0.0, f32::INFINITY), (f32::MIN, f32::MAX), (2.0, 1.0)];
        assert!(refused.iter().all(|&(least, most)| Span::new(least, most).is_none()));
    }

    #[test]
    fn the_first_blocks_stay_in_floats() {
        let names = ["_conv_stem", "_blocks.0._depthwise_conv", "_blocks.1._project_conv"];
        assert!(names.into_iter().all(stays_float));
        let names = ["_conv_head", "_blocks.2._expand_conv", "_blocks.10._project_conv", "_blocks.15._project_conv"];
        assert!(!names.into_iter().any(stays_float));
        assert_eq!(linear_maps().len(), 15 + 9);
    }
}
