//! Matrix products and nearest neighbours on row-major `f32` matrices.

use std::thread;

/// Rows of one matrix that are compared at a time: their distances to thousands of items stay in the second-level cache.
const BLOCK_ROWS: usize = 32;
/// Accumulators of the minimum: as many as a 512-bit register holds.
const LANES: usize = 16;

/// Rows of equal length, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    values: Vec<f32>,
    cols: usize,
}

impl Matrix {
    /// Returns the matrix over `values`; a last row that is not complete is dropped.
    pub(crate) fn new(mut values: Vec<f32>, cols: usize) -> Self {
        let cols = cols.max(1);
        values.truncate(values.len() / cols * cols);
        Self { values, cols }
    }

    pub(crate) fn zeros(rows: usize, cols: usize) -> Self {
        Self::new(vec![0.0; rows * cols], cols)
    }

    pub(crate) fn rows(&self) -> usize {
        self.values.len() / self.cols
    }

    pub(crate) const fn cols(&self) -> usize {
        self.cols
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.cols..][..self.cols]
    }

    pub(crate) fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.values[index * self.cols..][..self.cols]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.cols)
    }

    /// Returns the rows at `indices`.
    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        Self::new(indices.iter().flat_map(|&index| self.row(index)).copied().collect(), self.cols)
    }

    /// Returns `self * other`.
    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut product = Self::zeros(self.rows(), other.cols);
        multiply(&self.values, &other.values, [self.rows(), self.cols, other.cols], Order::AsIs, &mut product.values);
        product
    }

    /// Returns `self * other` for a `self` that is handed over transposed: `[shared, rows]` times `[shared, cols]`.
    pub(crate) fn transposed_times(&self, other: &Self) -> Self {
        let mut product = Self::zeros(self.cols, other.cols);
        let shape = [self.cols, self.rows(), other.cols];
        multiply(&self.values, &other.values, shape, Order::LeftTransposed, &mut product.values);
        product
    }

    /// Returns the mean of each column; 0 without rows.
    pub(crate) fn means(&self) -> Vec<f32> {
        means(&self.values, self.cols)
    }

    /// Returns the rows in units of `scales` from `means`, one of each a column.
    pub(crate) fn standardised(&self, means: &[f32], scales: &[f32]) -> Self {
        let units = self
            .iter()
            .flat_map(|row| row.iter().zip(means).zip(scales).map(|((value, mean), scale)| (value - mean) / scale));
        Self::new(units.collect(), self.cols)
    }

    /// Returns the standard deviation of each column around its mean, over all rows; 0 without rows.
    pub(crate) fn deviations(&self, means: &[f32]) -> Vec<f32> {
        let mut squares = vec![0.0_f64; self.cols];
        for row in self.iter() {
            for ((square, &value), &mean) in squares.iter_mut().zip(row).zip(means) {
                *square += f64::from(value - mean).powi(2);
            }
        }
        squares.into_iter().map(|square| (square / self.rows().max(1) as f64).sqrt() as f32).collect()
    }

    pub(crate) fn transposed(&self) -> Self {
        let (rows, cols) = (self.rows(), self.cols);
        let values = (0..cols).flat_map(|col| (0..rows).map(move |row| self.values[row * cols + col])).collect();
        Self::new(values, rows)
    }
}

/// Returns the mean of each of `cols` columns of `values`, whole rows; 0 without rows.
pub(crate) fn means(values: &[f32], cols: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; cols];
    let rows = values.chunks_exact(cols.max(1));
    let count = rows.len().max(1) as f64;
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// How the matrices of a product lie in memory.
#[derive(Debug, Clone, Copy)]
enum Order {
    AsIs,
    LeftTransposed,
    RightTransposed,
}

/// Writes `left [m, k] * right [k, n]` to `out [m, n]`.
fn multiply(left: &[f32], right: &[f32], [m, k, n]: [usize; 3], order: Order, out: &mut [f32]) {
    assert!(left.len() == m * k && right.len() == k * n && out.len() == m * n, "matrices fill their shapes");
    let stride = |size: usize| isize::try_from(size).expect("a slice has at most isize::MAX bytes");
    let (left_row, left_col) = match order {
        Order::AsIs | Order::RightTransposed => (stride(k), 1),
        Order::LeftTransposed => (1, stride(m)),
    };
    let (right_row, right_col) = match order {
        Order::AsIs | Order::LeftTransposed => (stride(n), 1),
        Order::RightTransposed => (1, stride(k)),
    };
    #[expect(unsafe_code, reason = "matrixmultiply has no safe interface")]
    // SAFETY: the assertion above makes every element that the shapes and strides reach lie inside its slice; `out` is
    // borrowed mutably, so it overlaps neither input.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            left.as_ptr(),
            left_row,
            left_col,
            right.as_ptr(),
            right_row,
            right_col,
            0.0,
            out.as_mut_ptr(),
            stride(n),
            1,
        );
    }
}

/// An item close to a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Nearest {
    /// Which item.
    pub(crate) index: usize,
    /// Its Euclidean distance.
    pub(crate) distance: f32,
}

/// Items to search among.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    items: &'a Matrix,
    /// Squared length of each item.
    squares: Vec<f32>,
}

impl<'a> Search<'a> {
    pub(crate) fn among(items: &'a Matrix) -> Self {
        Self { items, squares: items.iter().map(|item| dot(item, item)).collect() }
    }

    /// Returns the `count` closest items of each query, at most as many as there are, closest first. Uses `threads` threads.
    pub(crate) fn closest(&self, queries: &Matrix, count: usize, threads: usize) -> Vec<Nearest> {
        let share = queries.rows().div_ceil(threads.max(1)).max(1);
        let parts: Vec<&[f32]> = queries.values.chunks(share * queries.cols).collect();
        thread::scope(|scope| {
            let workers: Vec<_> =
                parts.iter().skip(1).map(|part| scope.spawn(|| self.closest_of(part, count))).collect();
            let mut found = parts.first().map(|part| self.closest_of(part, count)).unwrap_or_default();
            for worker in workers {
                found.extend(worker.join().expect("the search does not panic"));
            }
            found
        })
    }

    fn closest_of(&self, queries: &[f32], wanted: usize) -> Vec<Nearest> {
        let (count, dim) = (self.items.rows(), self.items.cols);
        let mut products = vec![0.0; BLOCK_ROWS * count];
        let mut found = Vec::with_capacity(queries.len() / dim * wanted);
        for block in queries.chunks(BLOCK_ROWS * dim) {
            let rows = block.len() / dim;
            let products = &mut products[..rows * count];
            multiply(block, &self.items.values, [rows, dim, count], Order::RightTransposed, products);
            for (query, products) in block.chunks_exact(dim).zip(products.chunks_exact_mut(count)) {
                products.iter_mut().zip(&self.squares).for_each(|(p, square)| *p = square - 2.0 * *p);
                let query_square = dot(query, query);
                for _ in 0..wanted.min(count) {
                    let smallest = minimum(products);
                    let index = products.iter().position(|&value| value <= smallest).unwrap_or(0);
                    products[index] = f32::INFINITY;
                    found.push(Nearest { index, distance: (query_square + smallest).max(0.0).sqrt() });
                }
            }
        }
        found
    }

    /// Returns the mean distance of the `neighbours` closest items of each query.
    pub(crate) fn mean_of_closest(
        &self,
        queries: &Matrix,
        neighbours: usize,
        keeps: impl Fn(usize, usize) -> bool,
    ) -> Vec<f32> {
        let (count, dim) = (self.items.rows(), self.items.cols);
        let mut products = vec![0.0; BLOCK_ROWS * count];
        let mut means = Vec::with_capacity(queries.rows());
        for (number, block) in queries.values.chunks(BLOCK_ROWS * dim).enumerate() {
            let rows = block.len() / dim;
            multiply(
                block,
                &self.items.values,
                [rows, dim, count],
                Order::RightTransposed,
                &mut products[..rows * count],
            );
            for (offset, query) in block.chunks_exact(dim).enumerate() {
                let row = number * BLOCK_ROWS + offset;
                let products = products[offset * count..][..count].iter().enumerate();
                let closest = products
                    .filter(|&(item, _)| keeps(row, item))
                    .fold(Closest::new(neighbours), |closest, (item, p)| closest.with(self.squares[item] - 2.0 * p));
                means.push(closest.mean_distance(dot(query, query)));
            }
        }
        means
    }
}

/// The smallest few of many values, ascending.
struct Closest(Vec<f32>);

impl Closest {
    fn new(count: usize) -> Self {
        Self(vec![f32::INFINITY; count])
    }

    fn with(mut self, value: f32) -> Self {
        let Self(smallest) = &mut self;
        if smallest.last().is_some_and(|&last| value < last) {
            let place = smallest.partition_point(|&kept| kept <= value);
            smallest.pop();
            smallest.insert(place, value);
        }
        self
    }

    fn mean_distance(&self, query_square: f32) -> f32 {
        let distances =
            self.0.iter().filter(|value| value.is_finite()).map(|value| (query_square + value).max(0.0).sqrt());
        let (sum, count) = distances.fold((0.0, 0_u16), |(sum, count), distance| (sum + distance, count + 1));
        if count == 0 { 0.0 } else { sum / f32::from(count) }
    }
}

/// Returns the smallest value; infinite for none.
fn minimum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::INFINITY; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value < *lane { value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::INFINITY, |least, &value| least.min(value))
}

/// Returns the scalar product of two rows.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(rows: usize, cols: usize) -> Matrix {
        Matrix::new((0..rows * cols).map(|i| ((i * 7919 + 13) % 101) as f32 / 10.0).collect(), cols)
    }

    #[test]
    fn multiplies_like_the_definition() {
        let (a, b) = (grid(5, 19), grid(19, 3));
        let product = a.times(&b);
        for row in 0..5 {
            for col in 0..3 {
                let expected: f32 = (0..19).map(|i| a.row(row)[i] * b.row(i)[col]).sum();
                assert!((product.row(row)[col] - expected).abs() < 1e-2, "{row} {col}");
            }
        }
        assert_eq!(a.transposed().transposed(), a);
        for (value, expected) in a.transposed().transposed_times(&b).values().iter().zip(product.values()) {
            assert!((value - expected).abs() < 1e-2, "{value} {expected}");
        }
    }

    #[test]
    fn finds_the_items_that_a_plain_search_finds() {
        let (queries, items) = (grid(70, 19), grid(53, 19));
        for threads in [1, 2, 3] {
            let found = Search::among(&items).closest(&queries, 3, threads);
            assert_eq!(found.len(), 3 * 70);
            for (query, closest) in queries.iter().zip(found.chunks_exact(3)) {
                let distance = |item: &[f32]| query.iter().zip(item).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
                let mut plain: Vec<f32> = items.iter().map(distance).collect();
                plain.sort_unstable_by(f32::total_cmp);
                for (near, least) in closest.iter().zip(plain) {
                    // Squares of some 600 cancel: their f32 rounding stays in the square of a small distance.
                    let wrong = (near.distance.powi(2) - least.powi(2)).abs();
                    assert!(wrong < 1e-3, "{} {least}", near.distance);
                    assert!((distance(items.row(near.index)) - least).abs() < 1e-2);
                }
            }
        }
        assert_eq!(Search::among(&items).closest(&queries, 99, 2).len(), 53 * 70);
        for threads in [1, 2] {
            assert!(Search::among(&items).closest(&Matrix::zeros(0, 19), 1, threads).is_empty());
        }
    }

    #[test]
    fn averages_the_closest() {
        let items = Matrix::new(vec![0.0, 1.0, 3.0, 10.0], 1);
        let search = Search::among(&items);
        let query = Matrix::new(vec![0.0], 1);
        assert_eq!(search.mean_of_closest(&query, 3, |_, item| item != 0), [14.0 / 3.0]);
        assert_eq!(search.mean_of_closest(&query, 2, |_, item| item == 1), [1.0]);
        assert_eq!(search.mean_of_closest(&query, 2, |_, _| false), [0.0]);
    }
}
