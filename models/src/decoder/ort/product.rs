//! Matrix products of the decoder's graph, with weights exactly as they are stored.

use crate::{
    ModelError,
    error::check_finite,
    matrix::{BLOCK_LEN, Matrix, transposed},
    onnx::{MICROSOFT, Node},
};

use super::{
    super::Activations,
    graph::Builder,
    packing::{EightBit, FourBit},
};

/// What `MatMulNBits` calls its ways to compute: products of floats, and of 8-bit integers block by block.
const FLOAT_PRODUCTS: i64 = 1;
const INT8_PRODUCTS: i64 = 4;

/// A product of quantised blocks.
struct BlockProduct<'a> {
    /// Name of the packed weights; that of the result, too, unless something is added to it.
    name: &'a str,
    output: &'a str,
    input: &'a str,
    bits: usize,
    scales: &'a [f32],
}

impl Builder<'_> {
    /// Adds the product of `input` with stacked matrices; returns `name`, that of the result.
    ///
    /// # Errors
    /// When a weight is not finite, or the graph's data cannot be written.
    pub(super) fn linear(&mut self, name: &str, matrices: &[Matrix<'_>], input: &str) -> Result<String, ModelError> {
        let inputs = matrices.first().map_or(0, |matrix| matrix.row_len);
        if let Some(packed) = FourBit::stacked(matrices) {
            self.four_bit((name, input), inputs, &packed)?;
        } else if let Some(EightBit { quants, scales }) = EightBit::stacked(matrices) {
            let sizes = [scales.len() * BLOCK_LEN / inputs, inputs / BLOCK_LEN, BLOCK_LEN];
            self.graph.constant_u8(&format!("{name}.quants"), &sizes, &quants)?;
            self.blocks(&BlockProduct { name, output: name, input, bits: 8, scales: &scales }, inputs)?;
        } else {
            self.floats((name, input), inputs, matrices)?;
        }
        Ok(name.to_owned())
    }

    fn four_bit(&mut self, (name, input): (&str, &str), inputs: usize, packed: &FourBit) -> Result<(), ModelError> {
        let FourBit { quants, scales, offsets } = packed;
        let blocks = inputs / BLOCK_LEN;
        let outputs = scales.len() / blocks;
        check_weights(name, offsets)?;
        self.graph.constant_u8(&format!("{name}.quants"), &[outputs, blocks, BLOCK_LEN / 2], quants)?;
        let centred = format!("{name}.centred");
        let output = if packed.is_centred() { name } else { &centred };
        self.blocks(&BlockProduct { name, output, input, bits: 4, scales }, inputs)?;
        if !packed.is_centred() {
            let shift = self.offsets((name, input), [outputs, blocks], offsets)?;
            self.graph.node(Node::new("Add", &[&centred, &shift], &[name]));
        }
        Ok(())
    }

    fn blocks(&mut self, product: &BlockProduct<'_>, inputs: usize) -> Result<(), ModelError> {
        let BlockProduct { name, output, input, bits, scales } = *product;
        check_weights(name, scales)?;
        let (quants, scales_name) = (format!("{name}.quants"), format!("{name}.scales"));
        let outputs = scales.len() * BLOCK_LEN / inputs;
        self.graph.constant_f32(&scales_name, &[outputs, inputs / BLOCK_LEN], scales)?;
        let accuracy = match self.activations {
            Activations::Exact => FLOAT_PRODUCTS,
            Activations::Rounded => INT8_PRODUCTS,
        };
        let node = Node::new("MatMulNBits", &[input, &quants, &scales_name], &[output])
            .domain(MICROSOFT)
            .size("K", inputs)
            .size("N", outputs)
            .size("bits", bits)
            .size("block_size", BLOCK_LEN)
            .int("accuracy_level", accuracy);
        self.graph.node(node);
        Ok(())
    }

    /// Adds the product of block sums of `input` with `offsets`, `[outputs, blocks]`; returns the name of the result.
    fn offsets(
        &mut self,
        (name, input): (&str, &str),
        [outputs, blocks]: [usize; 2],
        offsets: &[f32],
    ) -> Result<String, ModelError> {
        let [in_blocks, sums, constant, shift] =
            ["in_blocks", "sums", "offsets", "shift"].map(|part| format!("{name}.{part}"));
        self.graph.node(Node::new("Reshape", &[input, "in_blocks"], &[&in_blocks]));
        self.graph.node(Node::new("ReduceSum", &[&in_blocks, "last"], &[&sums]).int("keepdims", 0));
        self.graph.constant_f32(&constant, &[blocks, outputs], &transposed(offsets, blocks))?;
        self.graph.node(Node::new("MatMul", &[&sums, &constant], &[&shift]));
        Ok(shift)
    }

    fn floats(
        &mut self,
        (name, input): (&str, &str),
        inputs: usize,
        matrices: &[Matrix<'_>],
    ) -> Result<(), ModelError> {
        let values: Vec<f32> = matrices.iter().flat_map(Matrix::to_f32).collect();
        check_weights(name, &values)?;
        let (weight, outputs) = (format!("{name}.weight"), values.len() / inputs.max(1));
        self.graph.constant_f32(&weight, &[inputs, outputs], &transposed(&values, inputs))?;
        self.graph.node(Node::new("MatMul", &[input, &weight], &[name]));
        Ok(())
    }
}

fn check_weights(name: &str, values: &[f32]) -> Result<(), ModelError> {
    check_finite(format!("weights of {name}"), "finite values", values)
}
