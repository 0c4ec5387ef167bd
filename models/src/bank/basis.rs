//! The coordinates in which cells are compared: every channel in units of its spread over golden cells, then the directions
//! of largest variance.

use crate::product::{Matrix, dot};

use super::random::Random;

/// Added to a channel's spread: a channel that golden cells never move must not turn noise into a defect.
const SPREAD_FLOOR: f32 = 1e-3;
/// Rounds of orthogonal iteration; the subspace, not its single axes, must settle.
const ROUNDS: usize = 12;

/// An affine map from feature channels to fewer coordinates.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Basis {
    /// One mean a channel.
    pub(super) mean: Vec<f32>,
    /// `[channels, coordinates]`, the division by the spread included.
    pub(super) projection: Matrix,
}

impl Basis {
    /// Returns the basis of `cells`, at most `coordinates` wide.
    pub(super) fn learn(cells: &Matrix, coordinates: usize, random: &mut Random) -> Self {
        let mean = cells.means();
        let spread: Vec<f32> = cells.deviations(&mean).into_iter().map(|spread| spread + SPREAD_FLOOR).collect();
        let standard = cells.standardised(&mean, &spread);
        let covariance = standard.transposed().times(&standard);
        let size = [coordinates.min(cells.cols()), cells.cols()];
        let axes = leading_axes(size, random, |axes| axes.times(&covariance));
        let mut projection = axes.transposed();
        for (channel, spread) in spread.iter().enumerate() {
            projection.row_mut(channel).iter_mut().for_each(|weight| *weight /= spread);
        }
        Self { mean, projection }
    }

    /// Returns the coordinates of `cells`, rows of as many channels as the basis has means.
    pub(super) fn coordinates(&self, cells: &[f32]) -> Matrix {
        let channels = self.mean.len();
        let centred = cells.chunks_exact(channels).flat_map(|cell| cell.iter().zip(&self.mean).map(|(v, m)| v - m));
        Matrix::new(centred.collect(), channels).times(&self.projection)
    }
}

/// Returns `[count, dim]` orthonormal rows that span the leading eigenvectors of a symmetric matrix, by orthogonal iteration (Golub
/// and Van Loan, Matrix Computations, 8.2.4); `times_matrix` returns the product of rows and the matrix.
pub(crate) fn leading_axes(
    [count, dim]: [usize; 2],
    random: &mut Random,
    times_matrix: impl Fn(&Matrix) -> Matrix,
) -> Matrix {
    let mut axes = Matrix::new((0..count * dim).map(|_| random.signed()).collect(), dim);
    for _ in 0..ROUNDS {
        axes = orthonormal(times_matrix(&axes));
    }
    axes
}

/// Returns rows of unit length at right angles to each other, by two rounds of modified Gram-Schmidt.
fn orthonormal(mut rows: Matrix) -> Matrix {
    for index in 0..rows.rows() {
        let mut row = rows.row(index).to_vec();
        for _ in 0..2 {
            for earlier in 0..index {
                let along = dot(&row, rows.row(earlier));
                row.iter_mut().zip(rows.row(earlier)).for_each(|(value, axis)| *value -= along * axis);
            }
        }
        let length = dot(&row, &row).sqrt();
        // Golden cells that vary in fewer directions leave the last axes empty.
        let scale = if length > f32::MIN_POSITIVE { 1.0 / length } else { 0.0 };
        rows.row_mut(index).iter_mut().zip(&row).for_each(|(value, new)| *value = new * scale);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_plane_in_which_cells_vary() {
        let mut random = Random::new(1);
        // Three channels, the third is the sum of the others: two coordinates hold everything.
        let cells = (0..500).flat_map(|_| {
            let (a, b) = (random.signed() * 5.0, random.signed());
            [a + 1.0, b, a + b]
        });
        let cells = Matrix::new(cells.collect(), 3);
        let basis = Basis::learn(&cells, 2, &mut random);
        let coordinates = basis.coordinates(cells.values());
        assert_eq!((coordinates.rows(), coordinates.cols()), (500, 2));
        let spread = cells.deviations(&basis.mean);
        for pair in [(0, 1), (10, 400), (7, 8)] {
            let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
            let scaled = |i: usize| cells.row(i).iter().zip(&spread).map(|(v, s)| v / s).collect::<Vec<_>>();
            let (full, projected) =
                (apart(&scaled(pair.0), &scaled(pair.1)), apart(coordinates.row(pair.0), coordinates.row(pair.1)));
            assert!((full - projected).abs() < 0.02 * full + 1e-3, "{full} {projected}");
        }
    }

    #[test]
    fn survives_cells_that_never_vary() {
        let cells = Matrix::new(vec![2.0; 40], 4);
        let basis = Basis::learn(&cells, 3, &mut Random::new(1));
        assert!(basis.coordinates(cells.values()).values().iter().all(|value| value.abs() < 1e-3));
    }
}
