/// Share of the highest rate that is left at the end.
const LAST_SHARE: f64 = 0.02;

/// Returns the share of the highest learning rate at `step` of `steps`: a linear rise over some steps, then a cosine (Loshchilov and Hutter, arXiv
/// 1608.03983).
pub(crate) fn rate_share(step: usize, steps: usize, warm_up_steps: usize) -> f64 {
    let rise = ((step + 1) as f64 / warm_up_steps as f64).min(1.0);
    let along = (step as f64 / steps.max(1) as f64).min(1.0);
    rise * (LAST_SHARE + (1.0 - LAST_SHARE) * 0.5 * (1.0 + (std::f64::consts::PI * along).cos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls_to_almost_nothing() {
        assert!((rate_share(0, 1000, 40) - 0.025).abs() < 1e-9);
        assert!(rate_share(39, 1000, 40) > 0.99 && rate_share(500, 1000, 40) < 0.52);
        assert!((rate_share(1000, 1000, 40) - LAST_SHARE).abs() < 1e-9);
        assert!((rate_share(5000, 1000, 40) - LAST_SHARE).abs() < 1e-9, "no rise again when more steps are taken");
    }
}
