//! The language model: reading a prompt, choosing tokens, and a whole description under its grammar.

use std::{hint::black_box, sync::Arc};

use benches::{SIDE_PX, golden, group, run};
use cameras::{Frame, Rect, Size};
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use models::{
    GateReading, HeatMap, Region, bundle::Bundle, cache::Cache, decoder::DecoderOptions, generate::Reading,
    language::LanguageModel,
};
use pipeline::{
    describe::{Describer, ModelAuthor},
    findings::{Marked, findings},
    knowledge::{Crops, Knowledge},
    report::ModelUse,
    stage::{Describe as _, Suspect},
};

const PROMPT_TOKENS: u32 = 256;
const DECODED_TOKENS: usize = 32;
/// Different frames in turn: of the same one, the decoder would still know the prompt.
const SUSPECTS: u32 = 12;

fn main() -> anyhow::Result<()> {
    run(bench)
}

fn bench(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut model = language_model()?;
    let mut group = group(criterion, "describe");
    // Each takes about a second.
    group.sample_size(10);
    prefill(&mut group, &mut model)?;
    decode(&mut group, &mut model)?;
    group.throughput(Throughput::Elements(1));
    describe(&mut group, model)?;
    group.finish();
    Ok(())
}

fn language_model() -> anyhow::Result<LanguageModel> {
    let bundle = Bundle::embedded()?;
    let cache = Cache::locate()?;
    let options = DecoderOptions { capacity: 1024, ..DecoderOptions::default() };
    Ok(LanguageModel::open(&bundle, &cache, options)?)
}

fn prefill(group: &mut BenchmarkGroup<'_, WallTime>, model: &mut LanguageModel) -> anyhow::Result<()> {
    // The prompts differ in their first token, so that nothing is kept from one to the next.
    let prompts = [100, 101]
        .map(|first| (first..).step_by(2).take(PROMPT_TOKENS as usize).collect::<Vec<u32>>())
        .map(Reading::from);
    model.generator.logits(&prompts[0])?;
    let mut turns = prompts.iter().cycle();
    group.throughput(Throughput::Elements(PROMPT_TOKENS.into()));
    group.bench_function("prefill 256 tokens", |b| {
        b.iter(|| {
            let prompt = turns.next().expect("a cycle does not end");
            model.generator.logits(black_box(prompt)).expect("this prompt was read before")[0]
        });
    });
    Ok(())
}

fn decode(group: &mut BenchmarkGroup<'_, WallTime>, model: &mut LanguageModel) -> anyhow::Result<()> {
    let start = PROMPT_TOKENS as usize;
    let text: Vec<u32> = (100..).take(start + DECODED_TOKENS).collect();
    let starts: Vec<Reading> = (start..start + DECODED_TOKENS).map(|end| text[..=end].to_vec().into()).collect();
    model.generator.logits(&text.into())?;
    group.throughput(Throughput::Elements(DECODED_TOKENS as u64));
    group.bench_function("decode 32 tokens", |b| {
        b.iter(|| {
            for text in &starts {
                model.generator.logits(text).expect("this text was read before");
            }
        });
    });
    Ok(())
}

fn describe(group: &mut BenchmarkGroup<'_, WallTime>, model: LanguageModel) -> anyhow::Result<()> {
    let knowledge = Knowledge::embedded()?;
    let frame = golden(0, SIDE_PX);
    let readings: Vec<_> = (0..SUSPECTS).map(reading).collect();
    let found = |reading| findings(Marked::by_gate(reading, frame.size(), None), Some(&knowledge));
    let found: Vec<_> = readings.iter().map(found).collect();
    let about = ModelUse {
        role: "language".to_owned(),
        name: "bench".to_owned(),
        sha256: String::new(),
        runtime: "loupe cpu".to_owned(),
        precision: String::new(),
    };
    let author = Box::new(ModelAuthor::new(model, about));
    let mut describer = Describer::new((Knowledge::embedded()?, Arc::new(Crops::embedded()?)), Some(author));
    let suspects: Vec<_> =
        readings.iter().zip(&found).map(|(reading, found)| suspect(&frame, reading, &found.defects)).collect();
    for suspect in &suspects {
        let description = describer.describe(suspect).map_err(anyhow::Error::from_boxed)?;
        anyhow::ensure!(
            description.description.tokens_out > 0,
            "description: expected one by the model, found the plain sentence"
        );
    }
    let mut turns = suspects.iter().cycle();
    group.bench_function("one description", |b| {
        b.iter(|| describer.describe(turns.next().expect("a cycle does not end")).expect("this was described before"));
    });
    Ok(())
}

fn suspect<'a>(frame: &'a Frame, reading: &'a GateReading, defects: &'a [pipeline::report::Defect]) -> Suspect<'a> {
    Suspect { station: "bench", frame, reading: Some(reading), seen: None, sure_from: 0.6, defects, time_left: None }
}

/// Returns a reading with one region; place, size, score and name differ with `index`.
fn reading(index: u32) -> GateReading {
    let rect = Rect { x: 20 * index, y: 300 - 20 * index, width: 12 + 3 * index, height: 14 + index };
    let code = ["missing_screw", "bent_pin", "generic_scratch"].get(index as usize % 4).map(|code| (*code).to_owned());
    let score = 1.2 + 0.3 * index as f32;
    GateReading {
        score,
        threshold: 1.0,
        p_value: Some(1.0 / 17.0),
        heat_map: HeatMap { size: Size::new(0, 0), values: Vec::new(), threshold: 1.0 },
        regions: vec![Region { rect, score, area_px: rect.area_px(), code, probability: None }],
    }
}
