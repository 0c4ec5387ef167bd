//! Where a head sees what it names: class activation maps (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR
//! 2016), extended to heads that also weigh deviations.
//!
//! A logit is a sum over channels of a weight times a mean, and of another times a deviation. Both are means over the cells: the mean of
//! `x`, and the deviation `d` of `(x - mean)^2 / d`. So the logit less its bias is the mean over all cells of what each one adds to it,
//! and nothing is left over.

use std::cmp::Ordering;

use crate::{
    ModelError,
    head::Linear,
    onnx::{Dim, Element, GraphBuilder, Node},
};

use super::{ACTIVATIONS, DESCRIBED, DESCRIBED_CHANNELS};

/// Pixels of input that a side of a cell of activations covers: the finest at which most of the channels still have cells of their own.
const CELL_PX: usize = 16;
/// Least deviation to divide by: a channel that never changes adds nothing anywhere.
const DEVIATION_FLOOR: f32 = 1e-6;

/// Adds what every cell adds to every logit; `maps` are those of the description, whose means and deviations are there.
pub(super) fn activate(graph: &mut GraphBuilder, maps: &[&str], head: &Linear) -> Result<(), ModelError> {
    let labels = head.bias.len();
    graph.constant_f32("deviation.floor", &[], &[DEVIATION_FLOOR])?;
    let mut parts = Vec::new();
    let mut first = 0;
    for (map, (channels, cell_px)) in maps.iter().zip(DESCRIBED) {
        let centred = squared_distance(graph, map);
        for (input, offset) in [((*map).to_owned(), first), (centred, DESCRIBED_CHANNELS + first)] {
            let (weight, output) = (format!("{input}.head"), format!("{input}.added"));
            graph.constant_f32(&weight, &[labels, channels, 1, 1], &columns(head, offset, channels))?;
            graph.node(Node::new("Conv", &[input, weight], &[output.as_str()]).ints("kernel_shape", &[1, 1]));
            parts.push(on_cells(graph, output, cell_px)?);
        }
        first += channels;
    }
    graph.node(Node::new("Sum", &parts, &["added"]));
    // CHW -> HWC
    graph.node(Node::new("Transpose", &["added"], &[ACTIVATIONS]).ints("perm", &[0, 2, 3, 1]));
    let dims = [Dim::Fixed(1), Dim::Named("activated rows"), Dim::Named("activated cols"), Dim::Fixed(labels)];
    graph.output(ACTIVATIONS, Element::F32, &dims);
    Ok(())
}

/// Adds, of each cell, the squared distance from the mean over the deviation, and returns its name.
fn squared_distance(graph: &mut GraphBuilder, map: &str) -> String {
    let name = |part: &str| format!("{map}.{part}");
    let over_cells = |graph: &mut GraphBuilder, part: &str| {
        let unsqueezed = name(&format!("{part}.everywhere"));
        graph.node(Node::new("Unsqueeze", &[name(part).as_str(), "cells.axes"], &[unsqueezed.as_str()]));
        unsqueezed
    };
    let (mean, deviation) = (over_cells(graph, "mean"), over_cells(graph, "deviation"));
    let [above, centred, square, distance] = ["deviation.above", "centred", "centred.square", "distance"].map(name);
    graph.node(Node::new("Max", &[deviation.as_str(), "deviation.floor"], &[above.as_str()]));
    graph.node(Node::new("Sub", &[map, &mean], &[centred.as_str()]));
    graph.node(Node::new("Mul", &[centred.as_str(), &centred], &[square.as_str()]));
    graph.node(Node::new("Div", &[square, above], &[distance.as_str()]));
    distance
}

/// Adds the map on cells of [`CELL_PX`], its mean kept, and returns its name.
fn on_cells(graph: &mut GraphBuilder, map: String, cell_px: usize) -> Result<String, ModelError> {
    let output = format!("{map}.cells");
    match cell_px.cmp(&CELL_PX) {
        Ordering::Equal => return Ok(map),
        Ordering::Less => {
            let side = i64::try_from(CELL_PX / cell_px).unwrap_or(i64::MAX);
            let pool = Node::new("AveragePool", &[map.as_str()], &[output.as_str()]);
            graph.node(pool.ints("kernel_shape", &[side; 2]).ints("strides", &[side; 2]));
        }
        Ordering::Greater => {
            let (scales, times) = (format!("{map}.scales"), (cell_px / CELL_PX) as f32);
            graph.constant_f32(&scales, &[4], &[1.0, 1.0, times, times])?;
            let enlarged = Node::new("Resize", &[map.as_str(), "", &scales], &[output.as_str()]);
            let nearest = enlarged.string("mode", "nearest").string("nearest_mode", "floor");
            graph.node(nearest.string("coordinate_transformation_mode", "asymmetric"));
        }
    }
    Ok(output)
}

/// Returns these columns of the head's weights, `[labels, channels]`.
fn columns(head: &Linear, first: usize, channels: usize) -> Vec<f32> {
    head.weights.values().chunks_exact(head.weights.cols()).flat_map(|row| row[first..][..channels].to_vec()).collect()
}
