//! From what was trained to what a domain keeps.

use crate::{
    CELL_DIM, ModelError,
    decoder::{Adapter, DecoderConfig, LayerAdapter, LowRank, Rotary},
    domain::Tongue,
    encoder::Connector,
    product::Matrix,
};

use super::{CONNECTOR_BIAS, CONNECTOR_WEIGHT, VisualTuner};

impl VisualTuner {
    /// Returns what the averaged weights have become: what lets the language model see by the eyes that the cells are of.
    ///
    /// # Errors
    /// When the device fails.
    pub fn tongue(&self) -> Result<Tongue, ModelError> {
        let (weight, bias) = (self.pupil.average(CONNECTOR_WEIGHT)?.transposed(), self.pupil.average(CONNECTOR_BIAS)?);
        // Cells as the eyes give them: their standardisation is folded in.
        let raw: Vec<f32> =
            weight.iter().flat_map(|row| row.iter().zip(&self.deviation).map(|(w, deviation)| w / deviation)).collect();
        let shift = Matrix::new(raw.clone(), CELL_DIM).times(&Matrix::new(self.mean.clone(), 1));
        let bias = bias.values().iter().zip(shift.values()).map(|(bias, shift)| bias - shift).collect();
        let layers = (0..self.config.layers).map(|layer| self.layer(layer)).collect::<Result<_, _>>()?;
        Ok(Tongue::new(Connector::Floats { weight: raw, bias }, Adapter { layers }))
    }

    fn layer(&self, layer: usize) -> Result<LayerAdapter, ModelError> {
        let [qkv, output] = LayerAdapter::names(layer);
        let [qkv_sizes, output_sizes] = Adapter::sizes(&self.config);
        let trained: Vec<usize> = (0..qkv_sizes.1).map(|row| parted(&self.config, row)).collect();
        let as_is: Vec<usize> = (0..output_sizes.1).collect();
        Ok(LayerAdapter {
            query_key_value: self.low_rank(&qkv, qkv_sizes, &trained)?,
            attention_output: self.low_rank(&output, output_sizes, &as_is)?,
        })
    }

    /// Returns the update of a layer whose outputs `order` names by where they were trained.
    fn low_rank(&self, name: &str, sizes: (usize, usize), order: &[usize]) -> Result<LowRank, ModelError> {
        let down = self.pupil.average(&format!("{name}.down"))?.transposed();
        let up = self.pupil.average(&format!("{name}.up"))?.transposed();
        LowRank::new(sizes, down.values().to_vec(), up.select(order).values())
    }
}

/// Returns where the decoder on burn keeps the output `row` of query, key and value: where rotary embedding turns neighbours, it keeps even ones
/// of a head in front of odd ones.
fn parted(config: &DecoderConfig, row: usize) -> usize {
    let is_turned = row < config.attention_len() + config.kv_len();
    if config.rotary == Rotary::Halves || !is_turned {
        return row;
    }
    let (head, within) = (row / config.head_dim, row % config.head_dim);
    head * config.head_dim + within % 2 * (config.head_dim / 2) + within / 2
}
