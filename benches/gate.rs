//! The gates: a bank of golden features, and a golden template laid onto the picture.

use std::hint::black_box;

use benches::{SIDE_PX, bank, defective, defective_full, golden_full, group, kit, run};
use criterion::{Criterion, measurement::WallTime};
use models::{Gate as _, Template, TemplateOptions};

/// Good pictures behind the template; judging takes as long whatever their number.
const TEMPLATE_GOLDEN: u64 = 4;

fn main() -> anyhow::Result<()> {
    run(bench)
}

fn bench(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut group = group(criterion, "gate");
    template(&mut group)?;
    banked(&mut group)?;
    group.finish();
    Ok(())
}

fn template(group: &mut criterion::BenchmarkGroup<'_, WallTime>) -> anyhow::Result<()> {
    let golden: Vec<_> = (0..TEMPLATE_GOLDEN).map(golden_full).collect();
    let template = Template::from_golden(&golden, TemplateOptions::default())?;
    let frame = defective_full(0);
    template.judge(&frame)?;
    group.bench_function("template 640x480", |b| {
        b.iter(|| template.judge(black_box(&frame)).expect("this frame was judged before"));
    });
    Ok(())
}

fn banked(group: &mut criterion::BenchmarkGroup<'_, WallTime>) -> anyhow::Result<()> {
    let mut kit = kit()?;
    let encoder = kit.encoder(SIDE_PX)?;
    let mut bank = bank(encoder)?;
    let frame = defective(1, SIDE_PX).remove(0);
    let features = encoder.encode(&frame)?;
    bank.judge(&frame, Some(&features))?;
    group.bench_function("bank 320", |b| {
        b.iter(|| bank.judge(&frame, Some(black_box(&features))).expect("this frame was judged before"));
    });
    Ok(())
}
