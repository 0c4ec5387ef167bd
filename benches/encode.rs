//! The vision encoder: a picture at its resolution, and one that has to be scaled first.

use std::hint::black_box;

use benches::{SIDE_PX, golden, golden_full, group, kit, run};
use criterion::Criterion;

fn main() -> anyhow::Result<()> {
    run(bench)
}

fn bench(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut kit = kit()?;
    let encoder = kit.encoder(SIDE_PX)?;
    let mut group = group(criterion, "encode");
    for (name, frame) in [("320", golden(0, SIDE_PX)), ("640x480 scaled to 320", golden_full(0))] {
        encoder.encode(&frame)?;
        group.bench_function(name, |b| {
            b.iter(|| encoder.encode(black_box(&frame)).expect("this frame was encoded before"));
        });
    }
    group.finish();
    Ok(())
}
