//! Is a picture fit to be judged: at the encoder's resolution and at four times as many pixels.

use std::hint::black_box;

use benches::{golden, group, run};
use criterion::{BenchmarkId, Criterion};
use pipeline::check::{QualityLimits, check};

fn main() -> anyhow::Result<()> {
    run(bench)
}

fn bench(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut group = group(criterion, "check");
    let limits = QualityLimits::default();
    for side_px in [320, 640] {
        let frame = golden(0, side_px);
        anyhow::ensure!(check(&frame, &limits).ok, "synthetic part: expected a fit picture");
        group.bench_function(BenchmarkId::from_parameter(side_px), |b| b.iter(|| check(black_box(&frame), &limits)));
    }
    group.finish();
    Ok(())
}
