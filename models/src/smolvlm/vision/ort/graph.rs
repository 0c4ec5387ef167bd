//! The vision encoder and the connector as one ONNX graph: bytes of frames in, rows of the language model's space out.

use crate::{
    ModelError,
    matrix::transposed,
    onnx::{Dim, Element, GraphBuilder, MICROSOFT, Node},
};

use super::super::{
    PREFIX, PROJECTION,
    patches::{self, CHANNELS},
};
use crate::smolvlm::{Tensors, VlmConfig};

/// Raised whenever the graph changes, so that cached graphs of older builds are not taken.
pub(super) const GRAPH_VERSION: u32 = 2;
/// Frames as bytes, `[frames, side, side, 3]`, red, green, blue.
pub(super) const INPUT: &str = "pixels";
/// Image tokens, `[frames, tokens, hidden of the language model]`.
pub(super) const OUTPUT: &str = "features";

/// Adds encoder and connector to `graph`.
///
/// # Errors
/// When a tensor is absent, of another shape or not finite, or the graph's data cannot be written.
pub(super) fn add_vision(
    graph: &mut GraphBuilder,
    (weights, config): (&dyn Tensors, &VlmConfig),
) -> Result<(), ModelError> {
    let mut builder = Builder { graph, weights, config };
    builder.declare();
    let mut state = State { residual: builder.patches()?, branch: None };
    for layer in 0..config.vision.layers {
        state = builder.layer(layer, &state)?;
    }
    builder.connector(&state)
}

/// The residual stream between blocks: what has been added up, and what the last block wants to add.
struct State {
    residual: String,
    branch: Option<Branch>,
}

/// The result of a linear layer whose bias is still to be added.
struct Branch {
    product: String,
    bias: String,
}

struct Builder<'a> {
    graph: &'a mut GraphBuilder,
    weights: &'a dyn Tensors,
    config: &'a VlmConfig,
}

impl Builder<'_> {
    fn declare(&mut self) {
        let side = Dim::Fixed(self.config.vision.image_px);
        let frames = Dim::Named("frames");
        self.graph.input(INPUT, Element::U8, &[frames, side, side, Dim::Fixed(CHANNELS)]);
        let tokens = Dim::Fixed(self.config.tokens_per_frame());
        self.graph.output(OUTPUT, Element::F32, &[frames, tokens, Dim::Fixed(self.config.text.hidden)]);
    }

    /// Cuts frames into patches and embeds them. The convolution of the reference has its stride equal to its kernel, so
    /// it is one matrix product over patches; the normalisation `x / 127.5 - 1` goes into its weights.
    fn patches(&mut self) -> Result<String, ModelError> {
        let (side, patch) = (self.config.vision.side_patches(), self.config.vision.patch_px);
        let seen = (side * patch).cast_signed() as i64;
        self.graph.constant_i64("seen.start", &[2], &[0, 0])?;
        self.graph.constant_i64("seen.end", &[2], &[seen, seen])?;
        self.graph.constant_i64("seen.axes", &[2], &[1, 2])?;
        self.graph.node(Node::new("Slice", &[INPUT, "seen.start", "seen.end", "seen.axes"], &["seen"]));
        let grid = self.reshape("seen", "grid", &[0, side, patch, side, patch * CHANNELS])?;
        // [frames, row, y, column, (x, channel)] -> [frames, row, column, y, (x, channel)]
        self.graph.node(Node::new("Transpose", &[&grid], &["cut"]).ints("perm", &[0, 1, 3, 2, 4]));
        let patches = self.reshape("cut", "patches", &[0, side * side, self.config.vision.patch_len()])?;
        self.graph.node(Node::new("Cast", &[&patches], &["values"]).int("to", Element::F32 as i64));
        let (hidden, patch_len) = (self.config.vision.hidden, self.config.vision.patch_len());
        let patches::Weights { kernels, offset } = patches::Weights::read((self.weights, self.config))?;
        self.graph.constant_f32("patch.weight", &[patch_len, hidden], &transposed(&kernels, patch_len))?;
        self.graph.constant_f32("patch.offset", &[side * side, hidden], &offset)?;
        self.graph.node(Node::new("MatMul", &["values", "patch.weight"], &["patch.product"]));
        self.graph.node(Node::new("Add", &["patch.product", "patch.offset"], &["embedded"]));
        Ok("embedded".to_owned())
    }

    fn layer(&mut self, layer: usize, state: &State) -> Result<State, ModelError> {
        let name = |part: &str| format!("{PREFIX}.encoder.layers.{layer}.{part}");
        let (normed, residual) = self.add_and_norm(&name("layer_norm1"), state)?;
        let branch = Some(self.attention(&name("self_attn"), &normed)?);
        let (normed, residual) = self.add_and_norm(&name("layer_norm2"), &State { residual, branch })?;
        let branch = Some(self.feed_forward(&name("mlp"), &normed)?);
        Ok(State { residual, branch })
    }

    /// Adds the pending branch with its bias to the residual stream and normalises; returns the names of both results.
    fn add_and_norm(&mut self, name: &str, state: &State) -> Result<(String, String), ModelError> {
        let hidden = self.config.vision.hidden;
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        for constant in [&weight, &bias] {
            let values = self.weights.read(constant, &[hidden])?;
            self.graph.constant_f32(constant, &[hidden], &values)?;
        }
        let epsilon = self.config.vision.norm_epsilon;
        let residual = match &state.branch {
            None => state.residual.clone(),
            Some(branch) => self.add(name, (&state.residual, branch)),
        };
        let node = Node::new("LayerNormalization", &[&residual, &weight, &bias], &[name]);
        self.graph.node(node.int("axis", -1).float("epsilon", epsilon));
        Ok((name.to_owned(), residual))
    }

    /// Adds a branch with its bias to the residual stream. ONNX Runtime fuses this with the normalisation behind it on the CPU;
    /// others do not know the fused operator with its sum.
    fn add(&mut self, name: &str, (residual, branch): (&str, &Branch)) -> String {
        let (biased, sum) = (format!("{name}.biased"), format!("{name}.sum"));
        self.graph.node(Node::new("Add", &[&branch.product, &branch.bias], &[&biased]));
        self.graph.node(Node::new("Add", &[residual, &biased], &[&sum]));
        sum
    }

    /// Full attention between all patches of a frame. One product makes queries, keys and values; their biases are added
    /// inside the fused operator.
    fn attention(&mut self, name: &str, input: &str) -> Result<Branch, ModelError> {
        let hidden = self.config.vision.hidden;
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for part in ["q_proj", "k_proj", "v_proj"] {
            weights.extend(self.weights.read(&format!("{name}.{part}.weight"), &[hidden, hidden])?);
            biases.extend(self.weights.read(&format!("{name}.{part}.bias"), &[hidden])?);
        }
        let names = ["bias", "qkv", "q", "k", "v", "attended"].map(|part| format!("{name}.{part}"));
        let [bias, qkv, q, k, v, attended] = &names;
        self.graph.constant_f32(bias, &[3 * hidden], &biases)?;
        self.product(qkv, input, &weights, [hidden, 3 * hidden])?;
        self.graph.node(Node::new("Split", &[qkv], &[q, k, v]).int("axis", -1).int("num_outputs", 3));
        let node = Node::new("MultiHeadAttention", &[q, k, v, bias], &[attended]).domain(MICROSOFT);
        self.graph.node(node.size("num_heads", self.config.vision.heads));
        self.linear(&format!("{name}.out_proj"), attended, [hidden, hidden])
    }

    fn feed_forward(&mut self, name: &str, input: &str) -> Result<Branch, ModelError> {
        let (hidden, inner) = (self.config.vision.hidden, self.config.vision.feed_forward);
        let up = self.linear(&format!("{name}.fc1"), input, [hidden, inner])?;
        let activated = format!("{name}.activated");
        // The operator adds the bias and takes the tanh approximation, as the reference does.
        self.graph.node(Node::new("FastGelu", &[&up.product, &up.bias], &[&activated]).domain(MICROSOFT));
        self.linear(&format!("{name}.fc2"), &activated, [inner, hidden])
    }

    /// Adds a linear layer of `sizes` (inputs, outputs); its bias is left to the operator that comes next.
    fn linear(&mut self, name: &str, input: &str, sizes: [usize; 2]) -> Result<Branch, ModelError> {
        let [inputs, outputs] = sizes;
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        let values = self.weights.read(&bias, &[outputs])?;
        self.graph.constant_f32(&bias, &[outputs], &values)?;
        let matrix = self.weights.read(&weight, &[outputs, inputs])?;
        self.product(name, input, &matrix, sizes)?;
        Ok(Branch { product: name.to_owned(), bias })
    }

    /// Adds the product of `input` with `matrix`, `[outputs, inputs]`.
    fn product(&mut self, output: &str, input: &str, matrix: &[f32], sizes: [usize; 2]) -> Result<(), ModelError> {
        let [inputs, outputs] = sizes;
        let weight = format!("{output}.matrix");
        self.graph.constant_f32(&weight, &[inputs, outputs], &transposed(matrix, inputs))?;
        self.graph.node(Node::new("MatMul", &[input, &weight], &[output]));
        Ok(())
    }

    /// Joins squares of patches to one token each (row, column, channel; row-major) and projects them.
    fn connector(&mut self, state: &State) -> Result<(), ModelError> {
        let (normed, _) = self.add_and_norm(&format!("{PREFIX}.post_layernorm"), state)?;
        let (square, hidden) = (self.config.shuffle, self.config.vision.hidden);
        let tokens = self.config.vision.side_patches() / square;
        let grid = self.reshape(&normed, "squares", &[0, tokens, square, tokens, square * hidden])?;
        self.graph.node(Node::new("Transpose", &[&grid], &["shuffled"]).ints("perm", &[0, 1, 3, 2, 4]));
        let sizes = [self.config.shuffled_len(), self.config.text.hidden];
        let rows = self.reshape("shuffled", "joined", &[0, tokens * tokens, sizes[0]])?;
        let matrix = self.weights.read(PROJECTION, &[sizes[1], sizes[0]])?;
        self.product(OUTPUT, &rows, &matrix, sizes)
    }

    /// Adds a change of shape, in which 0 keeps a dimension; returns the name of its result.
    fn reshape(&mut self, input: &str, output: &str, dims: &[usize]) -> Result<String, ModelError> {
        let shape = format!("{output}.shape");
        let dims: Vec<i64> = dims.iter().map(|&dim| dim.cast_signed() as i64).collect();
        self.graph.constant_i64(&shape, &[dims.len()], &dims)?;
        self.graph.node(Node::new("Reshape", &[input, &shape], &[output]));
        Ok(output.to_owned())
    }
}
