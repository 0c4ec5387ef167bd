//! Pictures become frames of a vision-language model: all tiles of one, the whole in one, and what the encoder takes.

use std::hint::black_box;

use benches::{SIDE_PX, golden, golden_full, group, run};
use criterion::{BenchmarkId, Criterion};
use models::smolvlm::{Processor, ProcessorSettings, Tiling};

/// Side of a tile of the 256M and 500M checkpoints.
const TILE_PX: u32 = 512;

fn main() -> anyhow::Result<()> {
    run(bench)
}

fn bench(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut group = group(criterion, "process");
    for (picture, tiles_a_side, count) in [(golden_full(0), 4, 13), (golden(0, SIDE_PX), 1, 1)] {
        let processor = processor(tiles_a_side * TILE_PX)?;
        let frames = processor.frames(&picture)?;
        anyhow::ensure!(frames.iter().len() == count, "frames: expected {count}, found {}", frames.iter().len());
        let name = format!("{}, {count} frames", picture.size());
        group.bench_function(BenchmarkId::new("frames", &name), |b| {
            b.iter(|| processor.frames(black_box(&picture)).expect("this picture was cut before"));
        });
        group.bench_function(BenchmarkId::new("normalise", &name), |b| {
            b.iter(|| processor.normalise(black_box(frames.pixels())).expect("these frames are whole"));
        });
    }
    group.finish();
    Ok(())
}

fn processor(longest_edge_px: u32) -> anyhow::Result<Processor> {
    Ok(Processor::new(ProcessorSettings {
        longest_edge_px,
        tile_px: TILE_PX,
        tiling: Tiling::Split,
        rescale_factor: 1.0 / 255.0,
        mean: [0.5; 3],
        std: [0.5; 3],
        tokens_per_frame: 64,
    })?)
}
