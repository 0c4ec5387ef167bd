//! From pixels to report through the whole pipeline, one frame at a time: a good part, and a suspect one with its text.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use benches::{SIDE_PX, bank, defective, golden, group, kit, run};
use cameras::{CameraError, Frame, FrameSource, Grab};
use criterion::Criterion;
use models::{Bank, Encoder, Gate as _};
use pipeline::{
    Pipeline, Reference, Station, Stop,
    kit::{Kit, Text},
    report::{DecidedBy, Report, Verdict},
    stage::{Record, Recording, StageError},
};

/// Parts with a defect to choose suspects from.
const DEFECTIVE: u64 = 20;
/// Different suspects that are needed: of one alone, the decoder would still know the prompt.
const SUSPECTS_MIN: usize = 4;

/// A camera that is told when to look.
struct Trigger(Receiver<Frame>);

impl FrameSource for Trigger {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn grab(&mut self, timeout: Duration) -> Result<Grab, CameraError> {
        Ok(match self.0.recv_timeout(timeout) {
            Ok(frame) => Grab::Frame(frame),
            Err(RecvTimeoutError::Timeout) => Grab::Idle,
            Err(RecvTimeoutError::Disconnected) => Grab::Ended,
        })
    }
}

/// Hands every report back.
struct Reply(SyncSender<Report>);

impl Record for Reply {
    fn record(&mut self, recording: Recording<'_>) -> Result<Report, StageError> {
        self.0.send(recording.report.clone())?;
        Ok(recording.report)
    }
}

/// Both ends of a running pipeline.
struct Line {
    frames: SyncSender<Frame>,
    reports: Receiver<Report>,
}

impl Line {
    fn inspect(&self, frame: &Frame) -> anyhow::Result<Report> {
        self.frames.send(frame.clone())?;
        Ok(self.reports.recv()?)
    }
}

fn main() -> anyhow::Result<()> {
    run(bench)
}

fn bench(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut kit = kit()?;
    let encoder = kit.encoder(SIDE_PX)?;
    let mut bank = bank(encoder)?;
    let suspects = suspects(encoder, &mut bank)?;
    let (line, pipeline, reply) = assemble(kit, bank)?;
    let work = move || pipeline.run(Box::new(reply), &Stop::default());
    let worker = thread::Builder::new().name("pipeline".to_owned()).spawn(work)?;
    measure(criterion, &line, &suspects)?;
    drop(line);
    worker.join().map_err(|_panic| anyhow::anyhow!("the pipeline panicked"))?.context("the pipeline failed")?;
    Ok(())
}

/// Returns the defective parts that the bank rejects.
fn suspects(encoder: &mut Encoder, bank: &mut Bank) -> anyhow::Result<Vec<Frame>> {
    let mut suspects = Vec::new();
    for frame in defective(DEFECTIVE, SIDE_PX) {
        let features = encoder.encode(&frame)?;
        if bank.judge(&frame, Some(&features))?.is_suspect() {
            suspects.push(frame);
        }
    }
    let found = suspects.len();
    anyhow::ensure!(found >= SUSPECTS_MIN, "suspects of {DEFECTIVE}: expected {SUSPECTS_MIN} or more, found {found}");
    Ok(suspects)
}

fn assemble(kit: Kit, bank: Bank) -> anyhow::Result<(Line, Pipeline, Reply)> {
    let (frames, triggered) = sync_channel(1);
    let (reply, reports) = sync_channel(1);
    let reference = Reference {
        gate: Box::new(bank),
        decided_by: DecidedBy::Bank,
        threshold_source: String::new(),
        false_alarm_bound: None,
        calibration_id: String::new(),
        models: Vec::new(),
    };
    let station = Station::new("bench", Box::new(Trigger(triggered))).reference(Some(reference));
    let pipeline = kit.equip(Pipeline::new("bench").station(station), Text::Written)?;
    Ok((Line { frames, reports }, pipeline, Reply(reply)))
}

fn measure(criterion: &mut Criterion, line: &Line, suspects: &[Frame]) -> anyhow::Result<()> {
    let good = golden(0, SIDE_PX);
    anyhow::ensure!(line.inspect(&good)?.verdict == Verdict::Pass, "enrolled part: expected it to pass");
    for suspect in suspects {
        let written = line.inspect(suspect)?.description.is_some_and(|description| description.tokens_out > 0);
        anyhow::ensure!(written, "suspect {}: expected a text by the model", suspect.id());
    }
    let mut group = group(criterion, "end_to_end");
    group.bench_function("good part", |b| b.iter(|| line.inspect(&good).expect("the pipeline runs")));
    let mut turns = suspects.iter().cycle();
    group.bench_function("suspect part with text", |b| {
        b.iter(|| line.inspect(turns.next().expect("a cycle does not end")).expect("the pipeline runs"));
    });
    group.finish();
    Ok(())
}
