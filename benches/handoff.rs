//! What the pipeline itself costs: every stage runs, none of them works.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use benches::{SIDE_PX, golden, group, run, say};
use cameras::{CameraError, Frame, FrameId, FrameSource, Grab, Size};
use criterion::{Criterion, Throughput};
use models::{Features, Gate, GateReading, HeatMap, ModelError};
use pipeline::{
    Pipeline, Reference, Station, Stop,
    report::{DecidedBy, Report, Timing},
    stage::{Encode, Record, Recording, StageError},
};

/// Frames of one run.
const FRAMES: u64 = 2000;
/// Time between frames where latency is measured: at full speed it would be that of the queues.
const PACE: Duration = Duration::from_millis(2);

/// Gives copies of one frame.
struct Copies {
    frame: Frame,
    next_seq: u64,
    pace: Duration,
}

impl FrameSource for Copies {
    fn name(&self) -> &'static str {
        "copies"
    }

    fn grab(&mut self, _timeout: Duration) -> Result<Grab, CameraError> {
        if self.next_seq == FRAMES {
            return Ok(Grab::Ended);
        }
        thread::sleep(self.pace);
        let id = FrameId { source: "copies".into(), seq: self.next_seq };
        self.next_seq += 1;
        let pixels: Arc<[u8]> = self.frame.pixels().into();
        Frame::new(id, self.frame.size(), self.frame.format(), pixels).map(Grab::Frame)
    }
}

struct NoEncoder;

impl Encode for NoEncoder {
    fn encode(&mut self, _frame: &Frame, _magnification: f64) -> Result<Features, StageError> {
        Ok(Features { maps: Vec::new() })
    }
}

struct NoGate;

impl Gate for NoGate {
    fn judge(&mut self, _frame: &Frame, _features: Option<&Features>) -> Result<GateReading, ModelError> {
        let heat_map = HeatMap { size: Size::new(0, 0), values: Vec::new(), threshold: 1.0 };
        Ok(GateReading { score: 0.5, threshold: 1.0, p_value: None, heat_map, regions: Vec::new() })
    }

    fn magnification(&self) -> Option<f64> {
        Some(1.0)
    }
}

/// Keeps how long each frame took.
struct Stopwatch(SyncSender<Timing>);

impl Record for Stopwatch {
    fn record(&mut self, recording: Recording<'_>) -> Result<Report, StageError> {
        self.0.send(recording.report.timing_ms)?;
        Ok(recording.report)
    }
}

fn main() -> anyhow::Result<()> {
    run(bench)
}

fn bench(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut group = group(criterion, "handoff");
    group.throughput(Throughput::Elements(FRAMES));
    for side_px in [32, SIDE_PX] {
        let frame = golden(0, side_px);
        timings(&frame, Duration::ZERO)?;
        group.bench_function(format!("{FRAMES} frames of {side_px} px"), |b| {
            b.iter(|| timings(&frame, Duration::ZERO).expect("this ran before"));
        });
        say(&overhead(&timings(&frame, PACE)?, side_px))?;
    }
    group.finish();
    Ok(())
}

/// Runs all frames through a pipeline and returns how long each took.
fn timings(frame: &Frame, pace: Duration) -> anyhow::Result<Vec<Timing>> {
    let (sender, receiver): (_, Receiver<Timing>) = sync_channel(FRAMES as usize);
    let source = Copies { frame: frame.clone(), next_seq: 0, pace };
    let station = Station::new("bench", Box::new(source)).reference(Some(reference()));
    let run = Pipeline::new("bench").station(station).encoder(Box::new(NoEncoder));
    run.run(Box::new(Stopwatch(sender)), &Stop::default()).context("the pipeline failed")?;
    let timings: Vec<_> = receiver.iter().collect();
    anyhow::ensure!(timings.len() as u64 == FRAMES, "reports: expected {FRAMES}, found {}", timings.len());
    Ok(timings)
}

fn reference() -> Reference {
    Reference {
        gate: Box::new(NoGate),
        decided_by: DecidedBy::Bank,
        threshold_source: String::new(),
        false_alarm_bound: None,
        calibration_id: String::new(),
        models: Vec::new(),
    }
}

/// Returns in words what each frame took beyond the check, the one stage that works here.
fn overhead(timings: &[Timing], side_px: u32) -> String {
    let mut millis: Vec<f64> = timings.iter().map(|timing| timing.total - timing.check.unwrap_or(0.0)).collect();
    millis.sort_by(f64::total_cmp);
    let at = |ratio: f64| millis[((millis.len() - 1) as f64 * ratio) as usize];
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    format!(
        "handoff of {side_px} px every {} ms: overhead p50 {p50:.3}, p99 {p99:.3}, max {max:.3} ms",
        PACE.as_millis()
    )
}
