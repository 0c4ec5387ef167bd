//! The graph of the whole network: from bytes to what heads and the language model see.

use crate::{
    ModelError,
    head::Linear,
    matrix::transposed,
    onnx::{Dim, Element, GraphBuilder, MICROSOFT, Node},
};

use super::{
    blocks::{SHAPE_DIM, TEXTURE_BLOCK, TEXTURE_DIM},
    eight_bit::{Rounded, Span},
    folding::Convolutions,
    network::{Network, Taps},
};

mod activation;

/// Sides of a cell of the coarsest map, in cells of the texture map.
const SHUFFLE: usize = 2;
/// Numbers that describe one cell of sight: four cells of texture and one of shape.
pub const CELL_DIM: usize = SHUFFLE * SHUFFLE * TEXTURE_DIM + SHAPE_DIM;

/// Channels of the maps that describe a frame, and what pixels of input a side of their cells covers; see [`described`].
const DESCRIBED: [(usize, usize); 7] =
    [(144, 4), (240, 8), (40, 8), (80, 16), (112, 16), (TEXTURE_DIM, 16), (SHAPE_DIM, 32)];
const DESCRIBED_CHANNELS: usize = 144 + 240 + 40 + 80 + 112 + TEXTURE_DIM + SHAPE_DIM;
/// Numbers that describe a frame: of each of those channels the mean and the deviation.
pub const DESCRIPTION_DIM: usize = 2 * DESCRIBED_CHANNELS;

/// Names of the outputs.
pub(super) const DESCRIPTION: &str = "description";
pub(super) const CELLS: &str = "cells";
pub(super) const TOKENS: &str = "tokens";
pub(super) const ACTIVATIONS: &str = "activations";

/// A linear layer from the cells of sight to the embeddings of a language model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Connector {
    /// In floats.
    Floats {
        /// `[hidden, 3968]`, row-major; see [`CELL_DIM`].
        weight: Vec<f32>,
        /// `[hidden]`.
        bias: Vec<f32>,
    },
    /// In 8 bits, and so are the cells that it reads.
    EightBit(Rounded),
}

impl Connector {
    /// Returns the length of an embedding.
    pub(crate) const fn hidden(&self) -> usize {
        match self {
            Self::Floats { bias, .. } | Self::EightBit(Rounded { bias, .. }) => bias.len(),
        }
    }
}

/// Who reads what eyes see, beside whoever reads descriptions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readers<'a> {
    /// To a language model.
    pub(crate) connector: Option<&'a Connector>,
    /// A head on the description, `[labels, 5136]`, of which is asked where it sees what it names.
    pub(crate) head: Option<&'a Linear>,
}

/// Returns the graph from bytes to a description `[1, 5136]`, cells `[1, rows, cols, 3968]`, tokens `[1, rows, cols, hidden]` where there
/// is a connector, and activations `[1, 2 * rows, 2 * cols, labels]` where there is a head.
pub(super) fn build(weights: &dyn Convolutions, readers: Readers<'_>) -> Result<Vec<u8>, ModelError> {
    let mut network = Network::new(weights)?;
    let mut taps = Taps::default();
    let shape = network.whole(&mut taps)?;
    let texture = &taps.expansions[TEXTURE_BLOCK];
    // Pixel shuffle, as SmolVLM's connector does it: four neighbours become one cell, row by row.
    let shuffle = Node::new("SpaceToDepth", &[texture.as_str()], &["shuffled"]);
    network.graph.node(shuffle.size("blocksize", SHUFFLE));
    network.graph.node(Node::new("Concat", &["shuffled", shape.as_str()], &["joined"]).int("axis", 1));
    // CHW -> HWC
    network.graph.node(Node::new("Transpose", &["joined"], &[CELLS]).ints("perm", &[0, 2, 3, 1]));
    let dims = |dim| [Dim::Fixed(1), Dim::Named("rows"), Dim::Named("cols"), Dim::Fixed(dim)];
    network.graph.output(CELLS, Element::F32, &dims(CELL_DIM));
    let maps = described(&taps, &shape);
    describe(&mut network, &maps)?;
    if let Some(head) = readers.head {
        activation::activate(&mut network.graph, &maps, head)?;
    }
    if let Some(connector) = readers.connector {
        connect(&mut network.graph, connector)?;
        network.graph.output(TOKENS, Element::F32, &dims(connector.hidden()));
    }
    network.graph.into_bytes()
}

/// Returns the maps that describe a frame, finest first: those of the gate, and shapes.
fn described<'a>(taps: &'a Taps, shape: &'a str) -> [&'a str; 7] {
    let Taps { expansions, outputs } = taps;
    [&expansions[3], &expansions[5], &outputs[4], &outputs[7], &outputs[10], &expansions[TEXTURE_BLOCK], shape]
}

/// Adds the description: over all cells, the means of every channel of every map, then the deviations.
fn describe(network: &mut Network<'_>, maps: &[&str]) -> Result<(), ModelError> {
    let graph = &mut network.graph;
    graph.constant_i64("cells.axes", &[2], &[2, 3])?;
    let (mut means, mut deviations) = (Vec::new(), Vec::new());
    for map in maps {
        let [mean, square, mean_square, square_mean, variance, above, deviation] =
            ["mean", "square", "mean_square", "square_mean", "variance", "above", "deviation"]
                .map(|part| format!("{map}.{part}"));
        graph.node(Node::new("ReduceMean", &[*map, "cells.axes"], &[mean.as_str()]).int("keepdims", 0));
        graph.node(Node::new("Mul", &[*map, map], &[square.as_str()]));
        graph.node(
            Node::new("ReduceMean", &[square.as_str(), "cells.axes"], &[mean_square.as_str()]).int("keepdims", 0),
        );
        graph.node(Node::new("Mul", &[mean.as_str(), &mean], &[square_mean.as_str()]));
        graph.node(Node::new("Sub", &[mean_square, square_mean], &[variance.as_str()]));
        // Rounding makes the variance of a channel that never changes less than nothing.
        graph.node(Node::new("Relu", &[variance], &[above.as_str()]));
        graph.node(Node::new("Sqrt", &[above], &[deviation.as_str()]));
        means.push(mean);
        deviations.push(deviation);
    }
    means.extend(deviations);
    graph.node(Node::new("Concat", &means, &[DESCRIPTION]).int("axis", 1));
    graph.output(DESCRIPTION, Element::F32, &[Dim::Fixed(1), Dim::Fixed(DESCRIPTION_DIM)]);
    Ok(())
}

/// Adds the tokens.
fn connect(graph: &mut GraphBuilder, connector: &Connector) -> Result<(), ModelError> {
    let dims = [CELL_DIM, connector.hidden()];
    match connector {
        Connector::Floats { weight, bias } => {
            graph.constant_f32("connector.weight", &dims, &transposed(weight, CELL_DIM))?;
            graph.constant_f32("connector.bias", &dims[1..], bias)?;
            graph.node(Node::new("MatMul", &[CELLS, "connector.weight"], &["projected"]));
            graph.node(Node::new("Add", &["projected", "connector.bias"], &[TOKENS]));
        }
        Connector::EightBit(Rounded { weight, scale, bias }) => {
            graph.constant_i8("connector.weight", &dims, &transposed(weight, CELL_DIM))?;
            graph.constant_f32("connector.scale", &dims[1..], scale)?;
            graph.constant_i8("connector.zero", &dims[1..], &vec![0; dims[1]])?;
            graph.constant_f32("connector.bias", &dims[1..], bias)?;
            // Cells are activated maps.
            graph.constant_f32("cells.step", &[], &[Span::RELU6.step()])?;
            graph.constant_u8("cells.zero", &[], &[Span::RELU6.zero()])?;
            graph.node(Node::new("QuantizeLinear", &[CELLS, "cells.step", "cells.zero"], &["cells.bytes"]));
            let [weights, cells] = [["connector.scale", "connector.zero"], ["cells.step", "cells.zero"]];
            let inputs =
                ["cells.bytes", "connector.weight", cells[0], weights[0], cells[1], weights[1], "connector.bias"];
            graph.node(Node::new("MatMulIntegerToFloat", &inputs, &[TOKENS]).domain(MICROSOFT));
        }
    }
    Ok(())
}
