use crate::{
    CELL_DIM, FeatureMap, ModelError,
    encoder::{SHAPE_DIM, TEXTURE_DIM},
    head::{Linear, probe},
    product::{Matrix, means},
    tuning::FEATURE_DIM,
};

use super::start::mean_norm;

/// Factor of the squared weights of the probe that the connector starts from.
const PROBE_PENALTY: f64 = 1e-2;
/// Added to the deviation of a cell's value: one that hardly moves must not be blown up.
const LEAST_DEVIATION: f32 = 0.02;
/// Quarters of a cell, of whose textures it consists beside its shape.
const QUARTERS: usize = (CELL_DIM - SHAPE_DIM) / TEXTURE_DIM;

/// What is known of the plain pictures of a training part before the first step.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Of each value of a cell: sum and sum of squares over all cells.
    sums: Vec<[f64; 2]>,
    cells: usize,
    /// `[pictures, 1952]`, means over the cells of a picture.
    features: Vec<f32>,
    labels: Vec<usize>,
}

impl Default for Survey {
    fn default() -> Self {
        Self { sums: vec![[0.0; 2]; CELL_DIM], cells: 0, features: Vec::new(), labels: Vec::new() }
    }
}

impl Survey {
    /// Adds what the eyes saw of one picture, `[rows, cols, 3968]`, of the label of that index.
    pub fn add(&mut self, cells: &FeatureMap, label: usize) {
        for cell in cells.values.chunks_exact(CELL_DIM) {
            for ([sum, squares], &value) in self.sums.iter_mut().zip(cell) {
                *sum += f64::from(value);
                *squares += f64::from(value).powi(2);
            }
            self.cells += 1;
        }
        let mean = means(&cells.values, CELL_DIM);
        let (quarters, shape) = mean.split_at(QUARTERS * TEXTURE_DIM);
        self.features.extend(means(quarters, TEXTURE_DIM));
        self.features.extend_from_slice(shape);
        self.labels.push(label);
    }

    /// Returns mean and deviation, each `[3968]`, that cells are standardised by.
    pub(super) fn scale(&self) -> (Vec<f32>, Vec<f32>) {
        let count = self.cells.max(1) as f64;
        let scale = self.sums.iter().map(|[sum, squares]| {
            let mean = sum / count;
            (mean as f32, (squares / count - mean * mean).max(0.0).sqrt() as f32 + LEAST_DEVIATION)
        });
        scale.unzip()
    }

    /// Returns the connector of standardised cells, `[hidden, 3968]`, that training starts from: the evidence of a probe for each label times the
    /// direction of the label, `[labels, hidden]`, in every cell. A picture's token is then as long as an embedding, `norm`, on average.
    ///
    /// # Errors
    /// When a label has no picture.
    pub(super) fn connector(
        &self,
        (directions, norm): (&Matrix, f32),
        (mean, deviation): (&[f32], &[f32]),
    ) -> Result<Linear, ModelError> {
        let features = || Matrix::new(self.features.clone(), FEATURE_DIM);
        let probe = probe(features(), &self.labels, directions.rows(), PROBE_PENALTY)?;
        let mut evidence = probe.logits(&features());
        let centre = evidence.means();
        for row in 0..evidence.rows() {
            evidence.row_mut(row).iter_mut().zip(&centre).for_each(|(value, centre)| *value -= centre);
        }
        let factor = norm / mean_norm(evidence.times(directions).values(), directions.cols()).max(f32::EPSILON);
        let mut by_cell = directions.transposed().times(&by_cell(&probe.weights));
        let shift: Vec<f32> = probe.bias.iter().zip(&centre).map(|(bias, centre)| bias - centre).collect();
        let shift = Matrix::new(shift, directions.rows()).times(directions);
        let bias = (0..by_cell.rows()).map(|row| {
            let at_mean: f32 = by_cell.row(row).iter().zip(mean).map(|(weight, mean)| weight * mean).sum();
            factor * (at_mean + shift.values()[row])
        });
        let bias = bias.collect();
        for row in 0..by_cell.rows() {
            by_cell
                .row_mut(row)
                .iter_mut()
                .zip(deviation)
                .for_each(|(weight, deviation)| *weight *= factor * deviation);
        }
        Ok(Linear { weights: by_cell, bias })
    }
}

/// Returns a probe of features, `[labels, 1952]`, as one of cells, `[labels, 3968]`, whose mean over the cells is the same.
fn by_cell(probe: &Matrix) -> Matrix {
    let row = |row: &[f32]| {
        let (texture, shape) = row.split_at(TEXTURE_DIM);
        let quarter = texture.iter().map(|weight| weight / QUARTERS as f32).collect::<Vec<_>>();
        [quarter.repeat(QUARTERS).as_slice(), shape].concat()
    };
    Matrix::new(probe.iter().flat_map(row).collect(), CELL_DIM)
}
