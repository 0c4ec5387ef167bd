/// A matrix `[outputs, inputs]` in 8 bits: `weight = scale of its output * value`.
#[derive(Debug, PartialEq)]
pub(super) struct Rounded {
    /// `[outputs, inputs]`, -127 to 127.
    pub(super) values: Vec<i8>,
    /// `[outputs]`.
    pub(super) scales: Vec<f32>,
}

impl Rounded {
    /// Returns the nearest 8-bit matrix whose largest weight of each output is kept.
    pub(super) fn new(matrix: &[f32], inputs: usize) -> Self {
        let mut rounded = Self { values: Vec::with_capacity(matrix.len()), scales: Vec::new() };
        for row in matrix.chunks_exact(inputs) {
            let largest = row.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
            // A row of zeros has any scale.
            let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
            rounded.values.extend(row.iter().map(|weight| (weight / scale).round() as i8));
            rounded.scales.push(scale);
        }
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_largest_weight_of_each_output() {
        let rounded = Rounded::new(&[1.27, -0.635, 0.004, 0.0, 0.0, 0.0], 3);
        assert_eq!(rounded.values, [127, -64, 0, 0, 0, 0]);
        assert!((rounded.scales[0] - 0.01).abs() < 1e-6 && rounded.scales[1] > 0.0);
    }
}
