//! The vision encoder: a picture at its resolution, and one that has to be scaled first; and the eyes of a domain, in floats and in 8 bits.

use std::{hint::black_box, path::Path};

use benches::{SIDE_PX, golden, golden_full, group, kit, run};
use criterion::Criterion;
use models::{
    domain::{Domain, Quantizer},
    ort_engine::SessionConfig,
};
use pipeline::kit::Kit;

/// A domain with eyes and a connector of its own.
const DOMAIN: &str = "crops";
/// Side that it sees at.
const EYES_PX: u32 = 224;

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
    bench_eyes(criterion, &kit)
}

fn bench_eyes(criterion: &mut Criterion, kit: &Kit) -> anyhow::Result<()> {
    let exact = Domain::find(DOMAIN)?;
    let (engine, published) = kit.encoder_source()?;
    let mut quantizer = Quantizer::open(DOMAIN, &engine, &published, SessionConfig::default())?;
    for index in 0..4 {
        quantizer.see(&golden(index, EYES_PX))?;
    }
    let rounded = Domain::from_bytes(&quantizer.file()?, Path::new("crops in 8 bits"))?;
    let frame = golden(0, EYES_PX);
    let mut group = group(criterion, "eyes");
    for (name, domain) in [("crops 224, f32", &exact), ("crops 224, int8", &rounded)] {
        let mut eyes = kit.domain_eyes(domain)?;
        eyes.see(&frame)?;
        group.bench_function(name, |b| {
            b.iter(|| eyes.see(black_box(&frame)).expect("this frame was seen before"));
        });
    }
    group.finish();
    Ok(())
}
