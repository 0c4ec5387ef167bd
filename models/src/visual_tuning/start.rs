//! Where the training of the language model starts.

use fastrand::Rng;

use crate::{
    ModelError,
    decoder::{Adapter, DecoderWeights, LayerAdapter},
    domain::Label,
    product::Matrix,
};

use super::{CONNECTOR_BIAS, CONNECTOR_WEIGHT, RANK, Survey, VisualTuner};

impl VisualTuner {
    /// Sets updates that add nothing yet, and whose first factors are random.
    pub(super) fn start_updates(&mut self) {
        let mut random = Rng::with_seed(self.options.seed);
        for layer in 0..self.config.layers {
            for (name, (inputs, outputs)) in LayerAdapter::names(layer).into_iter().zip(Adapter::sizes(&self.config)) {
                // Uniform numbers of deviation 1 / sqrt(inputs).
                let limit = (3.0 / inputs as f32).sqrt();
                let down = (0..inputs * RANK).map(|_| (2.0 * random.f32() - 1.0) * limit).collect();
                self.pupil.set(&format!("{name}.down"), &Matrix::new(down, RANK));
                self.pupil.set(&format!("{name}.up"), &Matrix::zeros(RANK, outputs));
            }
        }
    }

    /// Sets the connector to the probe of `survey`, written in the embeddings of the labels' words.
    pub(super) fn start_connector(
        &mut self,
        survey: &Survey,
        labels: &[Label],
        weights: &DecoderWeights<'_>,
    ) -> Result<(), ModelError> {
        let norm = mean_norm(&weights.embedding.to_f32(), self.config.hidden);
        let start = survey.connector((&self.directions(labels)?, norm), (&self.mean, &self.deviation))?;
        self.pupil.set(CONNECTOR_WEIGHT, &start.weights.transposed());
        self.pupil.set(CONNECTOR_BIAS, &Matrix::new(start.bias, self.config.hidden));
        Ok(())
    }

    /// Returns `[labels, hidden]`: the mean embeddings of the words of subject and of finding, each less that of all labels, added.
    pub(super) fn directions(&self, labels: &[Label]) -> Result<Matrix, ModelError> {
        let hidden = self.config.hidden;
        let mut sums = Matrix::zeros(labels.len(), hidden);
        for part in [|label: &Label| label.subject.clone(), |label: &Label| label.finding.clone()] {
            let means = labels.iter().map(|label| Ok(self.embedded(&self.words.ids(&part(label))?)?.means()));
            let means = Matrix::new(means.collect::<Result<Vec<_>, ModelError>>()?.concat(), hidden);
            let centre = means.means();
            for (row, mean) in means.iter().enumerate() {
                let sum = sums.row_mut(row).iter_mut().zip(mean).zip(&centre);
                sum.for_each(|((sum, value), centre)| *sum += value - centre);
            }
        }
        Ok(sums)
    }

    fn embedded(&self, ids: &[u32]) -> Result<Matrix, ModelError> {
        Ok(Matrix::new(self.pupil.embedded(ids)?, self.config.hidden))
    }
}

/// Returns the mean length of rows.
pub(super) fn mean_norm(values: &[f32], cols: usize) -> f32 {
    let norms = values.chunks_exact(cols).map(|row| row.iter().map(|value| value * value).sum::<f32>().sqrt());
    (norms.map(f64::from).sum::<f64>() / (values.len() / cols).max(1) as f64) as f32
}
