/// Returns the value below which a share of the others lies, in 0..=1; 0 of none.
pub(crate) fn quantile(values: impl IntoIterator<Item = f32>, share: f64) -> f32 {
    let mut values: Vec<_> = values.into_iter().collect();
    if values.is_empty() {
        return 0.0;
    }
    let place = ((values.len() - 1) as f64 * share).round() as usize;
    *values.select_nth_unstable_by(place, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_of_the_values_is_taken() {
        let values = [3.0, -1.0, 2.0, 10.0];
        for (share, expected) in [(0.0, -1.0), (0.25, 2.0), (0.5, 3.0), (0.99, 10.0), (1.0, 10.0)] {
            assert!((quantile(values, share) - expected).abs() < f32::EPSILON, "{share}");
        }
        assert!((quantile([], 0.5)).abs() < f32::EPSILON);
    }
}
