use half::{f16, slice::HalfFloatSliceExt as _};

use crate::product::Matrix;

/// Added to a channel's spread: a channel that good cells never move must not turn noise into a defect.
const SPREAD_FLOOR: f32 = 1e-3;

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bank) enum Label {
    /// A good part.
    Good,
    /// A painted defect.
    Defect,
}

/// Cells to learn from, in half precision: there are a hundred thousand.
#[derive(Debug)]
pub(in crate::bank) struct Examples {
    channels: usize,
    values: Vec<f16>,
    labels: Vec<Label>,
    /// The golden picture that each came from.
    pictures: Vec<usize>,
}

impl Examples {
    /// Returns no examples yet.
    pub(in crate::bank) const fn new() -> Self {
        Self { channels: 0, values: Vec::new(), labels: Vec::new(), pictures: Vec::new() }
    }

    /// Adds rows of `cells`, all with the same number of channels.
    pub(in crate::bank) fn add(&mut self, cells: &Matrix, rows: &[usize], (label, picture): (Label, usize)) {
        self.channels = cells.cols();
        for &row in rows {
            let start = self.values.len();
            self.values.resize(start + self.channels, f16::ZERO);
            self.values[start..].convert_from_f32_slice(cells.row(row));
            self.labels.push(label);
            self.pictures.push(picture);
        }
    }

    /// Returns which examples are of pictures that `keeps` does not refuse.
    pub(in crate::bank) fn of_pictures(&self, keeps: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..self.pictures.len()).filter(|&example| keeps(self.pictures[example])).collect()
    }

    /// Returns how many numbers describe an example.
    pub(super) const fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn label(&self, example: usize) -> Label {
        self.labels[example]
    }

    /// Writes an example to `cell`.
    pub(super) fn copy(&self, example: usize, cell: &mut [f32]) {
        self.values[example * self.channels..][..self.channels].convert_to_f32_slice(cell);
    }

    /// Returns the mean and the spread of each channel over the good ones of `examples`.
    pub(super) fn mean_and_spread(&self, examples: &[usize]) -> [Vec<f32>; 2] {
        let mut cell = vec![0.0; self.channels];
        let mut sums = vec![[0.0_f64; 2]; self.channels];
        let mut count = 0.0_f64;
        for &example in examples.iter().filter(|&&example| self.label(example) == Label::Good) {
            self.copy(example, &mut cell);
            count += 1.0;
            for ([sum, squares], &value) in sums.iter_mut().zip(&cell) {
                let value = f64::from(value);
                (*sum, *squares) = (*sum + value, *squares + value * value);
            }
        }
        let count = count.max(1.0);
        let mean = sums.iter().map(|[sum, _]| (sum / count) as f32).collect();
        let variance = |[sum, squares]: &[f64; 2]| (squares / count - (sum / count).powi(2)).max(0.0);
        [mean, sums.iter().map(|sums| variance(sums).sqrt() as f32 + SPREAD_FLOOR).collect()]
    }
}
