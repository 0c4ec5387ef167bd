//! Shared set-up of the benches: pictures of the synthetic line, models from the cache, and how long is measured.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use cameras::{DefectKind, Frame, FrameId, Sample, SyntheticLine};
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use image::imageops::{self, FilterType};
use models::{Bank, BankOptions, Encoder, Enrolment, ModelError, bundle::DEFAULT_BUNDLE, ort_engine::SessionConfig};
use pipeline::kit::Kit;

/// Side in pixels of the pictures and of what the encoder sees, unless a bench says otherwise.
pub const SIDE_PX: u32 = 320;
/// Good pictures that a bank learns from.
pub const GOLDEN: u64 = 16;

const LINE: SyntheticLine = SyntheticLine::new(7, 0.0);

/// Runs one bench with what the command line asks for. Says `skipped: ...` where a model file is not in the cache.
///
/// # Errors
/// When the bench fails for any other reason.
pub fn run(bench: fn(&mut Criterion) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    match bench(&mut criterion) {
        Err(error) if matches!(error.downcast_ref(), Some(ModelError::MissingFile { .. })) => {
            say(&format!("skipped: {error}"))?;
        }
        outcome => outcome?,
    }
    criterion.final_summary();
    Ok(())
}

/// Returns a group that measures briefly: all benches together take a minute or two.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(15).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group
}

/// Prints one line beside what criterion prints.
///
/// # Errors
/// When standard output is closed.
pub fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Returns good part `index` as a square picture of `side_px`.
pub fn golden(index: u64, side_px: u32) -> Frame {
    scaled(&LINE.golden(index), (index, side_px))
}

/// Returns good part `index` at the size of the line, [`SyntheticLine::SIZE`].
pub fn golden_full(index: u64) -> Frame {
    Frame::from_rgb_image(id(index), LINE.golden(index).picture)
}

/// Returns `count` parts with a defect, every kind in turn, as square pictures of `side_px`.
pub fn defective(count: u64, side_px: u32) -> Vec<Frame> {
    let kinds = DefectKind::ALL.into_iter().cycle();
    (0..count).zip(kinds).map(|(index, kind)| scaled(&LINE.with_defect(index, kind), (index, side_px))).collect()
}

/// Returns part `index` with a missing screw at the size of the line.
pub fn defective_full(index: u64) -> Frame {
    Frame::from_rgb_image(id(index), LINE.with_defect(index, DefectKind::MissingScrew).picture)
}

fn scaled(sample: &Sample, (index, side_px): (u64, u32)) -> Frame {
    Frame::from_rgb_image(id(index), imageops::resize(&sample.picture, side_px, side_px, FilterType::CatmullRom))
}

fn id(seq: u64) -> FrameId {
    FrameId { source: "bench".into(), seq }
}

/// Returns the default bundle on two threads.
///
/// # Errors
/// When the bundle's description is damaged or there is no place for a cache.
pub fn kit() -> anyhow::Result<Kit> {
    Kit::new(DEFAULT_BUNDLE, SessionConfig::default())
}

/// Returns a bank of [`GOLDEN`] good parts at [`SIDE_PX`].
///
/// # Errors
/// When the encoder fails.
pub fn bank(encoder: &mut Encoder) -> Result<Bank, ModelError> {
    let golden: Vec<_> = (0..GOLDEN).map(|index| golden(index, SIDE_PX)).collect();
    Enrolment::new(BankOptions::default(), encoder, &golden).finish(encoder, |_done, _total| {})
}
