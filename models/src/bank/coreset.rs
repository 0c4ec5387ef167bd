use crate::product::{Matrix, dot};

use super::random::Random;

/// Coordinates in which the choice is made: distances survive a random projection (Johnson and Lindenstrauss).
const SKETCH: usize = 16;

/// Returns the indices of `count` rows that cover all rows: greedy k-centre (Gonzalez 1985) on a random projection. All
/// rows where there are no more.
pub(super) fn cover(rows: &Matrix, count: usize, random: &mut Random) -> Vec<usize> {
    if rows.rows() <= count {
        return (0..rows.rows()).collect();
    }
    let projection = Matrix::new((0..rows.cols() * SKETCH).map(|_| random.signed()).collect(), SKETCH);
    let sketch = rows.times(&projection);
    let squares: Vec<f32> = sketch.iter().map(|row| dot(row, row)).collect();
    let mut uncovered = vec![f32::INFINITY; rows.rows()];
    let mut chosen = Vec::with_capacity(count);
    let mut next = random.below(rows.rows());
    while chosen.len() < count {
        chosen.push(next);
        let (centre, square) = (sketch.row(next), squares[next]);
        let mut farthest = 0.0;
        for (index, (row, gap)) in sketch.iter().zip(&mut uncovered).enumerate() {
            *gap = gap.min(squares[index] + square - 2.0 * dot(row, centre));
            if *gap > farthest {
                (farthest, next) = (*gap, index);
            }
        }
        if farthest <= 0.0 {
            break;
        }
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_every_cluster_with_few_rows() {
        let mut random = Random::new(5);
        // 400 rows in four clusters, one of them a single row.
        let row = |i: usize, random: &mut Random| {
            let cluster = if i == 399 { 3 } else { i % 3 };
            let mut row = [0.0; 8];
            row[cluster] = 100.0;
            row.map(|value| value + random.signed())
        };
        let rows = Matrix::new((0..400).flat_map(|i| row(i, &mut random)).collect(), 8);
        let chosen = cover(&rows, 4, &mut random);
        assert!(chosen.contains(&399), "{chosen:?}");
        let clusters: std::collections::BTreeSet<_> = chosen.iter().filter(|&&i| i != 399).map(|i| i % 3).collect();
        assert_eq!(clusters.len(), 3);
    }

    #[test]
    fn stops_when_all_rows_are_covered() {
        let rows = Matrix::new(vec![1.0; 300], 3);
        assert_eq!(cover(&rows, 10, &mut Random::new(1)).len(), 1);
        assert_eq!(cover(&rows, 1000, &mut Random::new(1)).len(), 100);
    }
}
